"""`shopstream sql`, `tables`, `describe` and `export`, as a user runs them."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as parquet  # type: ignore[import-untyped]  # it ships no types
import pytest
from tests.ask.published import SALES, publish

COMMAND = [sys.executable, "-m", "shopstream"]
REVENUE = (
    'SELECT category, SUM(amount) AS total_revenue FROM "ecommerce_analytics_db"."gold_daily_sales"'
    " GROUP BY category ORDER BY total_revenue DESC"
)


def shopstream(
    data_dir: Path, *words: str, code: int = 0, input: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *words, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=120,
        input=input,
        env=os.environ | {f"SHOPSTREAM_{name.upper()}": value for name, value in settings.items()},
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done


def on_a_terminal(data_dir: Path, *words: str, typed: Sequence[str] = ()) -> str:
    """What a command shows on a terminal; each line of `typed` is sent at a new prompt."""
    terminal, theirs = pty.openpty()
    running = subprocess.Popen(
        [*COMMAND, *words, "--data-dir", str(data_dir)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "100", "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    waiting, shown, new, until = list(typed), b"", b"", time.monotonic() + 90
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 0.3)[0]:
            if waiting and new.rpartition(b"\r\n")[2].count(b">"):
                os.write(terminal, waiting.pop(0).encode() + b"\r")
                new = b""
            continue
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            break
        if b"\x1b[6n" in part:
            os.write(terminal, b"\x1b[24;1R")  # prompt_toolkit asks where the cursor is
        shown, new = shown + part, new + part
    os.close(terminal)
    assert running.wait(30) in (0, 2)
    return shown.decode()


def test_the_query_of_the_issue_works_as_written(data_dir: Path) -> None:
    found = json.loads(shopstream(data_dir, "sql", REVENUE).stdout)
    assert found == [
        {"category": "shoes", "total_revenue": "100.3000"},
        {"category": "kitchen", "total_revenue": "-7.5000"},
    ]


def test_a_terminal_gets_a_table(data_dir: Path) -> None:
    shown = on_a_terminal(data_dir, "sql", REVENUE)
    assert "total_revenue" in shown
    assert "100.3000" in shown
    assert "[{" not in shown


def test_a_query_can_come_from_a_pipe(data_dir: Path) -> None:
    found = shopstream(data_dir, "sql", "--format", "csv", input="SELECT 1 AS a\n")
    assert found.stdout == '"a"\n1\n'


def test_text_of_senders_does_not_reach_the_terminal_raw(data_dir: Path) -> None:
    query = "SELECT chr(27) || '[2J' || chr(155) || 'x' AS \"\x1b[31mname\""
    for format in ("table", "csv", "json"):
        shown = on_a_terminal(data_dir, "sql", query, "--format", format)
        assert "\x1b[2J" not in shown
        assert "\x1b[31m" not in shown
        assert "\x9b" not in shown
    error = on_a_terminal(data_dir, "sql", "SELECT CAST(chr(27) || '[2J' AS INTEGER)")
    assert "error: " in error
    assert "\x1b[2J" not in error


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "WITH x AS (COPY (SELECT 1) TO '/tmp/x.csv') FROM x",
        "ATTACH 'x.db'",
        "INSTALL httpfs",
        "SELECT * FROM no_such_table",
    ],
)
def test_what_is_refused_is_one_line_and_exit_code_2(attack: str, data_dir: Path) -> None:
    done = shopstream(data_dir, "sql", attack, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_cross_join_of_a_billion_rows_ends_in_time(data_dir: Path) -> None:
    query = (
        "SELECT count(*) FROM range(1000000000) a, gold_daily_sales b, gold_daily_sales c"
        " WHERE hash(a.range, b.amount, c.amount) = 0"
    )
    begun = time.monotonic()
    done = shopstream(data_dir, "sql", query, code=2, sql_timeout="1s")
    assert done.stderr.startswith("error: the query took longer than 1s")
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    "query", ["SELECT len(repeat('x', 4000000000))", "SELECT list_sum(range(500000000))"]
)
@pytest.mark.skipif(sys.platform != "linux", reason="bounds the memory of a process on Linux only")
def test_one_huge_value_stays_within_memory(query: str, data_dir: Path) -> None:
    done = shopstream(data_dir, "sql", query, code=2, sql_memory=str(128 * 1024 * 1024))
    assert "needs more than 128 MiB" in done.stderr


ENDLESS = "SELECT max(hash(range)) FROM range(1000000000000)"
UNBREAKABLE = "SELECT repeat('x', 2000000000)"


@pytest.mark.parametrize(("query", "times"), [(ENDLESS, 1), (ENDLESS, 4), (UNBREAKABLE, 1)])
def test_ctrl_c_ends_a_query_with_130_however_often(query: str, times: int, data_dir: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, "sql", query, "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(4)
    for _ in range(times):
        running.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, said = running.communicate(timeout=30)
    assert (running.returncode, said) == (130, "cancelled\n")


@pytest.mark.parametrize("words", [["sql"], ["export", "gold_daily_sales"]])
def test_where_ctrl_c_is_ignored_it_stays_so(words: list[str], data_dir: Path) -> None:
    """As a script's commands in the background have it; Ctrl-C comes until they have ended."""
    running = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *COMMAND, *words, "--data-dir", str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    for _ in range(30):
        running.send_signal(signal.SIGINT)
        time.sleep(0.1)
    shown, said = running.communicate("SELECT 1 AS a", timeout=60)
    assert (running.returncode, said, shown[:1]) == (0, "", "[" if words == ["sql"] else '"')


