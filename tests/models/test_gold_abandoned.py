"""Abandoned carts: the models against a plain computation that goes through events one by one."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.e2e.command import Shop
from tests.models.unit_tests import Case, Row, dicts, relation, rows_on_duckdb

import shopstream
from shopstream.lake.model import load_models
from shopstream.simulator.shop import simulate

MODELS = load_models()
NOON = datetime(2026, 11, 20, 12)
DAY_US = 86_400_000_000


class Done(NamedTuple):
    """Something done with a product in a cart, in order of time; `kind` breaks ties, then `id`."""

    at: datetime
    kind: int
    id: str
    user: str
    cart: str
    product: str
    quantity: int | None = None
    price: Decimal | None = None


ADDED, REMOVED, HELD, BOUGHT = 0, 1, 2, 3


class Left(NamedTuple):
    quantity: int
    value: Decimal | None
    last: datetime


def left_in_carts(history: Iterable[Done]) -> dict[tuple[str, str, str], Left]:
    """What lies abandoned in carts by (user, cart, product), when time ends with `history`."""
    found: dict[tuple[str, str, str], Left] = {}
    prices: dict[tuple[str, str, str], Decimal] = {}
    now = max((done.at for done in history), default=NOON)
    first_day = (now - timedelta(days=30)).date()
    # Clicks of one instant go by their id, whether something was added or removed.
    for done in sorted(history, key=lambda d: (d.at, max(d.kind, REMOVED), d.id)):
        if done.at.date() < first_day:
            continue
        if done.kind == BOUGHT:
            for key in [k for k in found if k[0] == done.user and done.product in ("", k[2])]:
                del found[key]
                prices.pop(key, None)
            continue
        key = (done.user, done.cart, done.product)
        before = found[key].quantity if key in found else 0
        if done.kind == HELD or (done.kind == REMOVED and done.quantity is None):
            quantity = done.quantity or 0
            prices.pop(key, None)
        elif done.kind == ADDED:
            quantity = before + (1 if done.quantity is None else done.quantity)
        else:
            quantity = max(0, before - (done.quantity or 0))
        if done.price is not None:
            prices[key] = done.price
        price = prices.get(key)
        found[key] = Left(quantity, None if price is None else quantity * price, done.at)
    idle_since = now - timedelta(minutes=30)
    return {k: left for k, left in found.items() if left.quantity > 0 and left.last <= idle_since}


class Summary(NamedTuple):
    carts: int
    users: int
    units: int
    value: Decimal | None
    last: datetime


def summary(left: Iterable[tuple[tuple[str, str, str], Left]]) -> Summary:
    items = list(left)
    values = [item.value for _, item in items if item.value is not None]
    return Summary(
        carts=len(items),
        users=len({user for (user, _, _), _ in items}),
        units=sum(item.quantity for _, item in items),
        value=sum(values, Decimal(0)) if values else None,
        last=max(item.last for _, item in items),
    )


def most_valued_first(value: Decimal | None) -> tuple[bool, Decimal]:
    return value is None, -(value or Decimal(0))


def top_50(left: dict[tuple[str, str, str], Left]) -> list[tuple[str, Summary]]:
    of_product = defaultdict(list)
    for item in left.items():
        of_product[item[0][2]].append(item)
    found = [(product, summary(items)) for product, items in of_product.items()]
    found.sort(key=lambda p: (-p[1].carts, -p[1].units, most_valued_first(p[1].value), p[0]))
    return found[:50]


def top_10(left: dict[tuple[str, str, str], Left]) -> dict[str, list[tuple[str, Summary]]]:
    of_item = defaultdict(list)
    for item in left.items():
        of_item[item[0][0], item[0][2]].append(item)
    of_user = defaultdict(list)
    for (user, product), items in of_item.items():
        of_user[user].append((product, summary(items)))
    for found in of_user.values():
        found.sort(
            key=lambda p: (most_valued_first(p[1].value), -p[1].units, NOON - p[1].last, p[0])
        )
    return {user: found[:10] for user, found in of_user.items()}


LATELY = [NOON - timedelta(minutes=10 * n) for n in range(8)]
MOMENTS = st.sampled_from([*LATELY, NOON - timedelta(days=30), NOON - timedelta(days=31)])
NAMES = st.sampled_from(["a", "b"])


@st.composite
def histories(draw: st.DrawFn) -> list[Done]:
    done = []
    for n in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from([ADDED, ADDED, REMOVED, HELD, BOUGHT]))
        quantity = draw(st.none() | st.integers(1, 3)) if kind != HELD else draw(st.integers(0, 3))
        price = draw(st.none() | st.sampled_from([Decimal("0.1"), Decimal("2.5")]))
        product = draw(NAMES)
        if kind == BOUGHT:
            product = draw(st.sampled_from(["a", "b", ""]))
        cart = draw(st.sampled_from(["", "k"]))
        at, user = draw(MOMENTS), draw(NAMES)
        done.append(Done(at, kind, f"{n:02}", user, cart, product, quantity, price))
    return done


def clicks(history: list[Done]) -> Iterator[Row]:
    types = {ADDED: "add_to_cart", REMOVED: "remove_from_cart", BOUGHT: "purchase"}
    for done in history:
        if done.kind != HELD:
            yield {
                "day": done.at.date(), "event_id": done.id, "timestamp": done.at,
                "event_type": types[done.kind], "user_id": done.user, "cart_id": done.cart or None,
                "product_id": done.product or None, "quantity": done.quantity, "price": done.price,
            }  # fmt: skip


def cart_lines(history: list[Done]) -> Iterator[Row]:
    for done in history:
        if done.kind == HELD:
            yield {
                "day": done.at.date(), "event_id": done.id, "timestamp": done.at,
                "user_id": done.user, "cart_id": done.cart or None, "product_id": done.product,
                "quantity": done.quantity, "unit_price": done.price,
            }  # fmt: skip


@given(histories())
@settings(max_examples=60, deadline=None)
def test_what_is_left_in_carts_is_what_a_replay_of_them_leaves(history: list[Done]) -> None:
    rows = {"silver_clicks": [*clicks(history)], "silver_carts": [*cart_lines(history)]}
    found = {
        (row["customer_id"], row["cart_id"], row["product_id"]): Left(
            row["quantity"], row["value"], row["last_activity_at"]
        )
        for row in abandoned_items(rows)
    }
    assert found == left_in_carts(history)


CART_COLUMNS = {
    *("user_id", "event_id", "event_type", "cart_id", "product_id", "quantity", "timestamp")
}


def test_a_shop_that_sends_clicks_and_cart_lines_has_the_carts_of_one_that_sends_clicks() -> None:
    rows: dict[str, list[Row]] = {"silver_clicks": [], "silver_carts": []}
    for topic, raw in simulate("shop", 6_000, seed=5, start_us=0, per_s=0.1):
        event = msgspec.json.decode(raw)
        if topic == "carts" or event.get("event_type") in CART_TYPES:
            at = time_of(event["timestamp"])
            kept = {name: value for name, value in event.items() if name in CART_COLUMNS}
            rows[f"silver_{topic}"].append(kept | {"timestamp": at, "day": at.date()})
    assert len(rows["silver_carts"]) > 200
    both = quantities_left(rows)
    assert len(both) > 30
    assert quantities_left(rows | {"silver_carts": []}) == both


CART_TYPES = ("add_to_cart", "remove_from_cart", "purchase")


def quantities_left(rows: dict[str, list[Row]]) -> dict[tuple[str, str, str], int]:
    return {
        (row["customer_id"], row["cart_id"], row["product_id"]): row["quantity"]
        for row in abandoned_items(rows)
    }


def abandoned_items(rows: dict[str, list[Row]]) -> list[dict[str, Any]]:
    given = {
        name: relation(MODELS[name].types, rows.get(name, []))
        for name in MODELS["gold_abandoned_items"].reads
    }
    return rows_on_duckdb(Case(MODELS["gold_abandoned_items"], given, []))


class Entry(msgspec.Struct):
    """A cart line as the simulator makes it."""

    event_id: str
    user_id: str
    cart_id: str
    product_id: str
    quantity: int
    timestamp: str
    name: str = ""
    category: str = ""
    unit_price: Decimal | None = None
    currency: str = ""


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=None)


@pytest.mark.slow
def test_a_thousand_cart_entries_come_to_the_summaries_of_an_independent_computation(
    shop: Shop, tmp_path: Path
) -> None:
    # 1,000 entries in about 40 days, so that the first of them are too old to count.
    made = simulate("carts", 1_000, seed=3, start_us=0, per_s=1_000 / (40 * 86_400))
    entries = [msgspec.json.decode(event.raw, type=Entry) for event in made]
    history = [
        Done(
            time_of(e.timestamp), HELD, e.event_id, e.user_id, e.cart_id, e.product_id, e.quantity,
            e.unit_price,
        )
        for e in entries
    ]  # fmt: skip
    # Every third customer orders what they put in last, an hour later.
    last = {entry.user_id: entry for entry in entries if entry.quantity}
    orders = []
    for n, entry in enumerate(sorted(last.values(), key=lambda e: e.event_id)):
        if n % 3 == 0:
            at = time_of(entry.timestamp) + timedelta(hours=1)
            orders.append({
                "order_id": f"o{n}", "customer_id": entry.user_id, "status": "paid",
                "currency": "EUR", "timestamp": f"{at.isoformat()}Z", "quantity": 1,
                "product_id": entry.product_id, "unit_price": "1.00",
            })  # fmt: skip
            history.append(Done(at, BOUGHT, f"o{n}", entry.user_id, "", entry.product_id))
    carts = [msgspec.to_builtins(entry) for entry in entries]
    shop.load(write_csv(tmp_path / "carts.csv", carts), "carts_csv")
    shop.load(write_csv(tmp_path / "orders.csv", orders), "orders_csv")
    shop.run("build")

    left = left_in_carts(history)
    assert len(left) > 200
    assert len(top_50(left)) == 50
    assert {key[0] for key in left} < {entry.user_id for entry in entries}
    with shopstream.connect(shop.data_dir) as con:
        assert [
            (row["product_id"], summary_of(row) | {"users": row["users"]})
            for row in dicts(con.execute("FROM gold_abandoned_products ORDER BY place"))
        ] == [(product, found._asdict()) for product, found in top_50(left)]
        rows = dicts(con.execute("FROM gold_customer_abandoned_items ORDER BY customer_id, place"))
    of_customer: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        of_customer[row["customer_id"]].append((row["product_id"], summary_of(row) | {"users": 1}))
        assert row["place"] == len(of_customer[row["customer_id"]])
    assert of_customer == {
        user: [(product, found._asdict()) for product, found in items]
        for user, items in top_10(left).items()
    }


def summary_of(row: dict[str, Any]) -> dict[str, Any]:
    names = {"carts": "carts", "units": "units", "value": "value", "last": "last_activity_at"}
    return {name: row[column] for name, column in names.items()}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "data")
