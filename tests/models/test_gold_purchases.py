"""What counts as a purchase and whose, of clicks and orders whose few ids contradict each other."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import product
from random import Random
from typing import Any

import duckdb
import pytest
from tests.models.unit_tests import Case, Row, dicts, make, relation, rows_on_duckdb

from shopstream.lake.model import load_models

MODELS = load_models()
MODEL = MODELS["gold_product_performance"]
FIRST = date(2026, 11, 20)
NOON = "2026-11-20T12:00:00"
DAYS = [FIRST + timedelta(days=n) for n in range(6)]
FATES = [
    [("placed", "sold"), ("paid", "none")],
    [("paid", "sold")],
    [("refunded", "refunded")],
    [("paid", "sold"), ("cancelled", "refunded")],
]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as con:
        yield con


def clicks_of(random: Random) -> list[Row]:
    return [
        {
            "day": random.choice(DAYS), "user_id": random.choice("uvw"), "event_id": f"e{n}",
            "event_type": random.choice(["purchase", "purchase", "view"]),
            "product_id": random.choice(["p", "q", None]),
            "order_id": random.choice(["a", "b", "c", None]),
            "timestamp": NOON, "price": "10", "currency": "EUR",
        }
        for n in range(40)
    ]  # fmt: skip


def lines_of(random: Random) -> list[Row]:
    """Two sources use the same ids; an order has two lines, one customer or none, and a fate."""
    found: list[Row] = []
    for source, order_id in product(["http", "shop"], "abc"):
        customer, day = random.choice(["u", "v", None]), random.randrange(3)
        for n, (status, counts_as) in enumerate(random.choice(FATES)):
            found += (
                {
                    "day": DAYS[day + n], "source": source, "order_id": order_id, "status": status,
                    "line_no": line, "ordinal": line, "customer_id": customer,
                    "product_id": random.choice("pq"), "quantity": 1, "amount": "1",
                    "timestamp": NOON, "currency": "EUR", "counts_as": counts_as,
                }
                for line in (1, 2)
            )  # fmt: skip
    return found


def buyer_of(click: Row, clicks: list[Row], lines: list[Row]) -> str | None:
    """Whose the click is, if it belongs to an order: of orders around it that have its order id and
    product, one is its user's or a guest's, or all are one customer's who didn't click.
    """
    if click["event_type"] != "purchase" or click["order_id"] is None:
        return None
    sales = [line for line in around(click, lines) if line["status"] in ("placed", "paid")]
    customers = {line["customer_id"] for line in sales}
    if customers & {click["user_id"], None}:
        return str(click["user_id"])
    bought = [row for row in around(click, clicks) if row["event_type"] == "purchase"]
    clicked = {row["user_id"] for row in bought}
    return customers.pop() if len(customers) == 1 and not customers & clicked else None


def around(click: Row, rows: list[Row]) -> list[Row]:
    """Those with its order id and product, within a day of it."""
    return [
        row
        for row in rows
        if (row["order_id"], row["product_id"]) == (click["order_id"], click["product_id"])
        and abs(row["day"] - click["day"]) <= timedelta(days=1)
    ]


def performance_of(
    clicks: list[Row], lines: list[Row]
) -> tuple[Counter[tuple[date, str]], Counter[tuple[date, str]]]:
    """Purchases and users by day and product, as one would count by hand."""
    purchases: Counter[tuple[date, str]] = Counter()
    users: set[tuple[date, str, str]] = set()
    for line in lines:
        if line["counts_as"] == "sold":
            purchases[line["day"], line["product_id"]] += 1
            users.add((line["day"], line["product_id"], line["customer_id"]))
    for click in clicks:
        if click["product_id"] is None:
            continue
        buyer = buyer_of(click, clicks, lines)
        bought = click["event_type"] == "purchase" and not buyer
        purchases[click["day"], click["product_id"]] += bought
        users.add((click["day"], click["product_id"], buyer or click["user_id"]))
    return +purchases, Counter((day, sold) for day, sold, user in users if user)


@pytest.mark.parametrize("seed", range(20))
def test_purchases_are_those_that_one_counts_by_hand_whole_and_day_by_day(
    con: duckdb.DuckDBPyConnection, seed: int
) -> None:
    random = Random(seed)
    clicks, lines = clicks_of(random), lines_of(random)
    make(con, "all_clicks", relation(MODELS["silver_clicks"].types, clicks))
    make(con, "all_lines", relation(MODELS["silver_order_lines"].types, lines))
    whole = rows_of(con, DAYS[0], DAYS[-1])
    purchases, users = (
        Counter({(row["day"], row["product_id"]): row[name] for row in whole})
        for name in ("purchases", "users")
    )
    assert (+purchases, users) == performance_of(clicks, lines)
    days = [row for day in DAYS for row in rows_of(con, day, day)]
    assert sorted(map(repr, days)) == sorted(map(repr, whole))


def rows_of(con: duckdb.DuckDBPyConnection, first: date, last: date) -> list[dict[str, Any]]:
    """The rows of these days, as a build makes them: of the days that `reach` says."""
    for name, table in (("silver_clicks", "all_clicks"), ("silver_order_lines", "all_lines")):
        reach = timedelta(days=MODEL.reach.get(name, 0))
        within = f"day BETWEEN '{first - reach}' AND '{last + reach}'"
        con.execute(f"CREATE OR REPLACE VIEW {name} AS FROM {table} WHERE {within}")
    sql = f"SELECT * FROM ({MODEL.sql}) WHERE day BETWEEN '{first}' AND '{last}'"
    return dicts(con.execute(sql))


def sales_of(
    user: str, product: str | None, clicks: list[Row], lines: list[Row]
) -> set[tuple[Any, ...]]:
    """What the user bought of the product (None: of any): orders, those of another name too, and
    other clicks.
    """
    sold = [line for line in lines if line["counts_as"] == "sold"]
    found: set[tuple[Any, ...]] = set()
    for line in sold:
        if line["customer_id"] == user and product in (None, line["product_id"]):
            found.add(sale(line))
    for click in clicks:
        wanted = click["user_id"] == user and product in (None, click["product_id"])
        if click["event_type"] == "purchase" and wanted:
            buyer = buyer_of(click, clicks, lines)
            if not buyer and not is_of_an_order_as_a_whole(click, clicks, lines):
                found.add((click["event_id"], 10))
            mine = [line for line in around(click, sold) if line["customer_id"] in (None, buyer)]
            found.update(map(sale, mine if buyer else []))
    return found


def is_of_an_order_as_a_whole(click: Row, clicks: list[Row], lines: list[Row]) -> bool:
    """It names no product, and its user bought some by that order, by whatever name."""
    if click["product_id"] is not None or click["order_id"] is None:
        return False
    ordered, clicked = (
        [row for sold in "pq" for row in around({**click, "product_id": sold}, rows)]
        for rows in (lines, clicks)
    )
    return any(
        row["customer_id"] == click["user_id"] and row["status"] in ("placed", "paid")
        for row in ordered
    ) or any(row["user_id"] == click["user_id"] and buyer_of(row, clicks, lines) for row in clicked)


def sale(line: Row) -> tuple[Any, ...]:
    return line["source"], line["order_id"], line["line_no"], 1


@pytest.mark.parametrize("seed", range(20))
def test_offers_convert_by_what_one_counts_by_hand(seed: int) -> None:
    random = Random(seed)
    clicks, lines = clicks_of(random), lines_of(random)
    wanted = [*product("uvw", ["p", "q", None])]
    offers: list[Row] = [
        {
            "offer_id": f"{user}{sold}", "rule": rule, "version": 1, "user_id": user,
            "product_id": sold, "made_at": "2026-11-19T12:00:00",
            "expires_at": "2026-11-21T12:00:00", "delivered": True, "held_out": False,
            "historical": False,
        }
        for user, sold in wanted for rule in ("all", f"{user}{sold}")
    ]  # fmt: skip
    given = {"silver_clicks": clicks, "silver_order_lines": lines, "silver_offers": offers}
    tables = {name: relation(MODELS[name].types, rows) for name, rows in given.items()}
    found = {
        row["rule"]: (row["converted"], row["revenue"])
        for row in rows_on_duckdb(Case(MODELS["gold_offer_performance"], tables, []))
    }
    sales = {f"{user}{sold}": sales_of(user, sold, clicks, lines) for user, sold in wanted}
    once = set().union(*sales.values())
    assert found == {name: (bool(of), sum(n for *_, n in of)) for name, of in sales.items()} | {
        "all": (sum(map(bool, sales.values())), sum(n for *_, n in once))
    }


@pytest.mark.parametrize("name", ["gold_product_performance", "gold_offer_performance"])
def test_many_clicks_on_many_lines_of_one_order_are_not_joined_each_to_each(name: str) -> None:
    """Anybody may send clicks that name an order: no step has a row for each click and line."""
    many = 300
    common: Row = {"day": FIRST, "order_id": "a", "product_id": "p", "timestamp": NOON}
    line: Row = {**common, "source": "http", "status": "paid", "counts_as": "sold"}
    given: dict[str, list[Row]] = {
        "silver_clicks": [
            {**common, "user_id": f"u{n}", "event_id": "a", "event_type": "purchase"}
            for n in range(many)
        ],
        "silver_order_lines": [
            {**line, "line_no": n, "ordinal": n, "amount": "1", "currency": "EUR"}
            for n in range(many)
        ],
        "silver_offers": [
            {
                "offer_id": f"o{n}", "rule": "r", "version": 1, "user_id": f"u{n}",
                "product_id": "p", "made_at": "2026-11-19T12:00:00",
                "expires_at": "2026-11-21T12:00:00", "historical": False, "held_out": False,
            }
            for n in range(many)
        ],
    }  # fmt: skip
    with duckdb.connect(config={"threads": 1}) as con:
        for table, rows in given.items():
            make(con, table, relation(MODELS[table].types, rows))
        ((_, plan),) = con.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {MODELS[name].sql}").fetchall()
    steps = [int(rows) for rows in re.findall(r'"intermediate_rows":\s*(\d+)', plan)]
    assert many <= max(steps) <= 4 * many
