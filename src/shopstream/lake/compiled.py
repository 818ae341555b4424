"""The models and sources as Athena runs them: text in Trino's words, nothing left to translate.

A Lambda function has neither sqlglot nor the models' files: `encode(compile_lake())` is put beside
this module when it is packaged. Elsewhere the same is made of the models when it is asked for.

What a model or a test reads it names as the model's file does (`bronze_clicks`, `silver_orders`):
whoever runs it says before, in a WITH, what these names stand for.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from shopstream.lake.model import Model, Source

FILE = "compiled.json"
TALLY = "bronze_tally"
"""What the lander counts locally is a table of its own here, made of what has landed."""
TALLIED = ("clicks", "orders", "carts", "stock", "quarantine")
LANDED, WHERE, STAGED = "{landed}", "{where}", "{staged}"
"""Places in the texts: a table of landed lines, which parts of it, the table of staged rows."""
CompiledBuild: TypeAlias = Literal["merge", "days", "whole", "arrivals"]
"""As models are built; `arrivals` is by day of arrival, which only the tally is."""
_UNITS = {"orders": "CASE WHEN by_line THEN CARDINALITY(lines) ELSE 1 END", "quarantine": "units"}


class CompiledTest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A test of staged rows. `count` is a query of one row: how many rows fail, in `failing`; of a
    freshness test also `landed` and `own`, the newest of each. `fails` is the condition of a test
    of single rows; all these are counted together. `example` gives the first failing row.
    """

    test: str
    column: str
    wanted: str
    fails: str = ""
    count: str = ""
    example: str = ""


class CompiledModel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A table. `types` are Trino's, `hive` the same in the words of Athena's DDL; `select` gives
    its columns. `drop_percent_max` below 0: the number of its rows is not tested.
    """

    name: str
    layer: str
    description: str
    grain: list[str]
    partition: str = ""
    build: CompiledBuild
    reads: list[str]
    source: str = ""
    back: dict[str, str] = {}
    keys: list[str] = []
    days_apart_max: int = 0
    reach: dict[str, int] = {}
    types: dict[str, str]
    hive: dict[str, str]
    comments: dict[str, str]
    select: str
    tests: list[CompiledTest] = []
    looks_into: list[str] = []
    drop_percent_max: int = -1
    fingerprint: str


class CompiledSource(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the first models read: `select` makes it of `{landed}`, where `{where}`. `at` is its
    column of event time.
    """

    name: str
    landed: str
    at: str
    types: dict[str, str]
    select: str


class CompiledLake(Struct, frozen=True, kw_only=True):
    """All tables by name, each after those that it reads, and what is read first."""

    models: dict[str, CompiledModel]
    sources: dict[str, CompiledSource]


def load_compiled() -> CompiledLake:
    """The lake as it was packaged, else as its files are now."""
    packed = files("shopstream.lake") / FILE
    if packed.is_file():
        return msgspec.json.decode(packed.read_bytes(), type=CompiledLake)
    return compile_lake()


def encode(lake: CompiledLake) -> bytes:
    """What `load_compiled` reads; the same bytes for the same lake."""
    return msgspec.json.encode(lake)


def compile_lake() -> CompiledLake:
    """Raises ConfigError when a model's files are wrong."""
    from shopstream.lake.model import load_models, load_sources

    sources = load_sources()
    found = {TALLY: _tally(sources[TALLY])}
    for model in load_models().values():
        found[model.name] = _model(model, sources)
    compiled = {s.name: _source(s) for s in sources.values() if not s.tally}
    return CompiledLake(models=found, sources=compiled)


def landed_table(source: Source) -> str:
    """The table of the catalog that holds a source's lines: one for each topic."""
    return f"archive_{source.archive}" if source.archive else f"bronze_{source.topic}"


def _model(model: Model, sources: dict[str, Source]) -> CompiledModel:
    from shopstream.lake.audit_sql import compile_tests
    from shopstream.lake.dialect import compile_model, hive_type, type_of
    from shopstream.lake.fingerprint import fingerprint
    from shopstream.lake.quality import relations_of

    select = compile_model(model, "trino", str)
    lines = select.splitlines()
    counts = [test.row_count for test in model.tests if test.row_count]
    return CompiledModel(
        name=model.name,
        layer=model.layer,
        description=" ".join(model.description.split()),
        grain=model.grain,
        partition=model.partition or "",
        build=model.build,
        reads=list(model.reads),
        source=model.merge.source if model.merge else "",
        back=model.merge.back if model.merge else {},
        keys=model.merge.keys if model.merge else [],
        days_apart_max=model.merge.days_apart_max if model.merge else 0,
        reach=model.reach,
        types={name: type_of(kind, "trino") for name, kind in model.types.items()},
        hive={name: hive_type(kind) for name, kind in model.types.items()},
        comments={c.name: " ".join(c.description.split()) for c in model.columns},
        select="\n".join(line for line in lines if not line.startswith("--")),
        tests=compile_tests(model, sources),
        looks_into=sorted(relations_of(model)),
        drop_percent_max=counts[0].drop_percent_max if counts else -1,
        fingerprint=fingerprint(model, sources),
    )


def _source(source: Source) -> CompiledSource:
    from shopstream.lake.dialect import compile_source, quoted, type_of

    types = {name: type_of(kind, "trino") for name, kind in source.raw.items()}
    typed = ", ".join(
        f"{_typed(quoted(name, 'trino'), kind)} AS {quoted(name, 'trino')}"
        for name, kind in types.items()
    )
    read = f"(SELECT {typed} FROM {LANDED} WHERE {WHERE}) AS lines_read"
    return CompiledSource(
        name=source.name,
        landed=landed_table(source),
        at="made_at" if source.archive else "timestamp",
        types={name: type_of(kind, "trino") for name, kind in source.types.items()},
        select=compile_source(source, "trino", read),
    )


def _typed(column: str, kind: str) -> str:
    """Text with a zone is no timestamp to the reader of JSON."""
    if not kind.startswith("TIMESTAMP"):
        return column
    return f"CAST(from_iso8601_timestamp_nanos({column}) AT TIME ZONE 'UTC' AS {kind})"


def _tally(source: Source) -> CompiledModel:
    """Counts what has landed by day of arrival, as the lander does while it lands."""
    from shopstream.lake.dialect import hive_type, type_of

    parts = [
        f"SELECT dt, {'topic' if topic == 'quarantine' else repr(topic)} AS topic, source,"
        f" {'reason' if topic == 'quarantine' else repr('')} AS reason,"
        f" {_UNITS.get(topic, '1')} AS units FROM {LANDED[:-1]}:bronze_{topic}}} WHERE {WHERE}"
        for topic in TALLIED
    ]
    select = (
        "SELECT CAST(dt AS DATE) AS day, topic, source, reason,"
        " CAST(SUM(units) AS BIGINT) AS events\nFROM (\n"
        + "\nUNION ALL\n".join(parts)
        + "\n) AS arrived\nGROUP BY dt, topic, source, reason"
    )
    return CompiledModel(
        name=TALLY,
        layer="bronze",
        description=source.description,
        grain=["day", "topic", "source", "reason"],
        partition="day",
        build="arrivals",
        reads=[],
        types={name: type_of(kind, "trino") for name, kind in source.types.items()},
        hive={name: hive_type(kind) for name, kind in source.types.items()},
        comments={c.name: " ".join(c.description.split()) for c in source.columns},
        select=select,
        fingerprint=f"{hash_of(select)}",
    )


def hash_of(text: str) -> str:
    """A short name for a text."""
    from hashlib import blake2b

    return blake2b(text.encode(), digest_size=8).hexdigest()
