"""Which orders deserve an alert, and how one too large for its table is made to fit."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopstream.domain.canonical import encode
from shopstream.domain.orders import (
    ITEM_BYTES_MAX,
    Fitted,
    alert_id,
    fit,
    invalid_order,
    is_low,
    item_bytes,
    large_order,
    low_stock,
    purchases,
)
from shopstream.events import Alert, Failure, Order, OrderLine, OrderStatus, Rejection, Stock

AT = datetime(2025, 11, 21, 10, tzinfo=UTC)


def line(**values: Any) -> OrderLine:
    known: dict[str, Any] = {"product_id": "p1", "quantity": 1, "unit_price": Decimal(1)}
    return OrderLine(**known | values)


def order(*lines: OrderLine, **values: Any) -> Order:
    known: dict[str, Any] = {"order_id": "o1", "currency": "EUR", "status": "placed"}
    return Order(**known | {"timestamp": AT} | values, lines=list(lines) or [line()])


def alert_for(amount: str, currency: str = "EUR", status: OrderStatus = "placed") -> Alert | None:
    found = order(amount=Decimal(amount), currency=currency, status=status)
    by_currency = {"JPY": Decimal(150_000)}
    return large_order(found, "http", Decimal(1000), by_currency, historical=False)


@pytest.mark.parametrize(
    ("amount", "currency", "alerted"),
    [
        ("999.99", "EUR", False),
        ("1000", "EUR", False),
        ("1000.00", "EUR", False),
        ("1000.0001", "EUR", True),
        ("1000.01", "EUR", True),
        ("1000.01", "GBP", True),
        ("1000.01", "JPY", False),
        ("150000", "JPY", False),
        ("150001", "JPY", True),
    ],
)
def test_an_order_strictly_above_the_threshold_of_its_currency_is_alerted(
    amount: str, currency: str, alerted: bool
) -> None:
    assert (alert_for(amount, currency) is not None) == alerted


@pytest.mark.parametrize(
    ("status", "alerted"),
    [("placed", True), ("paid", True), ("cancelled", False), ("refunded", False)],
)
def test_only_orders_placed_or_paid_are_alerted(status: OrderStatus, alerted: bool) -> None:
    assert (alert_for("5000", status=status) is not None) == alerted


def test_an_order_placed_and_then_paid_is_one_alert() -> None:
    placed, paid = alert_for("5000"), alert_for("5000", status="paid")
    assert placed is not None
    assert paid is not None
    assert placed.alert_id == paid.alert_id


def test_orders_of_two_sources_with_one_id_are_two_alerts() -> None:
    assert alert_id("large_order", "http", "o1") != alert_id("large_order", "load:x", "o1")
    assert alert_id("large_order", "a", "bc") != alert_id("large_order", "ab", "c")


def test_an_alert_says_who_how_much_and_why() -> None:
    found = alert_for("1234.50")
    assert found is not None
    assert found.subject == "Order o1 of 1234.50 EUR"
    assert all(word in found.body for word in found.subject.split())
    assert found.body == "Order o1 of a guest: 1234.50 EUR in 1 line, above 1000."
    assert (found.kind, found.at, found.historical) == ("large_order", AT, False)


def test_an_alert_of_low_stock_says_a_name_that_is_the_id_once() -> None:
    named = low_stock(msgspec.structs.replace(stock(3), name="A cup"), None, historical=False)
    plain = low_stock(stock(3), None, historical=False)
    assert named is not None
    assert plain is not None
    assert named.body == "A cup (p1): 3 on hand, reorder level 5."
    assert plain.body == "p1: 3 on hand, reorder level 5."
    assert named.alert_id == plain.alert_id


def rejected(raw: bytes, *reasons: str) -> Alert:
    failures = [Failure(reason, "f", "v", "good") for reason in reasons]
    found = [Rejection(topic="orders", failures=failures, raw=raw)]
    return invalid_order(found, raw, "http", AT, historical=True)


def test_an_invalid_order_and_a_wrong_total_are_different_alerts() -> None:
    assert rejected(b'{"order_id":"o1"}', "price").kind == "invalid_order"
    found = rejected(b'{"order_id":"o1"}', "total")
    assert (found.kind, found.subject) == (
        "total_mismatch",
        "Order o1: its total does not match",
    )


def test_a_wrong_total_among_other_faults_is_what_the_alert_is_about() -> None:
    found = rejected(b'{"order_id":"o1"}', *["price"] * 6, "total")
    assert found.kind == "total_mismatch"
    assert found.alert_id == rejected(b'{"order_id":"o1"}', "total").alert_id
    assert found.data["reasons"] == ["price", "total"]
    assert found.body.endswith("; and 2 more.")


def test_an_order_that_cannot_be_read_is_alerted_by_its_bytes() -> None:
    one, again, other = rejected(b"x", "json"), rejected(b"x", "json"), rejected(b"y", "json")
    assert one.subject == "Order without an id: not valid"
    assert one.alert_id == again.alert_id != other.alert_id


def test_an_alert_shows_five_failures_and_how_many_more() -> None:
    found = rejected(b"{}", *["price"] * 7)
    assert found.body.count("f: v is not good") == 5
    assert found.body.endswith("; and 2 more.")


def test_an_order_id_that_a_terminal_would_obey_is_not_shown() -> None:
    assert rejected(b'{"order_id":"\\u001b[31m"}', "id").subject == "Order without an id: not valid"


def stock(on_hand: int, level: int = 5, *, discontinued: bool = False, event: str = "e") -> Stock:
    return Stock(
        event_id=event,
        product_id="p1",
        stock_on_hand=on_hand,
        reorder_level=level,
        discontinued=discontinued,
        timestamp=AT,
    )


@pytest.mark.parametrize(
    ("found", "low"),
    [
        (stock(6), False),
        (stock(5), True),
        (stock(0), True),
        (stock(0, 0), True),
        (stock(1, 0), False),
        (stock(0, discontinued=True), False),
    ],
)
def test_stock_is_low_at_or_below_its_reorder_level_unless_discontinued(
    found: Stock, low: bool
) -> None:
    assert is_low(found) == low
    assert (low_stock(found, None, historical=False) is not None) == low


def test_low_stock_is_told_once_until_it_recovers() -> None:
    assert low_stock(stock(4), stock(5), historical=False) is None
    told = low_stock(stock(4, event="e2"), stock(9), historical=False)
    assert told is not None
    assert told.alert_id != alert_id("low_stock", "p1", "e")
    assert low_stock(stock(4), stock(0, discontinued=True), historical=False) is not None


def test_an_order_tells_what_its_customer_bought() -> None:
    bought = purchases(order(line(), line(product_id="p2"), customer_id="c1"))
    assert [(c.user_id, c.product_id, c.event_id) for c in bought] == [
        ("c1", "p1", "shopstream:order:o1:0"),
        ("c1", "p2", "shopstream:order:o1:1"),
    ]
    assert purchases(order()) == [], "a guest has no history"
    assert purchases(order(customer_id="c1", status="cancelled")) == []


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({}, 0),
        ({"a": ""}, 1),
        ({"name": "abc"}, 4 + 3),
        ({"é": "用"}, 2 + 3),
        ({"a": None}, 2),
        ({"a": True}, 2),
        ({"a": 0}, 1 + 1),
        ({"a": 7}, 1 + 2),
        ({"a": 12}, 1 + 2),
        ({"a": 123}, 1 + 3),
        ({"a": 1_200}, 1 + 2),  # trailing zeroes are not stored
        ({"a": 0.05}, 1 + 2),  # nor are leading ones
        ({"a": -12}, 1 + 3),  # a sign is one byte
        ({"a": 12.5}, 1 + 3),
        ({"a": 12345678901234567890123456789012345678}, 1 + 20),
        ({"a": []}, 1 + 3),
        ({"a": {}}, 1 + 3),
        ({"a": ["x", "yz"]}, 1 + 3 + (1 + 1) + (1 + 2)),
        ({"a": {"k": "v"}}, 1 + 3 + 1 + 1 + 1),
        ({"a": [{"k": 1}, None]}, 1 + 3 + (1 + 3 + 1 + 1 + 2) + (1 + 1)),
    ],
)
def test_an_item_is_counted_as_dynamodb_counts_it(item: dict[str, Any], size: int) -> None:
    assert item_bytes(item) == size


def fitted(found: Order) -> tuple[dict[str, Any], Fitted]:
    made = fit(found, "archive/orders/x.json")
    item = json.loads(made.item)
    assert item_bytes(item) <= ITEM_BYTES_MAX
    if made.archived is not None:
        assert made.archived == encode(found)
        assert item["archive"] == "archive/orders/x.json"
    else:
        assert made.item == encode(found)
        assert "trimmed" not in item
    return item, made


def payload_of(bytes_: int) -> msgspec.Raw:
    return msgspec.Raw(b'"' + b"x" * bytes_ + b'"')


def test_an_order_of_exactly_the_limit_is_stored_whole_and_a_byte_more_is_not() -> None:
    bare = item_bytes(json.loads(encode(order(payload=payload_of(0)))))
    room = ITEM_BYTES_MAX - bare
    _, whole = fitted(order(payload=payload_of(room)))
    assert whole.archived is None
    item, cut = fitted(order(payload=payload_of(room + 1)))
    assert cut.archived is not None
    assert item["trimmed"] == ["payload"]
    assert "payload" not in item


def test_the_payload_goes_first_then_unknown_fields_then_lines_from_the_end() -> None:
    big, huge = "x" * 300_000, "x" * 410_000
    lines = [line(line=n, name="y" * 1_000) for n in range(500)]
    item, _ = fitted(order(payload=payload_of(300_000), extra={"a": big}))
    assert item["trimmed"] == ["payload"]
    assert item["extra"] == {"a": big}
    item, _ = fitted(order(payload=payload_of(10), extra={"a": huge}))
    assert item["trimmed"] == ["payload", "extra"]
    assert len(item["lines"]) == 1
    item, _ = fitted(order(*lines, payload=payload_of(10), extra={"a": big}))
    assert item["trimmed"] == ["payload", "extra", "lines"]
    assert item["lines_total"] == 500
    kept = len(item["lines"])
    assert [found["line"] for found in item["lines"]] == list(range(kept))
    one_more = item | {"lines": [*item["lines"], json.loads(encode(lines[kept]))]}
    assert item_bytes(one_more) > ITEM_BYTES_MAX, "as many lines as there is room for"


def test_an_order_whose_first_line_is_too_large_keeps_no_line() -> None:
    item, made = fitted(order(line(extra={"a": "x" * 410_000}), line()))
    assert item["lines"] == []
    assert item["lines_total"] == 2
    assert made.archived is not None


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(item=st.dictionaries(st.text(max_size=5), _json, max_size=6))
def test_an_item_never_counts_more_than_twice_its_json(item: dict[str, Any]) -> None:
    """What lets small orders be stored without counting."""
    assert item_bytes(item) <= 2 * len(msgspec.json.encode(item))


@given(
    times=st.integers(1, 4),
    parts=st.lists(st.sampled_from(["payload", "extra", "lines"]), max_size=3, unique=True),
)
def test_whatever_is_large_the_item_fits_and_nothing_is_cut_without_its_archive(
    times: int, parts: list[str]
) -> None:
    values: dict[str, Any] = {}
    lines = [line()]
    if "payload" in parts:
        values["payload"] = payload_of(150_000 * times)
    if "extra" in parts:
        values["extra"] = {"a": "é" * 70_000 * times}
    if "lines" in parts:
        lines = [line(line=n, name="z" * 900) for n in range(150 * times)]
    fitted(order(*lines, **values))
