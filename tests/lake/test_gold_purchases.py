"""A purchase click and its order are one purchase, and no other order with that id is it."""

from itertools import count
from pathlib import Path
from typing import Any

from tests.lake.real_lake import Event, RealLake, click, offer, order

from shopstream.lake.verify import Processed, verify

CLICK, GONE = (1, 1, "10.0000"), (0, 0, "0.0000")
LINE = {"quantity": 2, "unit_price": "1.5"}
SOLD = (1, 2, "3.0000")


def case(name: str, day: int, status: str = "paid", minute: int = 615, **more: Any) -> Any:
    """An order of the id and product that the click of user `name` names."""
    return order(name, day, status, minute, lines=[LINE | {"product_id": name}], **more)


# Each user was offered a product called like them on the 18th and clicked on buying it.
ORDERS = {
    "own": [case("own", 18, customer_id="own")],
    "guest": [case("guest", 19, minute=0)],
    "browser": [case("browser", 18, customer_id="customer")],
    "browsers": [case("browsers", 19, minute=0, customer_id="customer")],
    "other": [case("other", 19, customer_id="somebody else")],
    "others": [
        case("others", 18, customer_id="one"),
        case("others", 19, customer_id="another", source="shop"),
    ],
    "old": [case("old", 1, customer_id="old")],
    "refund": [case("refund", 18, "refunded", customer_id="refund")],
    "cancelled": [case("cancelled", 18, "cancelled")],
    "invoice": [
        case("invoice", 12, "placed", customer_id="invoice"),
        case("invoice", 18, "paid", customer_id="invoice"),
    ],
}
# And others clicked on buying by the same order.
CLICKS = {
    "browsers": ["another browser"],
    "other": ["somebody else"],
}
BOUGHT = {
    "own": {18: SOLD},
    "guest": {18: GONE, 19: SOLD},
    "browser": {18: SOLD},
    "browsers": {18: GONE, 19: SOLD},
    "other": {18: CLICK, 19: SOLD},
    "others": {18: (2, 3, "13.0000"), 19: SOLD},
    "old": {1: SOLD, 18: CLICK},
    "refund": {18: CLICK},
    "cancelled": {18: CLICK},
    "invoice": {12: SOLD, 18: GONE},
}


def test_only_a_sale_that_can_be_no_other_takes_a_clicks_place(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    position = count()
    for name in ORDERS:
        users = [name, *CLICKS.get(name, [])]
        lake.put((next(position), "clicks", buys(name, user)) for user in users)
        offered = offer(name, 18, user_id=name, product_id=name)
        lake.put([(next(position), "offers", offered)])
    lake.build()
    assert {name: days[18][0] for name, days in bought_in(lake).items()} == {
        name: 1 + len(CLICKS.get(name, [])) for name in ORDERS
    }
    assert converted_in(lake) == (len(ORDERS), "100.0000")

    orders = [each for of in ORDERS.values() for each in of]
    lake.put((next(position), "orders", each) for each in orders)
    lake.build()
    assert bought_in(lake) == BOUGHT
    # Each but the invoice, which was sold before there was an offer.
    assert converted_in(lake) == (len(ORDERS) - 1, "62.0000")
    as_built_at_once(lake)


def test_a_sale_under_two_names_counts_for_the_orders_customer(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.put([(1, "clicks", buys("p", "browser")), (2, "orders", case("p", 18, customer_id="c"))])
    lake.build()
    (row,) = lake.rows("gold_product_performance")
    assert (row["purchases"], row["users"], row["units"], row["revenue"]) == (1, 1, 2, 3)


def test_a_click_stands_alone_again_when_the_customer_of_its_order_clicks_a_day_later(
    tmp_path: Path,
) -> None:
    lake = RealLake(tmp_path / "data")
    lake.put([(1, "clicks", buys("p", "browser")), (2, "orders", case("p", 18, customer_id="c"))])
    lake.build()
    assert bought_in(lake) == {"p": {18: SOLD}}
    lake.put([(3, "clicks", buys("p", "c", 19))])
    lake.build()
    assert bought_in(lake) == {"p": {18: (2, 3, "13.0000"), 19: GONE}}
    as_built_at_once(lake)


def buys(name: str, user_id: str, day: int = 18) -> Event:
    """A purchase click that names the order and the product `name`."""
    more = {"event_type": "purchase", "product_id": name, "order_id": name}
    return click(f"b-{name}", day, user_id, 610, price="10", currency="EUR", **more)


def as_built_at_once(lake: RealLake) -> None:
    """`check` finds the sums of gold right, and a build in full makes the same rows."""
    report = verify(lake.engine, Processed({}, []))
    assert report is not None
    assert [text for text in report.differences if "sums of gold" in text] == []
    assert not any("gold" in text for text in report.uncompared)
    bit_by_bit = lake.all_rows()
    lake.build(full=True)
    assert lake.all_rows() == bit_by_bit


def bought_in(lake: RealLake) -> dict[str, dict[int, tuple[int, int, str]]]:
    """By product and day of the month: purchases, units, revenue."""
    found: dict[str, dict[int, tuple[int, int, str]]] = {}
    for row in lake.rows("gold_product_performance"):
        bought = row["purchases"], row["units"], f"{row['revenue']:f}"
        found.setdefault(row["product_id"], {})[row["day"].day] = bought
    return found


def converted_in(lake: RealLake) -> tuple[int, str]:
    (row,) = lake.rows("gold_offer_performance")
    return row["converted"], f"{row['revenue']:f}"