def test_a_reader_that_goes_away_is_no_error(data_dir: Path) -> None:
    words = " ".join([*COMMAND, "sql", '"FROM range(1000000)"', "--data-dir", str(data_dir)])
    done = subprocess.run(
        f"{words} --format csv | head -2", shell=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == '"range"\n0\n'
    assert done.stderr == ""


def test_a_file_appears_whole_in_the_format_of_its_name(data_dir: Path, tmp_path: Path) -> None:
    for name in ("sales.csv", "sales.parquet", "sales.json"):
        done = shopstream(data_dir, "sql", "FROM gold_daily_sales", "-o", str(tmp_path / name))
        assert done.stderr == f"3 rows in {tmp_path / name}\n"
        assert done.stdout == ""
    assert parquet.read_table(tmp_path / "sales.parquet").num_rows == 3
    assert len(json.loads((tmp_path / "sales.json").read_text())) == 3
    assert len((tmp_path / "sales.csv").read_text().splitlines()) == 4
    failing = "SELECT 1 / (range - 5000)::INT, error('no') FROM range(100000)"
    shopstream(data_dir, "sql", failing, "-o", str(tmp_path / "sales.csv"), code=2)
    assert len((tmp_path / "sales.csv").read_text().splitlines()) == 4
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "name", "known"),
    [
        (["sql", "SELECT 1"], "sales.xlsx", "csv, json, parquet"),
        (["export", "gold_daily_sales"], "sales.json", "csv, parquet"),
    ],
)
def test_a_file_is_not_what_its_name_does_not_say(
    words: list[str], name: str, known: str, data_dir: Path, tmp_path: Path
) -> None:
    done = shopstream(data_dir, *words, "-o", str(tmp_path / name), code=2)
    assert f"{name}: the ending says none of {known}" in done.stderr
    assert list(tmp_path.iterdir()) == []
    shopstream(data_dir, *words, "--format", "csv", "-o", str(tmp_path / name))
    assert (tmp_path / name).read_text().startswith('"')
    shopstream(data_dir, *words, "-o", str(tmp_path / "sales"))
    assert (tmp_path / "sales").exists()


@pytest.mark.parametrize("words", [["sql", "SELECT 1"], ["export", "gold_daily_sales"]])
def test_a_folder_that_is_not_there_is_named(
    words: list[str], data_dir: Path, tmp_path: Path
) -> None:
    done = shopstream(data_dir, *words, "-o", str(tmp_path / "none" / "x.csv"), code=2)
    assert f"there is no folder {tmp_path / 'none'}" in done.stderr
    assert "is a folder" in shopstream(data_dir, *words, "-o", str(tmp_path), code=2).stderr


