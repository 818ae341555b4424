"""What is asked of gold by Athena's named queries and by QuickSight is there."""

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
import sqlglot
from tests.infra.terraform import ROOT

from shopstream.lake.model import NAMESPACE, load_models

QUERIES = sorted((ROOT / "modules" / "athena" / "queries").glob("*.sql"))
DASHBOARDS = ROOT / "modules" / "dashboards" / "tables.json"
LANDED = ROOT / "modules" / "catalog" / "catalog.json"
KNOWN = (
    "SELECT category, SUM(amount) AS total_revenue FROM "
    f'"{NAMESPACE}"."gold_daily_sales" GROUP BY category ORDER BY total_revenue DESC'
)
QUICKSIGHT = {
    "BIGINT": "INTEGER",
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATETIME",
    "DOUBLE": "DECIMAL",
} | {
    "INTEGER": "INTEGER",
    "TIMESTAMP": "DATETIME",
    "VARCHAR": "STRING",
}


@pytest.fixture(scope="module")
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    """Every table, empty, with the columns that it is declared with."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE SCHEMA {NAMESPACE}")
        for name, model in load_models().items():
            columns = ", ".join(f'"{column}" {kind}' for column, kind in model.types.items())
            connection.execute(f"CREATE TABLE {NAMESPACE}.{name} ({columns})")
        for name, table in json.loads(LANDED.read_text("utf-8")).items():
            names = [*(one["name"] for one in table["columns"]), *table["partitions"]]
            columns = ", ".join(f'"{column}" VARCHAR' for column in names)
            connection.execute(f"CREATE TABLE {NAMESPACE}.{name} ({columns})")
        yield connection


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.stem)
def test_a_named_query_can_be_asked(query: Any, lake: duckdb.DuckDBPyConnection) -> None:
    first, _, sql = query.read_text("utf-8").partition("\n")
    assert first.startswith("-- ")
    assert first.endswith(".")
    asked = sql.replace("${database}", NAMESPACE)
    (translated,) = sqlglot.transpile(asked, read="trino", write="duckdb")
    assert lake.execute(translated).fetchall() == []


def test_revenue_by_category_is_the_known_query() -> None:
    (found,) = [query for query in QUERIES if query.stem == "revenue_by_category"]
    sql = found.read_text("utf-8").partition("\n")[2]
    assert sql.strip().replace("${database}", NAMESPACE) == KNOWN


def test_data_sets_have_the_columns_of_their_tables() -> None:
    models = load_models()
    for table, columns in json.loads(DASHBOARDS.read_text("utf-8")).items():
        assert columns == [
            {"name": name, "type": QUICKSIGHT.get(kind, "DECIMAL")}
            for name, kind in models[table].types.items()
        ], table
