"""The lift of offers: Newcombe's interval against published figures and a plain computation."""

from collections.abc import Iterator
from math import sqrt
from typing import Any

import pytest
from tests.models.unit_tests import Case, Row, relation, rows_on_duckdb

from shopstream.lake.model import load_models

MODELS = load_models()
MODEL = MODELS["gold_offer_performance"]
MADE, BOUGHT, ENDS = "2026-11-20T10:00:00", "2026-11-20T10:30:00", "2026-11-20T11:00:00"
Z = 1.959963984540054


def offers(users: int, *, held_out: bool) -> Iterator[Row]:
    for n in range(users):
        yield {
            "offer_id": f"{held_out}{n}", "user_id": f"{held_out}{n}", "rule": "r", "version": 1,
            "made_at": MADE, "expires_at": ENDS, "held_out": held_out, "delivered": not held_out,
            "historical": False,
        }  # fmt: skip


def purchases(users: int, *, held_out: bool) -> Iterator[Row]:
    for n in range(users):
        yield {
            "user_id": f"{held_out}{n}", "event_id": "a", "event_type": "purchase",
            "product_id": "p", "timestamp": BOUGHT,
        }  # fmt: skip


def performance(buyers: int, users: int, held_out_buyers: int, held_out: int) -> dict[str, Any]:
    """The model's one row about a rule that this many users met."""
    given: dict[str, list[Row]] = {
        "silver_offers": [*offers(users, held_out=False), *offers(held_out, held_out=True)],
        "silver_clicks": [
            *purchases(buyers, held_out=False),
            *purchases(held_out_buyers, held_out=True),
        ],
        "silver_order_lines": [],
    }
    tables = {name: relation(MODELS[name].types, rows) for name, rows in given.items()}
    (row,) = rows_on_duckdb(Case(MODEL, tables, []))
    return row


def wilson(x: int, n: int) -> tuple[float, float]:
    p = x / n
    centre, half = p + Z * Z / (2 * n), Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return (centre - half) / (1 + Z * Z / n), (centre + half) / (1 + Z * Z / n)


# Newcombe 1998, table II: his examples, method 10.
@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 20), 0.6791, 1.0000),
        ((10, 10, 0, 10), 0.6075, 1.0000),
    ],
)
def test_the_interval_is_the_published_one(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    row = performance(*counts)
    assert (round(row["lift_low"], 4), round(row["lift_high"], 4)) == (low, high)


@pytest.mark.parametrize("counts", [(1, 1, 0, 1), (0, 5, 0, 7), (3, 40, 5, 6), (6, 6, 6, 6)])
def test_the_interval_is_that_of_a_plain_computation(counts: tuple[int, int, int, int]) -> None:
    x1, n1, x2, n2 = counts
    row = performance(*counts)
    lift = x1 / n1 - x2 / n2
    (low1, high1), (low2, high2) = wilson(x1, n1), wilson(x2, n2)
    below = sqrt((x1 / n1 - low1) ** 2 + (high2 - x2 / n2) ** 2)
    above = sqrt((high1 - x1 / n1) ** 2 + (x2 / n2 - low2) ** 2)
    found = [row[name] for name in ("conversion_rate", "lift", "lift_low", "lift_high")]
    assert found == pytest.approx([x1 / n1, lift, lift - below, lift + above], abs=1e-9)


def test_without_a_control_group_there_is_no_lift() -> None:
    row = performance(1, 2, 0, 0)
    assert (row["conversion_rate"], row["held_out_conversion_rate"]) == (0.5, None)
    assert row["lift"] is row["lift_low"] is row["lift_high"] is None
