"""Commands in the docs exist as written, also those that no test can run: their names, options,
Terraform's variables and outputs, make's targets.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.shell import CONSOLE, commands_of, goes_on, parsed
from typer.main import get_command

from shopstream.cli import app

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
INLINE = re.compile(r"`(shopstream [a-z][^`]*|make [a-z][^`]*)`")
PLACEHOLDER = re.compile(r"^[A-Z]+$|…")
OUR_FUNCTION = re.compile(r"shopstream-([A-Z]\w+)")


def typed_in(page: str) -> Iterator[str]:
    """Every command of a page's console blocks, as written."""
    for block in CONSOLE.findall(page):
        yield from (command for command, _ in commands_of(block))


def commands_in(page: str) -> Iterator[str]:
    """Every command of a page's console blocks and every command in its text, in one line each."""
    yield from (command.replace("\\\n", " ") for command in typed_in(page))
    yield from (found.replace("\n", " ") for found in INLINE.findall(page))


def calls_of(command: str, program: str) -> Iterator[list[str]]:
    """The words of each call of `program` in a line of shell."""
    for part in re.split(r"[;|&]|\$\(|\)|`", command):
        try:
            words = shlex.split(part.strip().removeprefix('eval "'))
        except ValueError:
            words = part.split()
        while words and re.match(r"^\w+=", words[0]):
            words = words[1:]
        if words and words[0] == program:
            yield words[1:]


ALL = [
    pytest.param(command, id=f"{page.stem}: {command[:60]}")
    for page in PAGES
    for command in dict.fromkeys(commands_in(page.read_text("utf-8")))
]


TYPED = [
    pytest.param(command, id=f"{page.stem}: {command[:60]}")
    for page in PAGES
    for command in dict.fromkeys(typed_in(page.read_text("utf-8")))
]


@pytest.mark.parametrize("command", TYPED)
def test_a_shell_takes_a_command_as_it_is_written(command: str) -> None:
    assert "\\\n" not in parsed(command), "in single quotes a backslash doesn't join lines"


def test_a_backslash_at_the_end_of_a_line_is_noticed_in_single_quotes_only() -> None:
    assert "\\\n" in parsed('curl -d \'{"a": 1, \\\n  "b": 2}\'')
    assert "\\\n" not in parsed('curl \\\n  -d \'{"a": 1,\n  "b": 2}\' "$(date \\\n -u)"')
    with pytest.raises(ValueError, match="syntax error"):
        parsed("for n in 1 2; echo $n; done")


def test_a_command_may_go_over_several_lines() -> None:
    block = "$ one \\\n  two\nout\n$ three 'a\nb'\n$ four\nit's\n"
    assert list(commands_of(block)) == [
        *(("one \\\n  two", "out\n"), ("three 'a\nb'", ""), ("four", "it's\n"))
    ]
    assert goes_on("for n in 1 2; do\n")


def unknown_in(command: str) -> list[str]:
    """Words and options that `shopstream` doesn't have."""
    unknown: list[str] = []
    for words in calls_of(command, "shopstream"):
        found: Any = get_command(app)
        rest = list(words)
        while rest and rest[0] in getattr(found, "commands", {}):
            found = found.commands[rest.pop(0)]
        options = {name for param in found.params for name in (*param.opts, *param.secondary_opts)}
        options |= {"--help", "-h", "--version"}
        if getattr(found, "commands", None) and rest and not rest[0].startswith("-"):
            unknown += [] if PLACEHOLDER.search(rest[0]) else [rest[0]]
        names = [word.partition("=")[0] for word in rest if re.match(r"^--?[a-z]", word)]
        unknown += [name for name in names if name not in options]
    return unknown


@pytest.mark.parametrize("command", ALL)
def test_a_command_of_ours_has_these_words_and_options(command: str) -> None:
    assert unknown_in(command) == []


def test_a_word_or_option_that_there_is_not_is_noticed() -> None:
    assert unknown_in("shopstream stats") == ["stats"]
    assert unknown_in("key=$(shopstream keys add --nome web) | shopstream check --all") == [
        *("--nome", "--all")
    ]


@pytest.mark.parametrize("command", ALL)
def test_a_target_of_make_exists(command: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in calls_of(command, "make"):
        assert {word for word in words if re.match(r"^[a-z]", word)} <= targets


@pytest.mark.parametrize("command", ALL)
def test_an_output_of_terraform_exists(command: str) -> None:
    outputs = set(re.findall(r'^output "(\w+)"', terraform("outputs.tf"), re.MULTILINE))
    for words in calls_of(command, "terraform"):
        if "output" in words:
            assert words[-1].strip('"') in outputs


@pytest.mark.parametrize("command", ALL)
def test_a_function_is_called_so(command: str) -> None:
    functions = terraform("functions.tf")
    for name in OUR_FUNCTION.findall(command):
        if name != "BrowsingClickstream":
            assert re.search(rf"^    {name} +=", functions, re.MULTILINE), name


def test_variables_of_terraform_that_the_docs_name_exist() -> None:
    variables = set(re.findall(r'^variable "(\w+)"', terraform("variables.tf"), re.MULTILINE))
    page = (ROOT / "docs" / "aws.md").read_text("utf-8")
    (example,) = re.findall(r"^# terraform/own.tfvars\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"^(\w+) +=", example, re.MULTILINE)) <= variables
    for name in ("scan_gib_max", "lake_buffer_s", "build_schedule", "requests_per_s_max"):
        assert name in variables


def test_alarms_in_the_runbook_are_made_by_terraform() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    table = page.partition("## Alarms")[2].partition("\n## ")[0]
    made = (ROOT / "terraform" / "modules" / "monitoring" / "main.tf").read_text("utf-8")
    endings = set(re.findall(r"`(?:P-[^`]*?|…)-([a-z]+(?:-[a-z]+)*)`", table))
    assert {"depth", "age", "errors"} <= {ending.rpartition("-")[2] for ending in endings}
    for ending in endings:
        assert re.search(rf"-{ending}\"", made), ending


def terraform(name: str) -> str:
    return (ROOT / "terraform" / name).read_text("utf-8")