def test_tables_are_listed_and_described(data_dir: Path) -> None:
    listed = json.loads(shopstream(data_dir, "tables").stdout)
    by_name = {table["table"]: table for table in listed}
    assert by_name["gold_daily_sales"]["rows"] == 3
    assert by_name["gold_daily_sales"]["built_at"] == "2026-11-21T12:00:00Z"
    assert {"live.offers", "live.orders", "live.events"} <= set(by_name)
    described = json.loads(shopstream(data_dir, "describe", "gold_daily_sales").stdout)
    assert described["grain"]
    assert described["snapshot"] == by_name["gold_daily_sales"]["snapshot"]
    assert {"amount"} <= {column["name"] for column in described["columns"]}
    assert "live.offers" in shopstream(data_dir, "describe", "live.offers").stdout
    shown = on_a_terminal(data_dir, "describe", "gold_daily_sales")
    assert "built at 2026-11-21T12:00:00Z" in shown
    unknown = shopstream(data_dir, "describe", "gold_sales", code=2).stderr
    assert "did you mean gold_daily_sales" in unknown


def test_without_tables_the_error_says_to_build(tmp_path: Path) -> None:
    for words in (["tables"], ["sql", "SELECT 1"], ["describe", "gold_funnel"], ["export", "x"]):
        done = shopstream(tmp_path / "none", *words, code=2)
        assert "run `shopstream build`" in done.stderr
        assert done.stderr.count("\n") == 1


def test_an_export_is_harmless_csv(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    left = {
        "customer_id": "=cmd|' /C calc'!A0",
        "user_id": "=cmd|' /C calc'!A0",
        "product_id": "-p",
    }
    columns = _columns("gold_customer_abandoned_items")
    publish(
        data_dir,
        {"gold_customer_abandoned_items": [{k: v for k, v in left.items() if k in columns}]},
    )
    out = tmp_path / "promotions.csv"
    shopstream(data_dir, "export", "promotions", "-o", str(out))
    text = out.read_text()
    assert "\"'=cmd|' /C calc'!A0\"" in text
    assert '"\'-p"' in text
    assert shopstream(data_dir, "export", "abandoned-products").stdout.startswith('"')
    numbers = shopstream(data_dir, "export", "gold_daily_sales").stdout
    assert numbers.count("\n") == 1
    unknown = shopstream(data_dir, "export", "promotion", code=2).stderr
    assert "did you mean promotions" in unknown


def test_numbers_of_an_export_keep_their_minus(data_dir: Path) -> None:
    text = shopstream(data_dir, "export", "gold_daily_sales").stdout
    assert ",-7.5000," in text
    assert '"\'=2+3"' in text


def _columns(table: str) -> set[str]:
    from shopstream.lake.model import load_models

    return set(load_models()[table].types)


def test_a_damaged_table_spoils_no_other(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    publish(data_dir, {"gold_daily_sales": SALES, "silver_stock": [{"product_id": "p1"}]})
    (damaged,) = (data_dir / "lake" / "warehouse" / "silver_stock").rglob("*.parquet")
    for spoil in (lambda: damaged.write_bytes(b"PAR1 no"), damaged.unlink):
        spoil()
        done = shopstream(data_dir, "sql", "FROM silver_stock", code=2)
        assert "silver_stock can't be read" in done.stderr
        assert done.stderr.count("\n") == 1
        assert json.loads(shopstream(data_dir, "sql", REVENUE).stdout)


def test_the_prompt_answers_remembers_and_leaves(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    publish(data_dir, {"gold_daily_sales": SALES})
    typed = [".tables", "SELECT category,", "sum(amount) FROM gold_daily_sales GROUP BY ALL;"]
    shown = on_a_terminal(data_dir, "sql", typed=[*typed, "FROM nothing;", ".quit"])
    assert "gold_funnel" in shown
    assert "100.3000" in shown
    assert "error: there is no table 'nothing'" in shown
    history = data_dir / "run" / "sql_history"
    assert "+sum(amount) FROM gold_daily_sales GROUP BY ALL;" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
