"""The models and sources of the lake: read from their files, checked, put in order.

A model is one table: `models/<layer>/<name>.sql` (a SELECT in DuckDB's dialect) and beside it
`<name>.yml` (grain, columns, tests, how it is built, a unit test). A source is what the first
models read: bronze files, the archive of offers, the lander's tally; all are in `sources.yml`.

Nothing here opens a database: it only says what there is.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal, TypeAlias

import msgspec
import yaml
from msgspec import Struct

from shopstream.errors import ConfigError
from shopstream.events import Topic

NAMESPACE = "ecommerce_analytics_db"
"""What the tables are in, as a reader writes it: `ecommerce_analytics_db.gold_daily_sales`."""

Layer: TypeAlias = Literal["silver", "gold"]
LAYERS: tuple[Layer, ...] = ("silver", "gold")
Build: TypeAlias = Literal["merge", "days", "whole"]
Dialect: TypeAlias = Literal["duckdb", "trino", "spark"]

_TYPE = re.compile(r"VARCHAR|BIGINT|INTEGER|DOUBLE|BOOLEAN|DATE|TIMESTAMP|DECIMAL\(\d+,\d+\)")
# The one in C, where PyYAML was built with it, takes a tenth of the time.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NO_CODE = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
# EXTRACT(day FROM at), TRIM(x FROM y) and IS DISTINCT FROM name no table.
_NO_TABLE = re.compile(r"\(\s*[\w']*\s+FROM\b|\bDISTINCT\s+FROM\b", re.IGNORECASE)
_CTE = re.compile(r"(?:\bWITH|,)\s+(\w+)\s+AS\s+(?:NOT\s+)?(?:MATERIALIZED\s+)?\(", re.IGNORECASE)
_READ = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)\b", re.IGNORECASE)


class _Written(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a YAML file: a key that isn't known is an error."""


class Relationship(_Written, frozen=True, kw_only=True):
    """Every value that is there is also in this column of that table."""

    to: str
    column: str


class ValueTest(_Written, frozen=True, kw_only=True):
    """What is asked of a column's values, NULLs apart; one of the two is given."""

    accepted_values: list[str | int | bool] | None = None
    relationships: Relationship | None = None


class Column(_Written, frozen=True, kw_only=True):
    """A column: its DuckDB type and what it means."""

    name: str
    type: str
    description: str
    tests: list[Literal["not_null", "unique"] | ValueTest] = []


class Freshness(_Written, frozen=True, kw_only=True):
    """The newest value of `column` is at most `within` (`1d`) before the newest that landed."""

    column: str
    within: str


class RowCount(_Written, frozen=True, kw_only=True):
    """The table has not lost more than this share of the rows that are published."""

    drop_percent_max: int


class TableTest(_Written, frozen=True, kw_only=True):
    """What is asked of the table as a whole; one of the two is given."""

    freshness: Freshness | None = None
    row_count: RowCount | None = None


class Merge(_Written, frozen=True, kw_only=True):
    """How a table takes in what is new of its source.

    `back` maps columns of the source to columns of the table that hold what they said, where the
    names differ. `keys` are columns by which rows of different days belong together: however far
    apart, unless `days_apart_max` is given. Then they are copies, of which the table keeps one.
    """

    source: str
    back: dict[str, str] = {}
    keys: list[str] = []
    days_apart_max: int = 0

    @property
    def copied(self) -> list[str]:
        """The columns by which rows of the source are copies of each other, if any can be."""
        return self.keys if self.days_apart_max else []


class UnitTest(_Written, frozen=True, kw_only=True):
    """Rows given to a model and all the rows expected of it, in any order.

    A column that a given row doesn't name is NULL; of an expected row only the named columns count.
    """

    given: dict[str, list[dict[str, Any]]]
    expect: list[dict[str, Any]]


class _ModelFile(_Written, frozen=True, kw_only=True):
    """What a model's YAML says. Absent `partition`: the table is one part.

    `reach` says of a table that is read how many days around a day make that day. `last_days` says
    of a whole table that only the newest day of what it reads and so many days before it matter.
    """

    name: str
    layer: Layer
    description: str
    grain: list[str]
    partition: str | None = None
    build: Build
    merge: Merge | None = None
    reach: dict[str, int] = {}
    last_days: int | None = None
    columns: list[Column]
    tests: list[TableTest] = []
    unit_test: UnitTest


class Model(_ModelFile, frozen=True, kw_only=True):
    """One table. `reads` are the models and sources that its SQL names, sorted."""

    sql: str
    reads: tuple[str, ...]

    @property
    def types(self) -> dict[str, str]:
        """The type of each column, in the table's order."""
        return {column.name: column.type for column in self.columns}


