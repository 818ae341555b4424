"""SQL reads tables and does nothing else, in the box and through `connect()`."""

import time
from pathlib import Path

import duckdb
import pyarrow  # type: ignore[import-untyped]  # it ships no types
import pytest
from tests.ask.attacks import ENDLESS, GREEDY, ODD, PARSER, READING, WRITING
from tests.ask.published import box_of, rows

import shopstream
from shopstream.ask.box import Box
from shopstream.errors import SqlError


@pytest.fixture(scope="module")
def box(data_dir: Path) -> Box:
    return box_of(data_dir)


@pytest.fixture(scope="module")
def connection(data_dir: Path) -> duckdb.DuckDBPyConnection:
    return shopstream.connect(data_dir)


class Aimed:
    """Attacks on the files of this data directory, and whether they changed anything."""

    def __init__(self, data_dir: Path, out: Path) -> None:
        (self.file,) = (data_dir / "lake").rglob("*.parquet")
        self.out = out
        self.names = {
            "file": str(self.file),
            "out": str(out),
            "url": f"lake://{self.file.relative_to(data_dir / 'lake')}",
        }
        self.before = self.file.read_bytes()

    def at(self, attack: str) -> str:
        for name, value in self.names.items():
            attack = attack.replace(f"{{{name}}}", value)
        return attack

    def nothing_changed(self) -> bool:
        return self.file.read_bytes() == self.before and not list(self.out.iterdir())


@pytest.fixture
def aimed(data_dir: Path, tmp_path: Path) -> Aimed:
    out = tmp_path / "out"
    out.mkdir()
    return Aimed(data_dir, out)


@pytest.mark.parametrize("attack", [*READING, *WRITING, *ODD])
def test_the_box_refuses(attack: str, box: Box, aimed: Aimed) -> None:
    with pytest.raises(SqlError) as refusal:
        rows(box, aimed.at(attack))
    assert "\n" not in str(refusal.value)
    assert "Traceback" not in str(refusal.value)
    assert aimed.nothing_changed()


@pytest.mark.parametrize("attack", [*READING, *WRITING])
def test_a_connection_in_python_refuses(
    attack: str, connection: duckdb.DuckDBPyConnection, aimed: Aimed
) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 (DuckDB has a type for each)
        connection.execute(aimed.at(attack)).fetchall()
    assert aimed.nothing_changed()
    assert connection.execute("SELECT count(*) FROM gold_daily_sales").fetchall() == [(3,)]


@pytest.mark.parametrize("attack", PARSER, ids=range(len(PARSER)))
def test_what_would_keep_the_parser_busy_is_refused_at_once(attack: str, box: Box) -> None:
    begun = time.monotonic()
    with pytest.raises(SqlError):
        rows(box, attack)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("attack", ENDLESS)
def test_a_query_without_end_is_ended(attack: str, data_dir: Path) -> None:
    box = box_of(data_dir, sql_timeout="1s")
    begun = time.monotonic()
    with pytest.raises(SqlError, match="longer than 1s; ask for less, or raise sql_timeout"):
        rows(box, attack)
    assert time.monotonic() - begun < 6
    assert rows(box, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("attack", GREEDY)
def test_a_query_that_wants_all_memory_is_ended(attack: str, data_dir: Path) -> None:
    box = box_of(data_dir, sql_memory=128 * 1024 * 1024)
    with pytest.raises(SqlError, match="more than 128 MiB; ask for less, or raise sql_memory"):
        rows(box, attack)
    assert rows(box, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("SELECT sum(amount) FROM gold_daily_sales WHERE category = 'kitchen'", 1),
        ('SELECT * FROM "ecommerce_analytics_db"."gold_daily_sales"', 3),
        ("SELECT * FROM ecommerce_analytics_db.main.GOLD_DAILY_SALES", 3),
        ("WITH a AS (FROM gold_daily_sales), b AS (FROM a) SELECT * FROM b", 3),
        ("WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 5) FROM r", 5),
        ("FROM gold_daily_sales a JOIN gold_daily_sales b USING (product_id)", 3),
        ("SELECT * FROM (VALUES (1), (2)) t(a) UNION ALL SELECT range FROM range(3)", 5),
        ("SELECT unnest([1, 2, 3])", 3),
        ("FROM unnest([1, 2])", 2),
        ("VALUES (1), (2)", 2),
        ("TABLE gold_daily_sales", 3),
        ("PIVOT gold_daily_sales ON category IN ('shoes') USING sum(amount) GROUP BY day", 2),
        ("SELECT product_id, rank() OVER (ORDER BY amount) FROM gold_daily_sales;", 3),
        ("-- a comment\nSELECT 1 /* another */", 1),
        ("EXPLAIN SELECT * FROM gold_daily_sales", 1),
        ("EXPLAIN ANALYZE SELECT * FROM gold_daily_sales", 1),
        ("explain (analyze, format json) FROM gold_daily_sales", 1),
        ("SELECT table_name FROM information_schema.tables WHERE table_schema = 'live'", 3),
        ("SELECT now() > TIMESTAMP '2026-01-01', current_date", 1),
    ],
)
def test_the_box_answers(query: str, wanted: int, box: Box) -> None:
    assert len(rows(box, query)) == wanted


@pytest.mark.parametrize("query", ["DESCRIBE gold_daily_sales", "SUMMARIZE gold_daily_sales"])
def test_a_table_can_be_described_in_sql(query: str, box: Box) -> None:
    assert [row[0] for row in rows(box, query)] == [
        c.name for c in box.tables.models["gold_daily_sales"].columns
    ]


def test_show_tables_names_them_all(box: Box) -> None:
    assert {row[0] for row in rows(box, "SHOW TABLES")} == set(box.tables.models)


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("FROM gold_daily_sale", "did you mean gold_daily_sales"),
        ("FROM offers", "did you mean live.offers"),
        ("FROM live.offer", "did you mean live.offers"),
        ("FROM nothing.like.this_one", "`shopstream tables` lists all"),
    ],
)
def test_a_table_that_is_not_there_has_its_nearest_named(query: str, hint: str, box: Box) -> None:
    with pytest.raises(SqlError) as refusal:
        rows(box, query)
    assert hint in str(refusal.value)


def test_a_column_that_is_not_there_has_its_nearest_named(box: Box) -> None:
    with pytest.raises(SqlError) as refusal:
        rows(box, "SELECT amont FROM gold_daily_sales")
    assert '"amount"' in str(refusal.value)


def test_variables_of_the_program_are_no_tables(connection: duckdb.DuckDBPyConnection) -> None:
    secret = pyarrow.table({"x": [1]})
    with pytest.raises(duckdb.CatalogException):
        connection.execute("SELECT * FROM secret")
    assert secret.num_rows == 1


def test_a_connection_has_a_time_limit_and_cursors(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSTREAM_SQL_TIMEOUT", "1s")
    con = shopstream.connect(str(data_dir))
    with pytest.raises(duckdb.InterruptException):
        con.execute("SELECT max(hash(range)) FROM range(1000000000000)").fetchall()
    cursor = con.cursor()
    with pytest.raises(duckdb.Error):
        cursor.execute("FROM read_text('/etc/passwd')")
    found = cursor.execute('SELECT count(*) FROM "ecommerce_analytics_db"."gold_daily_sales"')
    assert found.fetchall() == [(3,)]
