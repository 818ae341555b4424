"""GET /docs: the OpenAPI description as a page. No script, nothing from elsewhere."""

from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { background: #8882; padding: .75rem; overflow-x: auto; border-radius: .4rem; }
details { margin: .6rem 0; padding: .4rem .8rem; border: 1px solid #8886; border-radius: .4rem; }
summary { cursor: pointer; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
b.method { display: inline-block; min-width: 4rem; }
"""


def docs_page(spec: Mapping[str, Any]) -> bytes:
    """HTML of the whole description: each operation with parameters, body, answers, example."""
    info = spec["info"]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>{escape(info['title'])}</title><style>{STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        _paragraphs(info["description"]),
        "<p><a href='/openapi.json'>openapi.json</a></p>",
    ]
    tags: dict[str, list[str]] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    for tag, shown in tags.items():
        parts += [f"<h2>{escape(tag)}</h2>", *shown]
    parts.append("<h2>Schemas</h2>")
    for name, schema in spec["components"]["schemas"].items():
        parts.append(_schema(name, schema))
    return "".join([*parts, "</html>\n"]).encode()


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f"<details><summary><b class='method'>{method.upper()}</b>",
        f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>",
        _paragraphs(operation.get("description", "")),
    ]
    rows = [
        (f"{p['name']} ({p['in']})", p.get("description", ""))
        for p in operation.get("parameters", [])
    ]
    parts.append(_table("Parameters", rows))
    content = operation.get("requestBody", {}).get("content", {})
    for media_type, media in content.items():
        for named in media.get("examples", {}).values():
            parts.append(f"<p>{escape(media_type)}, {escape(named['summary'])}:</p>")
            parts.append(_code(named["value"]))
    answers = [(code, r["description"]) for code, r in operation["responses"].items()]
    parts.append(_table("Answers", answers))
    return "".join([*parts, "</details>"])


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    return (
        f"<details id='{escape(name)}'><summary><code>{escape(name)}</code> "
        f"{escape(schema.get('description', ''))}</summary>{_code(schema)}</details>"
    )


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(meaning)}</td></tr>"
        for name, meaning in rows
    )
    return f"<table><tr><th>{title}</th><th></th></tr>{cells}</table>"


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else _pretty(value)
    return f"<pre>{escape(text)}</pre>"


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(p)}</p>" for p in text.split("\n\n") if p)
