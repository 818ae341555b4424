"""The references in `docs/`, made from the code: `python -m shopstream.reference`.

A page is written by hand around its generated parts, which stand between
`<!-- begin generated: NAME -->` and `<!-- end generated -->`. A test fails when they drift.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from shopstream.ask.data_catalog import (
    lineage_reference,
    live_reference,
    sources_reference,
    tables_reference,
)
from shopstream.domain.failures import REASONS
from shopstream.domain.rules import rules_reference
from shopstream.events import TOPICS, Topic
from shopstream.mapping_options import mapping_reference
from shopstream.rules_file import default_rules_text
from shopstream.schemas import EXAMPLES, schema_of
from shopstream.settings import setting_table

_PART = re.compile(
    r"(<!-- begin generated: (?P<name>[a-z_ ]+) -->\n).*?(<!-- end generated -->)", re.DOTALL
)


def topic_reference(topic: Topic) -> str:
    """The fields of a topic as a table, its lines' too, and an example."""
    schema = schema_of(topic)
    parts = [_fields_table(schema)]
    for name, structure in schema.get("$defs", {}).items():
        parts += [f"Each of `lines` ({name}):\n", _fields_table(structure)]
    example = json.dumps(EXAMPLES[topic], indent=2)
    return "\n".join([*parts, f"```json {topic}\n{example}\n```\n"])


def _fields_table(schema: dict[str, Any]) -> str:
    rows = ["| field | value | needed | meaning |", "|---|---|---|---|"]
    for name, found in schema["properties"].items():
        needed = "yes" if name in schema["required"] else ""
        rows.append(f"| `{name}` | {_kind(found)} | {needed} | {found['description']} |")
    return "\n".join([*rows, ""])


def _kind(found: dict[str, Any]) -> str:
    kinds = [_one_kind(c) for c in found.get("anyOf", [found]) if c.get("type") != "null"]
    return "decimal" if "decimal" in kinds else " or ".join(kinds)


def _one_kind(found: dict[str, Any]) -> str:
    match found:
        case {"enum": words} if "EUR" in words:
            return "currency code"
        case {"enum": words}:
            return ", ".join(f"`{word}`" for word in words)
        case {"format": "date-time"}:
            return "time"
        case {"format": "decimal"}:
            return "decimal"
        case {"type": "integer", "minimum": least}:
            return f"whole number from {least}"
        case {"type": "integer"}:
            return "whole number"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "string", "minLength": 1, "maxLength": most}:
            return f"id, 1 to {most} bytes"
        case {"type": "string", "maxLength": most}:
            return f"text of up to {most:,} characters"
        case {"type": "array"}:
            return "list"
        case {"type": "object"}:
            return "object"
        case {"type": kind}:
            return str(kind)
        case _:
            return "any JSON"


def reasons_reference() -> str:
    rows = [f"| `{reason}` | {meaning} |" for reason, meaning in REASONS.items()]
    return "\n".join(["| reason | what is wrong |", "|---|---|", *rows, ""])


def settings_reference() -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for s in setting_table():
        default = f"`{s.default}`" if s.default else ""
        rows.append(f"| `{s.name}` | {default} | {s.help.replace('|', chr(92) + '|')} |")
    return "\n".join([*rows, ""])


def cli_reference() -> str:
    """`--help` of every command, in the order of `shopstream --help`."""
    from typer.main import get_command

    from shopstream.cli import app

    parts = []
    for path, text in _helps(get_command(app), "shopstream"):
        parts += [f"## {path}\n", f"```text\n{text}\n```\n"]
    return "\n".join(parts)


def _helps(command: Any, path: str, parent: Any = None) -> Iterator[tuple[str, str]]:
    context = command.make_context(
        path.rpartition(" ")[2], [], parent=parent, resilient_parsing=True
    )
    context.terminal_width = context.max_content_width = 88
    text = command.get_help(context)
    yield path, re.sub(r"[ \x08]+$", "", text, flags=re.MULTILINE).strip()
    for name, inner in getattr(command, "commands", {}).items():
        yield from _helps(inner, f"{path} {name}", context)


PARTS: dict[str, Callable[[], str]] = {
    **{f"topic {topic}": partial(topic_reference, topic) for topic in TOPICS},
    "reasons": reasons_reference,
    "settings": settings_reference,
    "cli": cli_reference,
    "rules": rules_reference,
    "mappings": lambda: mapping_reference().replace("## ", "### "),
    "gold tables": partial(tables_reference, "gold"),
    "silver tables": partial(tables_reference, "silver"),
    "live tables": live_reference,
    "sources": sources_reference,
    "lineage": lineage_reference,
    "default rules": lambda: f"```toml rules.toml\n{default_rules_text()}```\n",
}


def fresh(page: str) -> str:
    """The page with its generated parts made anew. Raises KeyError for a part nobody makes."""
    return _PART.sub(lambda m: f"{m[1]}\n{PARTS[m['name']]()}\n{m[3]}", page)


def write_references(docs: Path) -> list[Path]:
    """Bring the generated parts of all pages in `docs` up to date; returns the changed pages."""
    changed = []
    for path in sorted(docs.glob("*.md")):
        page = path.read_text("utf-8")
        if (wanted := fresh(page)) != page:
            path.write_text(wanted, "utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    write_references(Path("docs"))
