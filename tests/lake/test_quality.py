"""What the audit finds in rows that a build has staged, on plain relations of DuckDB."""

from typing import Any

import duckdb
import pytest
from msgspec import structs

from shopstream.errors import ConfigError
from shopstream.lake.model import (
    Column,
    Freshness,
    Merge,
    Model,
    Relationship,
    RowCount,
    TableTest,
    UnitTest,
    ValueTest,
)
from shopstream.lake.quality import TestFailure, audit, relations_of, shown

SALES = [
    Column(name="day", type="DATE", description="when"),
    Column(name="product_id", type="VARCHAR", description="what"),
    Column(name="units", type="BIGINT", description="how many"),
]


def model(*columns: Column, grain: list[str] | None = None, **rest: Any) -> Model:
    return Model(
        **{
            "name": "gold_sales",
            "layer": "gold",
            "description": "Sales.",
            "grain": grain or ["day", "product_id"],
            "build": "whole",
            "columns": list(columns) or SALES,
            "unit_test": UnitTest(given={}, expect=[]),
            "sql": "",
            "reads": ("silver_order_lines",),
            **rest,
        }
    )


def asked(name: str, *tests: Any, type: str = "VARCHAR") -> Column:
    return Column(name=name, type=type, description="", tests=list(tests))


def relation(rows: str) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(
        f"CREATE TABLE staged AS SELECT * FROM (VALUES {rows}) AS t(day, product_id, units)"
    )
    return con


def found(con: duckdb.DuckDBPyConnection, model: Model, **rest: Any) -> list[TestFailure]:
    return audit(con, model, "staged", rest.pop("tables", {}), **rest)


def test_good_rows_pass() -> None:
    con = relation("(DATE '2026-01-01', 'p1', 1), (DATE '2026-01-01', 'p2', 2)")
    assert found(con, model(*SALES, partition="day")) == []


def test_an_empty_table_passes() -> None:
    con = relation("(DATE '2026-01-01', 'p1', 1)")
    con.execute("DELETE FROM staged")
    sales = model(asked("day", "not_null"), asked("product_id", "unique"), SALES[2])
    assert found(con, sales) == []


def test_a_null_is_found_with_its_row() -> None:
    con = relation("(DATE '2026-01-01', 'p1', 1), (DATE '2026-01-01', 'p2', NULL)")
    failures = found(con, model(*SALES[:2], asked("units", "not_null", type="BIGINT")))
    assert failures == [
        TestFailure(
            model="gold_sales",
            test="not_null",
            column="units",
            failing_rows=1,
            example={"day": "'2026-01-01'", "product_id": "'p2'", "units": "NULL"},
            message="1 row is NULL",
        )
    ]
    assert str(failures[0]) == (
        "gold_sales.units: not_null: 1 row is NULL;"
        " e.g. day='2026-01-01', product_id='p2', units=NULL"
    )


def test_a_row_without_a_day_is_found_without_asking() -> None:
    con = relation("(DATE '2026-01-01', 'p1', 1), (NULL, 'p2', 2)")
    (failure,) = found(con, model(*SALES, partition="day"))
    assert (failure.test, failure.column, failure.failing_rows) == ("not_null", "day", 1)


def test_the_grain_is_unique_without_asking() -> None:
    con = relation(
        "(DATE '2026-01-01', 'p1', 1), (DATE '2026-01-01', 'p1', 2),"
        "(DATE '2026-01-01', 'p1', 3), (DATE '2026-01-02', 'p1', 4)"
    )
    (failure,) = found(con, model())
    assert (failure.test, failure.column) == ("unique", "day, product_id")
    assert failure.failing_rows == 2
    assert failure.example == {"day": "'2026-01-01'", "product_id": "'p1'"}


def test_nulls_are_equal_in_a_grain_and_pass_in_a_unique_column() -> None:
    con = relation("(DATE '2026-01-01', NULL, 1), (DATE '2026-01-01', NULL, 2)")
    assert [failure.column for failure in found(con, model())] == ["day, product_id"]
    by_units = model(SALES[0], asked("product_id", "unique"), SALES[2], grain=["units"])
    assert found(con, by_units) == []


def test_a_unique_column_is_unique() -> None:
    con = relation("(DATE '2026-01-01', 'p1', 1), (DATE '2026-01-02', 'p1', 2)")
    (failure,) = found(con, model(SALES[0], asked("product_id", "unique"), SALES[2]))
    assert (failure.test, failure.column, failure.failing_rows) == ("unique", "product_id", 1)


@pytest.mark.parametrize(
    ("values", "failing"), [(["p1", "it's"], 1), (["p1", "it's", "p2"], 0), ([], 3)]
)
def test_values_other_than_the_accepted_ones_are_found(values: list[str], failing: int) -> None:
    con = relation(
        "(DATE '2026-01-01', 'p1', 1), (DATE '2026-01-02', 'it''s', 2),"
        "(DATE '2026-01-03', 'p2', 3), (DATE '2026-01-04', NULL, 4)"
    )
    test = ValueTest(accepted_values=list(values))
    failures = found(con, model(SALES[0], asked("product_id", test), SALES[2]))
    assert sum(failure.failing_rows for failure in failures) == failing


def test_accepted_numbers_and_truths() -> None:
    con = relation("(DATE '2026-01-01', TRUE, 1), (DATE '2026-01-02', FALSE, 7)")
    sales = model(
        SALES[0],
        asked("product_id", ValueTest(accepted_values=[True]), type="BOOLEAN"),
        asked("units", ValueTest(accepted_values=[1, 2]), type="BIGINT"),
    )
    assert [(f.column, f.failing_rows) for f in found(con, sales)] == [
        ("product_id", 1),
        ("units", 1),
    ]


