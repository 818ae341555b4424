"""The prompt: what completes, when a statement is whole, what goes on after an error."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ask.published import settings_of

from shopstream.ask.prompt import is_whole, run_prompt, words_for
from shopstream.ask.tables import Published, published
from shopstream.errors import SqlError


@pytest.fixture
def tables(data_dir: Path) -> Published:
    return published(settings_of(data_dir))


@pytest.mark.parametrize(
    ("before", "word"),
    [
        ("sel", "SELECT"),
        ("SELECT * FROM gold_da", "gold_daily_sales"),
        ("SELECT * FROM live.o", "live.offers"),
        ("SELECT amo", "amount"),
        ("SELECT * FROM ecom", "ecommerce_analytics_db"),
        (".ta", ".tables"),
        (".describe gold_f", "gold_funnel"),
    ],
)
def test_tables_columns_keywords_and_commands_complete(
    before: str, word: str, tables: Published
) -> None:
    assert word in words_for(before, tables)


def test_after_a_blank_all_tables_are_offered(tables: Published) -> None:
    assert set(words_for("SELECT * FROM ", tables)) == set(tables.names)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        ".tables",
        "SELECT 1;",
        "SELECT\n1 ; \n",
        "SELECT 1; -- one",
        "SELECT 1; /* a\n b */",
    ],
)
def test_a_command_or_a_statement_with_its_end_is_sent(text: str) -> None:
    assert is_whole(text)


@pytest.mark.parametrize(
    "text", ["SELECT 1", "SELECT ';'\n", "S", "SELECT 1 -- one; two", "SELECT ';--'"]
)
def test_a_statement_without_its_end_goes_on(text: str) -> None:
    assert not is_whole(text)


class Typed:
    """Someone who types these; an exception stands for the key that makes it."""

    def __init__(self, *typed: str | type[BaseException]) -> None:
        self._typed: Iterator[str | type[BaseException]] = iter(typed)

    def prompt(self) -> str:
        typed = next(self._typed, EOFError)
        if isinstance(typed, str):
            return typed
        raise typed


def told(tables: Published, *typed: str | type[BaseException]) -> tuple[list[str], list[str]]:
    """What was to be done, and what was said, before the prompt was left."""
    done: list[str] = []
    said: list[str] = []

    def do(kind: str, text: str) -> None:
        done.append(f"{kind} {text}")
        if text == "wrong;":
            raise SqlError("no")
        if text == "slow;":
            raise KeyboardInterrupt

    run_prompt(Path("unused"), lambda: tables, do, said.append, Typed(*typed))
    return done, said


def test_errors_and_ctrl_c_end_a_statement_and_not_the_prompt(tables: Published) -> None:
    done, said = told(tables, "wrong;", KeyboardInterrupt, "slow;", "", "SELECT 1;", EOFError)
    assert done == ["sql wrong;", "sql slow;", "sql SELECT 1;"]
    assert said == ["error: no", "cancelled"]


def test_commands_begin_with_a_point(tables: Published) -> None:
    done, said = told(tables, ".tables", ".describe gold_funnel;", ".nothing", ".quit", "SELECT 1;")
    assert done == [".tables ", ".describe gold_funnel"]
    assert said == ["error: there is no .nothing; try .help"]