class _SourceFile(_Written, frozen=True, kw_only=True):
    name: str
    description: str
    topic: Topic | None = None
    archive: Literal["offers"] | None = None
    tally: bool = False
    raw: dict[str, str] = {}
    sql: dict[Dialect, str] = {}
    columns: list[Column]


class Source(_SourceFile, frozen=True, kw_only=True):
    """What the first models read: one of `topic`, `archive`, `tally` says from where.

    The files' JSON lines are read as `raw` (a type for each field; a field that a line lacks is
    NULL). Where there is `sql`, it makes the columns from the relation `raw_<topic>`, in each
    dialect's own words, as no two take a list apart alike; else `raw` are the columns.
    """

    @property
    def types(self) -> dict[str, str]:
        """The type of each column, in order."""
        return {column.name: column.type for column in self.columns}


class _Sources(_Written, frozen=True, kw_only=True):
    meta: list[Column]
    sources: list[_SourceFile]


def load_sources(root: Traversable | None = None) -> dict[str, Source]:
    """All sources by name. Raises ConfigError naming file and key."""
    file = (root or _models()) / "sources.yml"
    read = _convert(file, _Sources)
    found: dict[str, Source] = {}
    for written in read.sources:
        at = f"{file.name}: {written.name}"
        columns = [*(read.meta if written.topic else ()), *written.columns]
        _check_columns(at, columns)
        places = [written.topic is not None, written.archive is not None, written.tally]
        if places.count(True) != 1:
            raise ConfigError(f"{at}: exactly one of topic, archive and tally must be given")
        if bool(written.raw) != bool(written.sql):
            raise ConfigError(f"{at}: raw and sql go together: give both or neither")
        if written.name in found:
            raise ConfigError(f"{at}: is there twice")
        types = {column.name: column.type for column in columns}
        meta = {column.name: column.type for column in read.meta}
        raw = meta | written.raw if written.raw else types
        parts = {name: getattr(written, name) for name in written.__struct_fields__}
        found[written.name] = Source(**parts | {"columns": columns, "raw": raw})
    return found


def load_models(root: Traversable | None = None) -> dict[str, Model]:
    """All models by name, each after those that it reads; names in order where that is free.

    Raises ConfigError naming file and key.
    """
    root = root or _models()
    sources = load_sources(root)
    models = {model.name: model for model in _read_models(root, sources)}
    for model in models.values():
        _check(model, models, sources)
    order = TopologicalSorter(
        {m.name: [r for r in m.reads if r in models] for m in models.values()}
    )
    try:
        order.prepare()
    except CycleError as e:
        raise ConfigError(f"models read each other in a circle: {' -> '.join(e.args[1])}") from e
    return {model.name: model for model in _in_order(order, models)}


def _in_order(order: TopologicalSorter[str], models: Mapping[str, Model]) -> Iterator[Model]:
    while ready := sorted(order.get_ready()):
        for name in ready:
            yield models[name]
        order.done(*ready)


def _models() -> Traversable:
    return files("shopstream.lake") / "models"


def _read_models(root: Traversable, sources: Mapping[str, Source]) -> Iterator[Model]:
    written: dict[str, tuple[_ModelFile, str]] = {}
    for layer in LAYERS:
        folder = root / layer
        names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
        for name in names:
            stem, _, ending = name.rpartition(".")
            beside = {"yml": f"{stem}.sql", "sql": f"{stem}.yml"}.get(ending)
            if beside is None:
                continue
            if beside not in names:
                raise ConfigError(f"{layer}/{name}: {beside} must stand beside it")
            if ending == "yml":
                file = _convert(folder / name, _ModelFile, f"{layer}/{name}")
                if (file.name, file.layer) != (stem, layer):
                    raise ConfigError(
                        f"{layer}/{name}: name: {file.name} of layer {file.layer} is in the wrong"
                        f" file; wanted {file.layer}/{file.name}.yml"
                    )
                written[stem] = (file, (folder / beside).read_text("utf-8"))
    known = {*written, *sources}
    for file, sql in written.values():
        parts = {name: getattr(file, name) for name in file.__struct_fields__}
        reads = tables_read(sql)
        if unknown := reads - known:
            raise ConfigError(
                f"{file.layer}/{file.name}.sql: FROM {min(unknown)}: no such model or source;"
                f" there are {', '.join(sorted(known))}"
            )
        yield Model(**parts, sql=sql, reads=tuple(sorted(reads)))


def tables_read(sql: str) -> set[str]:
    """The names that stand behind FROM and JOIN in `sql`, but for those of its own CTEs."""
    code = _NO_TABLE.sub(" ", _NO_CODE.sub(" ", sql))
    ctes = {name.lower() for name in _CTE.findall(code)}
    return {name.lower() for name in _READ.findall(code)} - ctes