def test_values_that_the_other_table_lacks_are_found() -> None:
    con = relation(
        "(DATE '2026-01-01', 'p1', 1), (DATE '2026-01-02', 'p9', 2), (DATE '2026-01-03', NULL, 2)"
    )
    con.execute("CREATE TABLE bound AS SELECT unnest(['p1', 'p2', NULL]) AS product_id")
    there = Relationship(to="silver_products", column="product_id")
    sales = model(SALES[0], asked("product_id", ValueTest(relationships=there)), SALES[2])
    assert relations_of(sales) == {"silver_products"}
    (failure,) = found(con, sales, tables={"silver_products": "bound"})
    assert (failure.test, failure.column, failure.failing_rows) == (
        "relationships",
        "product_id",
        1,
    )
    assert failure.example["product_id"] == "'p9'"
    assert failure.message == "1 row has a value that is not in silver_products.product_id"


def test_a_table_that_is_not_built_yet_is_named() -> None:
    there = Relationship(to="silver_products", column="product_id")
    sales = model(SALES[0], asked("product_id", ValueTest(relationships=there)), SALES[2])
    with pytest.raises(ConfigError, match="silver_products is not built yet"):
        found(relation("(DATE '2026-01-01', 'p1', 1)"), sales)


def fresh(within: str) -> Model:
    return model(tests=[TableTest(freshness=Freshness(column="day", within=within))])


def test_old_rows_are_fresh_when_nothing_newer_landed() -> None:
    con = relation("(DATE '2010-12-01', 'p1', 1)")
    con.execute("CREATE VIEW lines AS SELECT DATE '2010-12-02' AS day")
    assert found(con, fresh("1d"), tables={"silver_order_lines": "lines"}) == []


def test_rows_that_lag_behind_what_landed_are_not_fresh() -> None:
    con = relation("(DATE '2010-12-01', 'p1', 1)")
    con.execute("CREATE VIEW lines AS SELECT TIMESTAMP '2010-12-02 00:00:01' AS day")
    (failure,) = found(con, fresh("1d"), tables={"silver_order_lines": "lines"})
    assert (failure.test, failure.column) == ("freshness", "day")
    assert "2010-12-01, more than 1d before what landed: 2010-12-02" in failure.message


def test_no_rows_are_not_fresh_unless_nothing_landed() -> None:
    con = relation("(DATE '2010-12-01', 'p1', 1)")
    con.execute("DELETE FROM staged; CREATE TABLE lines (day DATE)")
    tables = {"silver_order_lines": "lines"}
    assert found(con, fresh("1d"), tables=tables) == []
    con.execute("INSERT INTO lines VALUES ('2010-12-02')")
    assert [failure.test for failure in found(con, fresh("1d"), tables=tables)] == ["freshness"]


def test_a_newer_copy_of_a_row_that_is_there_is_not_lost() -> None:
    con = relation("(DATE '2010-12-01', 'p1', 1)")
    con.execute("CREATE TABLE lines (day DATE, product_id VARCHAR)")
    con.execute("INSERT INTO lines VALUES ('2010-12-01', 'p1'), ('2010-12-05', 'p1')")
    merge = Merge(source="silver_order_lines", keys=["product_id"], days_apart_max=7)
    table, tables = structs.replace(fresh("1d"), merge=merge), {"silver_order_lines": "lines"}
    assert found(con, table, tables=tables) == []
    con.execute("INSERT INTO lines VALUES ('2010-12-02', 'p2'), ('2010-12-03', 'p3')")
    (failure,) = found(con, table, tables=tables)
    assert "more than 1d before what landed: 2010-12-03" in failure.message
    con.execute("DELETE FROM staged")
    assert [failure.test for failure in found(con, table, tables=tables)] == ["freshness"]


def test_freshness_of_a_column_that_nothing_else_has_is_a_mistake() -> None:
    con = relation("(DATE '2010-12-01', 'p1', 1)")
    con.execute("CREATE VIEW lines AS SELECT 1 AS other")
    with pytest.raises(ConfigError, match="has a column day"):
        found(con, fresh("1d"), tables={"silver_order_lines": "lines"})


@pytest.mark.parametrize(
    ("published", "replaced", "fails"),
    [
        (None, 0, False),
        (0, 0, False),
        (4, 4, False),  # 2 of 4 left: exactly half
        (5, 5, True),  # 2 of 5 left
        (5, 4, False),  # 1 not replaced + 2
        (1, 1, False),  # more than before
    ],
)
def test_a_table_that_loses_most_of_its_rows_is_held_back(
    published: int | None, replaced: int, fails: bool
) -> None:
    con = relation("(DATE '2026-01-01', 'p1', 1), (DATE '2026-01-02', 'p1', 2)")
    sales = model(tests=[TableTest(row_count=RowCount(drop_percent_max=50))])
    failures = found(con, sales, published_rows=published, replaced_rows=replaced)
    assert [failure.test for failure in failures] == ["row_count"] * fails


def test_an_example_shows_nothing_hidden_and_no_more_than_needed() -> None:
    assert shown("a\x1b[31m\n\u202eb") == r"'a\x1b[31m\n\u202eb'"
    assert shown("x" * 100) == "'" + "x" * 80 + "…'"
    assert shown(None) == "NULL"


def test_names_with_quotes_are_names() -> None:
    con = relation("(DATE '2026-01-01', 'p1', 1)")
    con.execute('ALTER TABLE staged RENAME TO "sta""ged"')
    assert audit(con, model(asked("day", "not_null"), *SALES[1:]), 'sta"ged', {}) == []
