"""Mappings: how the rows of somebody's file become our events, declared in TOML.

`find_mapping` gives a bundled mapping by name or reads a file. All that is wrong with a mapping
is said at once, each fault with the file, the key, the value and what was wanted.
"""

import re
import tomllib
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from shopstream.errors import ConfigError
from shopstream.events import EVENT_OF, TOPICS, OnBadLine, OrderLine, Topic
from shopstream.mapping_options import (
    FIELD_OPTIONS,
    FORMAT_OPTIONS,
    MAPPING_OPTIONS,
    WHEN_OPTIONS,
    did_you_mean,
    raise_faults,
    read_options,
)

MAPPING_BYTES_MAX = 4 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TYPE_OF_FIELD = {
    "timestamp": "time",
    "quantity": "integer",
    "stock_on_hand": "integer",
    "reorder_level": "integer",
    "discontinued": "flag",
    **dict.fromkeys(("price", "unit_price", "amount", "shipping", "tax", "discount"), "decimal"),
}
_NOT_MAPPED = {"extra", "lines", "line", "payload", "consent"}


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """How a file is written. An empty `type` or `delimiter` is decided by the file's name."""

    type: str = ""
    delimiter: str = ""
    quote: str = '"'
    encoding: str = "utf-8-sig"
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FieldRule:
    """Where one of our fields comes from. Empty `column`: it is always `constant`."""

    column: str = ""
    constant: Any = None
    type: str = "text"
    values: dict[str, Any] = field(default_factory=dict)
    format: str = "iso"
    timezone: str = "UTC"
    strip_suffix: str = ""
    decimal_mark: str = "."
    default: Any = None
    when_empty: str = "absent"
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class When:
    """An exception: for rows whose `column` fits, fields are set and signs turned."""

    column: str
    equals: str = ""
    starts_with: str = ""
    set: dict[str, Any] = field(default_factory=dict)
    negate: tuple[str, ...] = ()

    def fits(self, cell: Any) -> bool:
        text = "" if cell is None else str(cell)
        return text == self.equals if self.equals else text.startswith(self.starts_with)


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """A checked mapping. `as_is`: lines of NDJSON that are our own events already."""

    name: str
    topic: Topic
    about: str = ""
    format: FileFormat = FileFormat()
    fields: dict[str, FieldRule] = field(default_factory=dict)
    lines: dict[str, FieldRule] = field(default_factory=dict)
    group_by: str = ""
    number_lines: str = "file"
    look_back_lines: int = 50_000
    on_bad_line: OnBadLine = "reject_order"
    when: tuple[When, ...] = ()
    as_is: bool = False

    @property
    def source(self) -> str:
        """The ledger's name for what this mapping loads."""
        return f"load:{self.name}"

    @property
    def fingerprint(self) -> str:
        """Changes when anything does that decides what a file's events are."""
        said = msgspec.to_builtins(replace(self, about=""))
        if self.number_lines == "file":
            del said[
                "number_lines"
            ]  # files loaded before there was a choice are known as they were
        return sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:16]

    @property
    def columns(self) -> dict[str, bool]:
        """Columns that are read, in order, with whether the file may lack them."""
        found: dict[str, bool] = {}
        for rule in (*self.fields.values(), *self.lines.values()):
            if rule.column:
                found[rule.column] = found.get(rule.column, True) and rule.optional
        for name in (self.group_by, *(w.column for w in self.when)):
            if name:
                found[name] = False
        return found


def bundled_mappings() -> list[str]:
    """Names of the mappings that come with the package."""
    folder = files("shopstream.mappings")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith("toml"))


def find_mapping(wanted: str | Path) -> Mapping:
    """A bundled mapping by name, a mapping file by path, or, for the name of a topic, the mapping
    that takes lines of NDJSON as the events they are. Raises ConfigError.
    """
    text = str(wanted)
    if text in TOPICS:
        return Mapping(name=text, topic=text, as_is=True, format=FileFormat(type="ndjson"))
    if not text.endswith(".toml"):
        names = bundled_mappings()
        if text not in names:
            hint = did_you_mean(text, [*names, *TOPICS])
            raise ConfigError(f"mapping {text!r}: there is no such mapping{hint}, or a .toml file")
        resource = files("shopstream.mappings") / f"{text}.toml"
        return parse_mapping(resource.read_text("utf-8"), f"{text}.toml", text)
    path = Path(wanted)
    if not _NAME.fullmatch(path.stem):
        raise ConfigError(
            f"{path}: the file's name is the ledger's name for the source: use at most 64 of"
            " A-Z a-z 0-9 _ . -"
        )
    try:
        with path.open("rb") as file:
            body = file.read(MAPPING_BYTES_MAX)
        return parse_mapping(body.decode("utf-8"), str(path), path.stem)
    except OSError as e:
        raise ConfigError(f"{path}: can't be read: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: not UTF-8 at byte {e.start}") from None


