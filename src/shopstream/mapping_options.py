"""The keys a mapping file may have: one table, read by the parser and by the reference."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from shopstream.errors import ConfigError
from shopstream.events import TOPICS


class Option(NamedTuple):
    """One key: what kind of value it takes, its default, the allowed values, what it means."""

    name: str
    kind: str
    help: str
    default: Any = None
    choices: tuple[str, ...] = ()
    required: bool = False


_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "whole number": (int,),
    "true or false": (bool,),
    "list of text": (list,),
    "table": (dict,),
    "text, number or true/false": (str, int, float, bool),
}

MAPPING_OPTIONS = (
    Option("topic", "text", "What a row becomes.", None, TOPICS, required=True),
    Option("about", "text", "What the mapping is for; shown in lists.", ""),
    Option("format", "table", "How the file is written; see below.", {}),
    Option("fields", "table", "Our field = a column, or a table; see below.", None, required=True),
    Option("lines", "table", "The fields of an order's lines, written as in `[fields]`.", {}),
    Option(
        "group_by",
        "text",
        "Orders only: rows with the same value in this column, and the same in the one that"
        " `status` is read from, are the lines of one order. What differs within an order, such"
        " as the time, is the first row's; the other rows' values are kept in the `extra` of their"
        " lines.",
        "",
    ),
    Option(
        "number_lines",
        "text",
        "Orders only: an order's lines bear their line numbers in the `file`, or are numbered"
        " within the `order` from 1, so that it is the same order in every file it is in.",
        "file",
        ("file", "order"),
    ),
    Option(
        "look_back_lines",
        "whole number",
        "An order is complete once this many further lines of the file have not been its own.",
        50_000,
    ),
    Option(
        "on_bad_line",
        "text",
        "`reject_order` rejects an order with a bad line; `quarantine_line` keeps its good lines"
        " and then the ledger counts lines.",
        "reject_order",
        ("reject_order", "quarantine_line"),
    ),
    Option("when", "table", "Exceptions, as `[[when]]`; see below.", []),
)

FORMAT_OPTIONS = (
    Option(
        "type",
        "text",
        "By default the file's name decides (`.csv`, `.tsv`, `.ndjson`, `.jsonl`, `.parquet`).",
        "",
        ("csv", "ndjson", "parquet"),
    ),
    Option("delimiter", "text", "CSV: one character between cells; a tab for `.tsv`.", ""),
    Option("quote", "text", "CSV: the character around cells; empty when there is none.", '"'),
    Option(
        "encoding",
        "text",
        "CSV: the text's encoding; `utf-8-sig` is UTF-8 with or without a byte order mark.",
        "utf-8-sig",
        ("utf-8-sig", "utf-8", "latin-1", "cp1252", "ascii"),
    ),
    Option("columns", "list of text", "CSV: the columns' names, for a file without header.", []),
)

FIELD_OPTIONS = (
    Option("column", "text", 'The column to take. `field = "X"` is short for this alone.', ""),
    Option("constant", "text, number or true/false", "A fixed value instead of a column."),
    Option(
        "type",
        "text",
        "How to read the cell; by default as the field needs it. What can't be read so is passed"
        " on as it stands, and validation rejects it with its reason.",
        "",
        ("text", "decimal", "integer", "flag", "time"),
    ),
    Option("values", "table", "Cell = value to use instead; other cells stay as they are.", {}),
    Option(
        "format",
        "text",
        "Times: a `strptime` format, `iso`, or `epoch_s`, `epoch_ms`, `epoch_us`.",
        "iso",
    ),
    Option("timezone", "text", "Times that name no zone are in this one.", "UTC"),
    Option("strip_suffix", "text", "Cut this off the end of the cell where it is there.", ""),
    Option("decimal_mark", "text", "Decimals: `,` where 1,50 is one and a half.", ".", (".", ",")),
    Option("default", "text, number or true/false", "The value of an empty cell."),
    Option(
        "when_empty",
        "text",
        "Without `default`: an empty cell leaves the field out, or is kept as empty text.",
        "absent",
        ("absent", "keep"),
    ),
    Option("optional", "true or false", "The file may lack the column.", default=False),
)

WHEN_OPTIONS = (
    Option("column", "text", "The column that decides.", None, required=True),
    Option("equals", "text", "It holds exactly this.", ""),
    Option("starts_with", "text", "It starts with this.", ""),
    Option("set", "table", "Our field = the value it then has.", {}),
    Option("negate", "list of text", "Our fields (or line fields) whose sign is turned.", []),
)

_SECTIONS = (
    ("The file itself", MAPPING_OPTIONS),
    ("`[format]`", FORMAT_OPTIONS),
    ("A field's table, in `[fields]` and `[lines]`", FIELD_OPTIONS),
    ("`[[when]]`", WHEN_OPTIONS),
)


def read_options(
    given: Mapping[str, Any], options: Sequence[Option], where: str
) -> tuple[dict[str, Any], list[str]]:
    """The values of `given` with defaults filled in, and what is wrong with it, a line each."""
    values = {o.name: o.default for o in options}
    known = {o.name: o for o in options}
    faults = []
    for name, value in given.items():
        if name not in known:
            faults.append(f"{where}: unknown key {name!r}{did_you_mean(name, list(known))}")
        elif fault := _fault_of(known[name], value):
            faults.append(f"{where}: {name} = {value!r} is not {fault}")
        else:
            values[name] = value
    faults += [
        f"{where}: {o.name} is missing; wanted {_wanted(o)}"
        for o in options
        if o.required and o.name not in given
    ]
    return values, faults


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """`; did you mean 'x'?` or, when nothing is near, the names there are."""
    near = get_close_matches(name, names, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"


def raise_faults(faults: Sequence[str]) -> None:
    """Raise all of them as one ConfigError, a line each; nothing if there are none."""
    if faults:
        raise ConfigError("\n".join(faults))


def _fault_of(option: Option, value: Any) -> str:
    if option.name == "when":
        fits = isinstance(value, list) and all(isinstance(v, dict) for v in value)
        return "" if fits else "a list of tables, written [[when]]"
    fits = isinstance(value, _TYPES[option.kind])
    if isinstance(value, bool) and bool not in _TYPES[option.kind]:
        fits = False
    if option.kind == "list of text" and fits:
        fits = all(isinstance(v, str) for v in value)
    if option.kind == "whole number" and fits:
        fits = value >= 1
    if option.choices and value not in option.choices:
        fits = False
    return "" if fits else _wanted(option)


def _wanted(option: Option) -> str:
    if option.choices:
        return "one of " + ", ".join(option.choices)
    return f"{'at least 1, a ' if option.kind == 'whole number' else ''}{option.kind}"


def mapping_reference() -> str:
    """All keys of a mapping file as Markdown tables."""
    parts = []
    for title, options in _SECTIONS:
        rows = [f"## {title}", "", "| key | takes | default | meaning |", "|---|---|---|---|"]
        for o in options:
            takes = ", ".join(f"`{c}`" for c in o.choices) or o.kind
            rows.append(f"| `{o.name}` | {takes} | {_shown_default(o)} | {o.help} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _shown_default(option: Option) -> str:
    if option.required:
        return "(required)"
    if option.default in (None, "", [], {}):
        return ""
    shown = str(option.default).lower() if option.default is False else option.default
    return f"`{shown}`"
