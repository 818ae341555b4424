"""The unit tests of the models as data, for any engine, and how to run one on DuckDB.

A model's YAML says `given` (rows of what it reads) and `expect` (all its rows). `cases()` yields
them typed; an engine makes a table of each relation, runs the SQL and hands its rows to `compare`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import duckdb

from shopstream.lake.model import Model, load_models, load_sources

Row: TypeAlias = Mapping[str, Any]


class Relation(NamedTuple):
    """A table to make: its columns in order, each with its DuckDB type, and rows in that order.

    Values are Python's: str, int, float, bool, date, Decimal, datetime (UTC, without a zone), None.
    """

    types: dict[str, str]
    rows: list[tuple[Any, ...]]


class Case(NamedTuple):
    """One unit test: `given` has a relation for all that the model reads, named or not."""

    model: Model
    given: dict[str, Relation]
    expect: list[dict[str, Any]]


def cases(models: Mapping[str, Model] | None = None) -> Iterator[Case]:
    """The unit test of each model, in the order of the models."""
    models = load_models() if models is None else models
    types = {name: source.types for name, source in load_sources().items()}
    types |= {name: model.types for name, model in models.items()}
    for model in models.values():
        given = {
            name: relation(types[name], model.unit_test.given.get(name, ())) for name in model.reads
        }
        expect = [
            {name: typed(value, model.types[name]) for name, value in row.items()}
            for row in model.unit_test.expect
        ]
        yield Case(model, given, expect)


def relation(types: dict[str, str], rows: Iterable[Row]) -> Relation:
    """A relation of rows that may leave out columns; raises ValueError for one that isn't there."""
    found = []
    for row in rows:
        if unknown := row.keys() - types.keys():
            raise ValueError(f"there is no column {min(unknown)}; there are {', '.join(types)}")
        found.append(tuple(typed(row.get(name), kind) for name, kind in types.items()))
    return Relation(types, found)


def typed(value: Any, kind: str) -> Any:
    """A value as YAML reads it, as Python's type for this DuckDB type."""
    if value is None:
        return None
    if kind == "DATE":
        return value if type(value) is date else date.fromisoformat(value)
    if kind == "TIMESTAMP":
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
    if kind.startswith("DECIMAL"):
        return Decimal(str(value))
    if kind == "DOUBLE":
        return float(value)
    wanted = {"VARCHAR": str, "BOOLEAN": bool}.get(kind, int)
    if type(value) is not wanted:
        raise ValueError(f"{value!r} is not of type {kind}; does it need quotes?")
    return value


def compare(case: Case, rows: Iterable[Row]) -> None:
    """Asserts that `rows` are the expected ones: all of them, in any order, by the columns that
    each expected row names. Ratios may differ in the last digits.
    """
    left = list(rows)
    for wanted in case.expect:
        fits = [row for row in left if all(_equal(row[k], v) for k, v in wanted.items())]
        shown = "\n  ".join(str({k: row[k] for k in wanted}) for row in left)
        assert fits, f"{case.model.name}: wanted {wanted}, left are\n  {shown}"
        left.remove(fits[0])
    assert not left, f"{case.model.name}: not expected: {left}"


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, float):
        return abs(found - wanted) <= 1e-9 * max(1.0, abs(wanted))
    return bool(found == wanted)


def make(con: duckdb.DuckDBPyConnection, name: str, made: Relation) -> None:
    """Make the relation a table of that name."""
    columns = ", ".join(f'"{column}" {kind}' for column, kind in made.types.items())
    con.execute(f'CREATE OR REPLACE TABLE "{name}" ({columns})')
    if made.rows:
        row = f"({', '.join('?' * len(made.types))})"
        rows = ", ".join([row] * len(made.rows))
        con.execute(f'INSERT INTO "{name}" VALUES {rows}', [*chain(*made.rows)])


def rows_on_duckdb(case: Case) -> list[dict[str, Any]]:
    """What the model's SQL makes of the given relations."""
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("SET TimeZone = 'UTC'")
        for name, made in case.given.items():
            make(con, name, made)
        return dicts(con.execute(case.model.sql))


def dicts(found: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
