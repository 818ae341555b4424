"""The generated references are those of the code."""

import ast
import re
from pathlib import Path

import pytest

from shopstream.domain.failures import REASONS
from shopstream.events import EVENT_OF
from shopstream.reference import PARTS, fresh, write_references
from shopstream.schemas import EXAMPLES, FIELDS, schema_of
from shopstream.settings import setting_table

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
SOURCE = sorted((ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_as_the_code_says(page: Path) -> None:
    text = page.read_text("utf-8")
    assert fresh(text) == text, "run `make docs`"


def test_every_part_stands_on_some_page() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert set(re.findall(r"<!-- begin generated: (.+) -->", text)) == set(PARTS)


def test_a_page_that_drifted_is_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "settings.md"
    page.write_text("by hand\n<!-- begin generated: settings -->\nold\n<!-- end generated -->\n")
    assert write_references(tmp_path) == [page]
    assert "by hand" in page.read_text()
    assert "old\n" not in page.read_text()
    assert write_references(tmp_path) == []


def test_every_setting_has_a_line_of_help() -> None:
    assert all(s.help.endswith(".") for s in setting_table())


def test_every_field_of_every_topic_is_described() -> None:
    for topic in EVENT_OF:
        schema = schema_of(topic)  # type: ignore[arg-type]  # EVENT_OF's keys are the topics
        structures = [schema, *schema.get("$defs", {}).values()]
        assert {name for s in structures for name in s["properties"]} <= set(FIELDS)
        assert all("description" in p for s in structures for p in s["properties"].values())


def test_every_topic_has_an_example() -> None:
    assert set(EXAMPLES) == set(EVENT_OF)


def reasons_in(path: Path) -> set[str]:
    """The reason codes that a module makes failures with."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Failure" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


def test_every_reason_is_explained() -> None:
    used = set().union(*(reasons_in(path) for path in SOURCE))
    assert used - set(REASONS) == set()
    assert {"json", "conflict", "total"} <= used