def _convert(file: Traversable, kind: type[Any], shown: str = "") -> Any:
    """The file's YAML as `kind`."""
    shown = shown or file.name
    try:
        written = yaml.load(file.read_text("utf-8"), _Loader)  # noqa: S506  # both are safe
        return msgspec.convert(written, kind)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ConfigError(f"{shown}: cannot be read as YAML: {e}") from e
    except msgspec.ValidationError as e:
        raise ConfigError(f"{shown}: {e}") from e


def _check(model: Model, models: Mapping[str, Model], sources: Mapping[str, Source]) -> None:
    """Raises ConfigError when what a model's YAML says doesn't fit together."""
    at = f"{model.layer}/{model.name}.yml"
    types = model.types
    _check_columns(at, model.columns)
    _require_columns(f"{at}: grain", model.grain, types)
    if not model.grain:
        raise ConfigError(f"{at}: grain: names no column; what is a row unique by?")
    if model.partition is not None and types.get(model.partition) != "DATE":
        raise ConfigError(f"{at}: partition: {model.partition} is not a column of type DATE")
    for test in model.tests:
        if test.freshness:
            _require_columns(f"{at}: tests.freshness.column", [test.freshness.column], types)
    for column in model.columns:
        _check_relationships(f"{at}: columns.{column.name}.tests", column, models)
    for name in model.unit_test.given.keys() - set(model.reads):
        raise ConfigError(f"{at}: unit_test.given: {name} is not read by {model.name}.sql")
    _check_build(at, model, models, sources)


def _check_build(
    at: str, model: Model, models: Mapping[str, Model], sources: Mapping[str, Source]
) -> None:
    if (model.build == "merge") != (model.merge is not None):
        raise ConfigError(f"{at}: merge: goes with `build: merge`, and only with it")
    if model.merge:
        source = sources.get(model.merge.source)
        if source is None or source.name not in model.reads:
            raise ConfigError(
                f"{at}: merge.source: {model.merge.source} is no source that {model.name}.sql reads"
            )
        _require_columns(f"{at}: merge.back", model.merge.back, source.types)
        _require_columns(f"{at}: merge.back", model.merge.back.values(), model.types)
        _require_columns(f"{at}: merge.keys", model.merge.keys, source.types)
        _require_columns(f"{at}: merge.keys", model.merge.keys, model.types)
        if model.merge.days_apart_max and not model.merge.keys:
            raise ConfigError(f"{at}: merge.days_apart_max: says how far `keys` reach; give these")
    if unknown := model.reach.keys() - set(model.reads if model.build == "days" else ()):
        raise ConfigError(
            f"{at}: reach: {min(unknown)} is no table that {model.name}.sql reads by days"
        )
    if model.last_days is not None and (model.build != "whole" or model.last_days < 0):
        raise ConfigError(f"{at}: last_days: wanted a number from 0 on, with `build: whole`")
    if model.build == "days":
        if model.partition is None:
            raise ConfigError(f"{at}: partition: must be given with `build: days`")
        for name in model.reads:
            if name not in models or models[name].partition is None:
                raise ConfigError(
                    f"{at}: build: days: {model.name}.sql reads {name}, which has no days;"
                    " wanted `build: whole`"
                )


def _check_columns(at: str, columns: Collection[Column]) -> None:
    seen = set()
    for column in columns:
        if not _NAME.fullmatch(column.name):
            raise ConfigError(f"{at}: columns: {column.name!r} is not a name in snake_case")
        if column.name in seen:
            raise ConfigError(f"{at}: columns.{column.name}: is there twice")
        seen.add(column.name)
        if not _TYPE.fullmatch(column.type):
            raise ConfigError(
                f"{at}: columns.{column.name}.type: {column.type} is not one of VARCHAR, BIGINT,"
                " INTEGER, DOUBLE, BOOLEAN, DATE, TIMESTAMP, DECIMAL(p,s)"
            )


def _check_relationships(at: str, column: Column, models: Mapping[str, Model]) -> None:
    for test in column.tests:
        if not isinstance(test, ValueTest):
            continue
        if (test.accepted_values is None) == (test.relationships is None):
            raise ConfigError(f"{at}: wanted accepted_values or relationships, one in each item")
        if test.relationships:
            there = models.get(test.relationships.to)
            if there is None or test.relationships.column not in there.types:
                raise ConfigError(
                    f"{at}.relationships: there is no {test.relationships.to}"
                    f".{test.relationships.column}"
                )


def _require_columns(at: str, names: Collection[str], types: Mapping[str, str]) -> None:
    for name in names:
        if name not in types:
            raise ConfigError(f"{at}: {name} is not a column; there are {', '.join(types)}")