def parse_mapping(text: str, file: str, name: str) -> Mapping:
    """The mapping that `text` declares; raises ConfigError with all its faults, a line each."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{file}: not TOML: {e}") from None
    top, faults = read_options(given, MAPPING_OPTIONS, file)
    raise_faults(faults)
    topic = cast(Topic, top["topic"])
    form, more = read_options(top["format"], FORMAT_OPTIONS, f"{file}: [format]")
    faults += more
    fields = _field_rules(top["fields"], EVENT_OF[topic], f"{file}: [fields]", faults)
    lines: dict[str, FieldRule] = {}
    if topic == "orders":
        lines = _field_rules(top["lines"], OrderLine, f"{file}: [lines]", faults)
    faults += [
        f"{file}: {key} is for topic orders, this mapping's is {topic}"
        for key in ("group_by", "number_lines", "lines", "on_bad_line")
        if key in given and topic != "orders"
    ]
    for key in ("delimiter", "quote"):
        if len(form[key]) > 1 or form[key] in ("\r", "\n"):
            faults.append(f"{file}: [format]: {key} = {form[key]!r} is not one character")
    targets = [*fields, *lines, *_targets(EVENT_OF[topic])]
    when = [_when(w, f"{file}: [[when]] #{n}", targets, faults) for n, w in enumerate(top["when"])]
    raise_faults(faults)
    return Mapping(
        name=name,
        topic=topic,
        about=top["about"],
        format=FileFormat(**{**form, "columns": tuple(form["columns"])}),
        fields=fields,
        lines=lines,
        group_by=top["group_by"],
        number_lines=top["number_lines"],
        look_back_lines=top["look_back_lines"],
        on_bad_line=cast(OnBadLine, top["on_bad_line"]),
        when=tuple(when),
    )


def _targets(kind: type[msgspec.Struct]) -> list[str]:
    return [name for name in kind.__struct_fields__ if name not in _NOT_MAPPED]


def _field_rules(
    given: dict[str, Any], kind: type[msgspec.Struct], where: str, faults: list[str]
) -> dict[str, FieldRule]:
    targets = _targets(kind)
    rules = {}
    for name, value in given.items():
        if name not in targets:
            faults.append(f"{where}: {name} is not a field of it{did_you_mean(name, targets)}")
        elif isinstance(value, str | dict):
            table = {"column": value} if isinstance(value, str) else value
            rules[name] = _field_rule(name, table, f"{where}: {name}", faults)
        else:
            faults.append(f"{where}: {name} = {value!r} is not a column's name or a table")
    required = [f.name for f in msgspec.structs.fields(kind) if f.required]
    faults += [
        f"{where}: {name} is missing; every event of this topic needs one"
        for name in required
        if name in targets and name not in given
    ]
    return rules


def _field_rule(name: str, table: dict[str, Any], where: str, faults: list[str]) -> FieldRule:
    values, more = read_options(table, FIELD_OPTIONS, where)
    faults += more
    if bool(values["column"]) == (values["constant"] is not None):
        faults.append(f"{where}: wanted either a column or a constant")
    values["type"] = values["type"] or _TYPE_OF_FIELD.get(name, "text")
    try:
        ZoneInfo(values["timezone"])
    except (ZoneInfoNotFoundError, ValueError, OSError):
        faults.append(
            f"{where}: timezone = {values['timezone']!r} is not known here;"
            " wanted a name such as UTC or Europe/London"
        )
    return FieldRule(**values)


def _when(given: dict[str, Any], where: str, targets: list[str], faults: list[str]) -> When:
    values, more = read_options(given, WHEN_OPTIONS, where)
    faults += more
    if bool(values["equals"]) == bool(values["starts_with"]):
        faults.append(f"{where}: wanted either equals or starts_with")
    faults += [
        f"{where}: {name} is not a field of the events{did_you_mean(name, targets)}"
        for name in (*values["set"], *values["negate"])
        if name not in targets
    ]
    return When(**{**values, "column": values["column"] or "", "negate": tuple(values["negate"])})
