"""How long stock lasts, in shops that have sold for long, for a little while, and not at all."""

from typing import Any

from tests.models.unit_tests import Case, Row, relation, rows_on_duckdb

from shopstream.lake.model import load_models

MODELS = load_models()
MODEL = MODELS["gold_inventory_health"]
PRODUCT = {
    "product_id": "p", "stock_on_hand": 10, "reorder_level": 1, "discontinued": False,
    "timestamp": "2026-11-20T10:00:00Z",
}  # fmt: skip


def health(*sales: Row) -> dict[str, Any]:
    """The row of ten pieces counted on 20 November, with these sales."""
    given = {"silver_products": [PRODUCT], "gold_product_performance": sales}
    tables = {name: relation(MODELS[name].types, rows) for name, rows in given.items()}
    (row,) = rows_on_duckdb(Case(MODEL, tables, []))
    return row


def test_a_young_shop_sells_at_the_pace_of_the_days_that_it_has() -> None:
    row = health({"day": "2026-11-17", "product_id": "p", "units": 5})
    assert (row["demand_28d"], row["demand_days"], row["days_of_cover"]) == (5, 4, 8.0)


def test_days_begin_with_whatever_was_first_sold_in_the_shop() -> None:
    row = health(
        {"day": "2026-11-01", "product_id": "other", "units": 1},
        {"day": "2026-11-20", "product_id": "p", "units": 5},
    )
    assert (row["demand_days"], row["days_of_cover"]) == (20, 40.0)


def test_no_more_than_28_days_count() -> None:
    row = health(
        {"day": "2026-10-23", "product_id": "p", "units": 100},
        {"day": "2026-10-24", "product_id": "p", "units": 5},
    )
    assert (row["demand_28d"], row["demand_7d"], row["demand_days"]) == (5, 0, 28)
    assert row["days_of_cover"] == 56.0


def test_without_sales_nobody_knows() -> None:
    row = health()
    assert (row["demand_28d"], row["demand_days"], row["days_of_cover"]) == (0, 0, None)


def test_days_go_up_to_the_latest_that_anything_happened_on() -> None:
    assert str(health()["as_of"]) == "2026-11-20"
    later = health({"day": "2026-12-31", "product_id": "p", "units": 1})
    assert str(later["as_of"]) == "2026-12-31"


def test_an_event_of_a_clock_gone_wrong_makes_no_old_shop_of_a_young_one() -> None:
    row = health(
        {"day": "0001-01-01", "product_id": "other", "units": 1},
        {"day": "2026-11-19", "product_id": "p", "units": 12},
    )
    assert (row["demand_days"], row["days_of_cover"]) == (2, 10 * 2 / 12)
