"""The command line: what it takes, what it says, how it ends."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.main import get_command

from shopstream.cli import app
from shopstream.cli.layout import as_table
from shopstream.cli.options import pairs, topics_in
from shopstream.cli.printing import logged
from shopstream.errors import ConfigError

GROUPS = ("", "alerts", "quarantine", "rules", "keys", "lake", "package")
NEED_NO_DATA = (
    *("", "rules", "keys", "lake", "schema", "lake compile", "lake catalog"),
    *("package", "package lambda", "package glue"),
)


def commands_below(command: Any, path: str = "") -> dict[str, Any]:
    found = {path: command}
    for name, inner in getattr(command, "commands", {}).items():
        found |= commands_below(inner, f"{path} {name}".strip())
    return found


COMMANDS = commands_below(get_command(app))


def shopstream(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from shopstream.cli import main; main()", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
    )


def test_all_commands_are_there() -> None:
    assert set(COMMANDS) - set(GROUPS) == {
        *(
            "up",
            "collector",
            "processor",
            "notifier",
            "intake",
            "lander",
            "builder",
            "status",
            "check",
            "doctor",
            "settings",
            "reshard",
        ),
        *("simulate", "load", "replay", "offers", "schema", "alerts retry"),
        *("build", "lake maintain", "lake rebuild", "lake reland", "lake compile", "lake catalog"),
        *("package lambda", "package glue"),
        *("sql", "tables", "describe", "export"),
        *("quarantine list", "quarantine show", "quarantine export"),
        *("rules check", "rules explain", "keys add", "keys list", "keys revoke"),
    }


@pytest.mark.parametrize("path", [path for path in COMMANDS if path])
def test_every_command_shows_examples_of_itself(path: str) -> None:
    assert f"$ shopstream {path}" in COMMANDS[path].help


@pytest.mark.parametrize("path", [p for p in COMMANDS if p not in NEED_NO_DATA])
def test_every_command_takes_a_data_directory(path: str) -> None:
    assert "data_dir" in {p.name for p in COMMANDS[path].params}


@pytest.mark.parametrize("path", [path for path in COMMANDS if path])
def test_every_option_says_what_it_is_for(path: str) -> None:
    assert all(getattr(p, "help", None) for p in COMMANDS[path].params if p.name != "help")


def test_asking_for_help_loads_no_stage() -> None:
    program = "import sys, shopstream.cli; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "typer" in loaded
    assert not loaded & {"rich", "apsw", "rocksdict", "starlette", "uvicorn", "pyarrow", "httpx"}


def test_a_pipe_gets_json_and_a_table_when_it_asks_for_one(tmp_path: Path) -> None:
    run = shopstream("settings", "--data-dir", str(tmp_path))
    values = {setting["name"]: setting["value"] for setting in json.loads(run.stdout)}
    assert values["port"] == "8080"
    table = shopstream("settings", "--data-dir", str(tmp_path), "--format", "table")
    assert "port" in table.stdout
    assert not table.stdout.strip().startswith("[")


def test_an_error_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "shopstream.toml").write_text("prot = 8080\n")
    run = shopstream("settings", "--data-dir", str(tmp_path))
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert "unknown setting 'prot'" in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_data_directory_that_is_not_there_is_an_error_that_says_what_to_do(
    tmp_path: Path,
) -> None:
    run = shopstream("check", "--data-dir", str(tmp_path / "none"))
    assert run.returncode == 2
    assert "run `shopstream up`" in run.stderr
    assert not (tmp_path / "none").exists()


def test_an_unknown_option_is_exit_code_2() -> None:
    run = shopstream("up", "--demoo")
    assert run.returncode == 2
    assert "--demo" in run.stderr


def test_a_value_that_is_none_of_those_allowed_is_told_plainly() -> None:
    done = shopstream("status", "--engine", "moon")
    assert done.returncode == 2
    assert "Invalid value for '--engine': 'moon' is not one of 'local', 'aws'" in done.stderr


def test_a_schema_is_json_schema() -> None:
    schema = json.loads(shopstream("schema", "orders").stdout)
    assert schema["required"] == ["order_id", "lines", "currency", "status", "timestamp"]
    assert schema["$defs"]["OrderLine"]["properties"]["unit_price"]["description"]


def test_a_key_is_made_listed_without_its_hash_and_revoked(tmp_path: Path) -> None:
    data_dir = ("--data-dir", str(tmp_path))
    made = shopstream("keys", "add", "--name", "web", "--topics", "clicks", *data_dir)
    secret = made.stdout.strip()
    assert secret
    assert secret not in made.stderr
    (listed,) = json.loads(shopstream("keys", "list", *data_dir).stdout)
    assert (listed["name"], listed["topics"]) == ("web", ["clicks"])
    assert "sha256" not in listed
    assert shopstream("keys", "revoke", listed["id"], *data_dir).returncode == 0
    (listed,) = json.loads(shopstream("keys", "list", *data_dir).stdout)
    assert listed["revoked_at"]


def test_a_read_key_takes_no_topics(tmp_path: Path) -> None:
    run = shopstream(
        "keys", "add", "--read", "--topics", "clicks", "--data-dir", str(tmp_path / "shop")
    )
    assert run.returncode == 2
    assert "a read key has none" in run.stderr


def test_the_first_key_of_a_kind_says_what_it_changes(tmp_path: Path) -> None:
    def said(*options: str) -> str:
        return shopstream("keys", "add", *options, "--data-dir", str(tmp_path)).stderr

    assert "the first write key: from now on events are taken only with one" in said()
    assert "first" not in said()
    assert "the first read key: from now on look-ups are answered only with one" in said("--read")
    assert "first" not in said("--read")


def test_a_user_without_offers_is_told_from_a_user_without_events(tmp_path: Path) -> None:
    data_dir = ("--data-dir", str(tmp_path / "shop"))
    assert shopstream("simulate", "stock", "--count", "1", *data_dir).returncode == 0
    offers = shopstream("offers", "no body", *data_dir)
    assert json.loads(offers.stdout) == []
    assert offers.stderr == "no offers yet; `shopstream rules explain 'no body'` says why\n"
    explained = shopstream("rules", "explain", "no body", *data_dir)
    assert json.loads(explained.stdout) == []
    assert explained.stderr == "no events of user 'no body' are known that a rule looks at\n"


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("logging_as_before")
def test_what_a_stage_has_to_say_is_plain_where_its_log_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(tmp_path)
    structlog.get_logger().warning("open", notice="Anyone may send.")
    structlog.get_logger().warning("full", bytes=1)
    told, entry = capsys.readouterr().err.splitlines()
    assert told == "Anyone may send."
    assert json.loads(entry)["bytes"] == 1


def test_only_its_owner_reads_a_data_directory(tmp_path: Path) -> None:
    for made, words in (("keys", ["keys", "add"]), ("log", ["simulate", "stock", "--count", "1"])):
        folder = tmp_path / made
        assert shopstream(*words, "--data-dir", str(folder)).returncode == 0
        assert folder.stat().st_mode & 0o077 == 0


def test_rules_are_shown_as_a_file_declares_them(tmp_path: Path) -> None:
    declared = {
        "name": "a",
        "version": 1,
        "on": ["add_to_cart"],
        "count": 1,
        "same": "cart",
        "idle": "90s",
        "without": ["purchase"],
        "who": {"device_type": ["mobile"], "consent": "marketing"},
        "offer": {"percent": "5", "expires": "36h"},
        "cooldown": "7d",
    }
    rules = tmp_path / "mine.toml"
    rules.write_text(
        '[[rule]]\nname = "a"\non = ["add_to_cart"]\nsame = "cart"\nidle = "90s"\n'
        'without = ["purchase"]\nwho = { device_type = ["mobile"], consent = "marketing" }\n'
        'offer = { percent = 5, expires = "36h" }\ncooldown = "7d"\n'
    )
    (shown,) = json.loads(shopstream("rules", "check", str(rules), "--format", "json").stdout)
    assert shown | declared == shown
    assert set(shown) - set(declared) <= {"holdout"}


def test_a_bad_rules_file_is_named_with_rule_and_key(tmp_path: Path) -> None:
    rules = tmp_path / "mine.toml"
    rules.write_text(
        '[[rule]]\nname = "a"\non = ["viwe"]\noffer = { percent = 5, expires = "1d" }\n'
    )
    run = shopstream("rules", "check", str(rules))
    assert run.returncode == 2
    assert "mine.toml: a: on" in run.stderr


def test_pairs_are_field_equals_value() -> None:
    assert pairs(["a=1", "b=x=y", "c="], "--set") == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(ConfigError, match="--set a: write it as FIELD=VALUE"):
        pairs(["a"], "--set")


def test_topics_are_named_with_commas() -> None:
    assert topics_in("orders, clicks") == ["clicks", "orders"]
    with pytest.raises(ConfigError, match="unknown topic 'click'"):
        topics_in("click")


def test_what_senders_wrote_cannot_move_the_cursor_or_be_read_as_markup() -> None:
    from rich.console import Console

    table = as_table([{"user": "\x1b[2Jevil\r", "note": "[bold]x[/bold]"}])
    console = Console(width=80, force_terminal=False)
    with console.capture() as shown:
        console.print(table)
    assert "\x1b" not in shown.get()
    assert "[bold]x[/bold]" in shown.get()
