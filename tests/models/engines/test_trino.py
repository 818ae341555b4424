"""Every model on a real Trino server, which reads bronze as Athena does."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.models.engines.lakes import MODELS, NAMES, SOURCES, Lake, compare
from tests.models.engines.trino import Trino
from tests.models.unit_tests import Case, Relation, cases, typed
from tests.models.unit_tests import compare as compare_rows

from shopstream.lake.dialect import compile_model, quoted, type_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.model.name)
def test_a_models_unit_test_holds_on_trino(trino: Trino, case: Case) -> None:
    schema = f"memory.case_{case.model.name}"
    trino.run(f"CREATE SCHEMA {schema}")
    for name, given in case.given.items():
        trino.run(f"CREATE TABLE {schema}.{name} AS {rows_of(given)}")
    rows = trino.run(compile_model(case.model, "trino", lambda name: f"{schema}.{name}"))
    types = case.model.types
    compare_rows(case, [{k: typed(v, types[k]) for k, v in row.items()} for row in rows])


def rows_of(given: Relation) -> str:
    """A query that gives these rows."""
    columns = ", ".join(quoted(name, "trino") for name in given.types)
    kinds = [type_of(kind, "trino") for kind in given.types.values()]
    rows = [
        ", ".join(
            f"CAST({literal(value)} AS {kind})" for value, kind in zip(row, kinds, strict=True)
        )
        for row in given.rows or [(None,) * len(kinds)]
    ]
    keep = "TRUE" if given.rows else "FALSE"
    return (
        f"SELECT * FROM (VALUES {', '.join(f'({row})' for row in rows)}) t ({columns}) WHERE {keep}"
    )


def literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(value)
        case Decimal() | float() | datetime() | date():
            return f"'{value}'"
    return "'" + str(value).replace("'", "''") + "'"


@pytest.mark.parametrize("name", NAMES)
def test_trino_makes_every_row_that_duckdb_makes(
    trino: Trino, lake_named: Callable[[str], Lake], name: str
) -> None:
    lake = lake_named(name)
    for catalog in ("hive", "iceberg"):
        trino.run(f"CREATE SCHEMA {catalog}.{name}")
    for source in SOURCES.values():
        trino.make_source(name, source, lake)
    for model in MODELS.values():
        made = compile_model(model, "trino", lambda table: f"iceberg.{name}.{table}")
        trino.run(f"CREATE TABLE iceberg.{name}.{model.name} AS {made}")
        compare(lake, model, trino.files(name, model.name))
