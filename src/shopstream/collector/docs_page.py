"""GET /docs: the OpenAPI description as a page. No script, nothing from elsewhere."""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import msgspec

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; }
h3 { margin: 2rem 0 0; font: inherit; font-weight: bold; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
h3 code { font-size: inherit; font-weight: bold; }
pre { background: #8882; padding: .75rem; overflow-x: auto; border-radius: .4rem; }
details { margin: .6rem 0; padding: .4rem .8rem; border: 1px solid #8886; border-radius: .4rem; }
summary { cursor: pointer; }
table { border-collapse: collapse; table-layout: fixed; width: 100%; margin: 1rem 0; }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
th:first-child { width: 10rem; }
td small { display: block; opacity: .8; }
td small code { font-size: inherit; }
b.method { display: inline-block; min-width: 4rem; }
@media (max-width: 40rem) { th:first-child { width: 6.5rem; } }
"""
Json = Mapping[str, Any]


def docs_page(spec: Json) -> bytes:
    """HTML of the whole description: each operation with its parameters, body and answers, an
    example of each, and the fields of every schema.
    """
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
    parts.append("<h2>Schemas</h2><p>Patterns and long lists of values are in openapi.json.</p>")
    for name, schema in spec["components"]["schemas"].items():
        parts.append(_schema(name, schema))
    return "".join([*parts, "</html>\n"]).encode()


def _operation(path: str, method: str, operation: Json) -> str:
    parts = [
        f"<details><summary><b class='method'>{method.upper()}</b>",
        f"<code>{escape(path)}</code> {_prose(operation['summary'])}</summary>",
        _paragraphs(operation.get("description", "")),
        _table("Parameter", [_parameter(p) for p in operation.get("parameters", [])]),
    ]
    for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
        for named in media.get("examples", {}).values():
            what = f"{escape(media_type)}, {_prose(named['summary'])}"
            parts.append(_example(what, media["schema"], named["value"]))
    answers = operation["responses"].items()
    parts.append(_table("Answer", [_answer(code, response) for code, response in answers]))
    for code, response in answers:
        parts += [
            _example(f"An answer {escape(code)}", media["schema"], media["example"])
            for media in response.get("content", {}).values()
            if "example" in media
        ]
    return "".join([*parts, "</details>"])


def _parameter(parameter: Json) -> tuple[str, str]:
    schema = parameter["schema"]
    name = f"{_code(parameter['name'])} ({escape(parameter['in'])})"
    return name, _meaning(parameter.get("description", ""), _kind(schema) + _default(schema))


def _answer(code: str, response: Json) -> tuple[str, str]:
    schemas = [media["schema"] for media in response.get("content", {}).values()]
    return _code(code), _meaning(response["description"], "".join(map(_links, schemas)))


def _schema(name: str, schema: Json) -> str:
    """Not folded: a link to what is folded away leads nowhere in some browsers."""
    rows = []
    for field, found in schema.get("properties", {}).items():
        needed = ", required" if field in schema.get("required", []) else ""
        kind = _kind(found) + _default(found) + needed
        rows.append((_code(field), _meaning(found.get("description", ""), kind)))
    parts = [
        f"<h3 id='{escape(name)}'>{_code(name)}</h3>",
        _paragraphs(schema.get("description", "")),
        _table("Field", rows),
    ]
    parts += [_example("Such as this", {}, example) for example in schema.get("examples", [])]
    return "".join(parts)


def _kind(schema: Json) -> str:
    """What a value can be, in words."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return _one_of(schema["enum"])
    kind = schema.get("type", "any JSON")
    text = escape(kind if isinstance(kind, str) else " or ".join(kind))
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            text += f" of {_kind(schema[inner])}"
    limits = [escape(schema["format"])] if "format" in schema else []
    limits += _limits(schema)
    return f"{text} ({', '.join(limits)})" if limits else text


def _one_of(values: Sequence[object]) -> str:
    if len(values) > _SHOWN_MAX:
        return f"one of {len(values)} values such as {_code(str(values[0]))}"
    return f"one of {', '.join(_code(str(value)) for value in values)}"


def _limits(schema: Json) -> Iterator[str]:
    for least, most, unit in _RANGES:
        if least in schema and most in schema:
            yield f"{schema[least]:,} to {schema[most]:,}{unit}"
        elif least in schema:
            yield f"at least {schema[least]:,}{unit}"
        elif most in schema:
            yield f"at most {schema[most]:,}{unit}"
    if "exclusiveMinimum" in schema:
        yield f"over {schema['exclusiveMinimum']:,}"
    if "exclusiveMaximum" in schema:
        yield f"under {schema['exclusiveMaximum']:,}"


_SHOWN_MAX = 20
_RANGES = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
)


def _default(schema: Json) -> str:
    """Words about the default, none where leaving a value out says all."""
    default = schema.get("default")
    if default is None or default == "":
        return ""
    return f", by default {_code(default if isinstance(default, str) else _json(default))}"


def _links(schema: Any) -> str:
    """Links to every schema that this one names."""
    return ", ".join(map(_link, dict.fromkeys(_refs(schema))))


def _refs(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value
            else:
                yield from _refs(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _refs(value)


def _link(ref: str) -> str:
    name = escape(ref.rpartition("/")[2])
    return f"<a href='#{name}'>{name}</a>"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<tr><td>{name}</td><td>{meaning}</td></tr>" for name, meaning in rows)
    return f"<table><tr><th>{title}</th><th>Meaning</th></tr>{cells}</table>"


def _meaning(description: str, kind: str) -> str:
    """A cell: what it means, below it in small what it can be."""
    return f"{_prose(description)}{f'<small>{kind}</small>' if kind else ''}"


def _example(what: str, schema: Json, value: Any) -> str:
    text = value if isinstance(value, str) else _json(value, indent=2)
    links = _links(schema)
    return f"<p>{what}{f' ({links})' if links else ''}:</p><pre>{escape(text)}</pre>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _json(value: Any, *, indent: int = 0) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=indent).decode()


def _prose(text: str) -> str:
    """Escaped, what stands in backticks as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_prose(p)}</p>" for p in text.split("\n\n") if p)
