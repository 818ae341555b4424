"""Orders -> order or Rejection, whole or line by line."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.samples import (
    LIMITS,
    LINE,
    NOW_US,
    ORDER,
    as_json,
    order,
    order_of,
    read,
    reasons,
)

from shopstream.domain.validation import read_lines, units_of
from shopstream.events import Order, Rejection

ORDERS: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "no lines": (order(lines=[]), [("lines", "lines")]),
    "lines that are null": (order(lines=None), [("lines", "lines")]),
    "lines that are no list": (order(lines={}), [("type", "lines")]),
    "a line that is no object": (order(lines=[LINE, 1]), [("type", "lines[1]")]),
    "a line that is null": (order(lines=[None]), [("type", "lines[0]")]),
    "10,001 lines": (order(lines=[LINE] * 10_001), [("lines", "lines")]),
    "a quantity of 0": (order_of({"quantity": 0}), [("quantity", "lines[0].quantity")]),
    "a quantity below 0": (order_of({}, {"quantity": -3}), [("quantity", "lines[1].quantity")]),
    "a price of 0": (order_of({"unit_price": 0}), [("price", "lines[0].unit_price")]),
    "a price below 0": (order_of({"unit_price": -1}), [("price", "lines[0].unit_price")]),
    "a quantity and a price of 0": (
        order_of({"quantity": 0, "unit_price": 0}),
        [("quantity", "lines[0].quantity"), ("price", "lines[0].unit_price")],
    ),
    "fullwidth digits in a line": (
        order_of({"unit_price": "１２"}),
        [("price", "lines[0].unit_price")],
    ),
    "bidi in a product": (order_of({"product_id": "a\u202e"}), [("id", "lines[0].product_id")]),
    "an extra that is no object": (order_of({"extra": []}), [("type", "lines[0].extra")]),
    "an unknown currency": (order(currency="XXZ"), [("currency", "currency")]),
    "no currency": (order(currency=None), [("missing", "currency")]),
    "a status in capitals": (order(status="PLACED"), [("value", "status")]),
    "an empty customer": (order(customer_id=""), [("id", "customer_id")]),
    "true for an amount": (order(amount=True), [("amount", "amount")]),
    "a negative amount": (order(amount=-6), [("amount", "amount")]),
    "fullwidth digits": (order(amount="６"), [("amount", "amount")]),
    "an underscore in an amount": (order(amount="6_0"), [("amount", "amount")]),
    "blanks around a shipping": (order(shipping=" 0 "), [("amount", "shipping")]),
    "a price that ends in a point": (
        order_of({"unit_price": "6."}),
        [("price", "lines[0].unit_price")],
    ),
    "a shipping of NaN": (order(shipping="NaN"), [("amount", "shipping")]),
    "a payload past 1 MiB": (
        order(payload="x" * (1024 * 1024 - 1)),
        [("too_large", "payload")],
    ),
    "a payload past 1 MiB, a bad line and no currency": (
        order_of({"quantity": 0}, currency=None, payload="x" * 1024 * 1024),
        [("missing", "currency"), ("too_large", "payload"), ("quantity", "lines[0].quantity")],
    ),
    "an unknown currency and a wrong total": (
        order(currency="ZZZ", amount="7"),
        [("currency", "currency"), ("total", "amount")],
    ),
    "all but what is summed": (
        order_of(
            {"unit_price": 5, "product_id": ""},
            order_id="",
            status="new",
            timestamp="today",
            amount=6,
        ),
        [
            ("missing", "order_id"),
            ("value", "status"),
            ("timestamp", "timestamp"),
            ("missing", "lines[0].product_id"),
            ("total", "amount"),
        ],
    ),
    "a tax that can't be read and a wrong total": (
        order(tax="much", amount="7"),
        [("amount", "tax")],
    ),
    "a discount of more than all": (order(discount=7), [("amount", "amount")]),
    "a sum past DECIMAL(18, 4)": (
        order_of({"unit_price": 10**14 - 1, "quantity": 10**9}),
        [("amount", "amount")],
    ),
}


@pytest.mark.parametrize(("raw", "expected"), ORDERS.values(), ids=ORDERS)
def test_an_order_is_rejected_for(raw: bytes, expected: list[tuple[str, str]]) -> None:
    assert reasons(raw, "orders") == expected


@pytest.mark.parametrize(
    ("amount", "accepted"),
    [
        ("5.99", False),
        ("5.991", True),
        (6, True),
        ("6.00", True),
        ("6.009", True),
        ("6.01", False),
        (7, False),
    ],
)
def test_an_amount_may_differ_from_its_lines_by_less_than_a_cent(
    amount: Any, accepted: bool
) -> None:
    assert reasons(order(amount=amount), "orders") == ([] if accepted else [("total", "amount")])


def test_tenths_add_up_exactly() -> None:
    assert reasons(order_of({"unit_price": 0.1, "quantity": 3}, amount=0.3), "orders") == []


def test_shipping_tax_and_discount_are_part_of_the_total() -> None:
    raw = order(shipping="4.95", tax=1, discount="0.5", amount="11.45")
    assert reasons(raw, "orders") == []
    assert reasons(raw.replace(b"11.45", b"11.47"), "orders") == [("total", "amount")]


def test_an_absent_amount_is_the_sum() -> None:
    found = read(order(shipping="4.95"), "orders")
    assert isinstance(found, Order)
    assert found.amount == Decimal("10.95")


def test_a_payload_of_1_mib_is_kept_byte_for_byte() -> None:
    payload = b'"' + b"x" * (1024 * 1024 - 2) + b'"'
    found = read(order()[:-1] + b',"payload":' + payload + b"}", "orders")
    assert isinstance(found, Order)
    assert bytes(found.payload) == payload


def lines_of(raw: bytes) -> tuple[Order | None, list[tuple[str, int, int | None]]]:
    found = read_lines(raw, NOW_US, LIMITS)
    return found.order, [(r.reason, r.units, r.line) for r in found.rejections]


BAD_LINES: list[dict[str, Any]] = [
    {"line": 10},
    {"line": 11, "quantity": -1, "unit_price": 0},
    {"line": 12, "unit_price": 0},
    {"line": 13, "product_id": "p2"},
]


def test_where_lines_are_judged_alone_the_good_ones_make_the_order() -> None:
    kept, rejected = lines_of(order_of(*BAD_LINES, amount=999))
    assert kept is not None
    assert [line.line for line in kept.lines] == [10, 13]
    assert kept.amount == 12
    assert rejected == [("quantity", 1, 11), ("price", 1, 12)]


def test_a_bad_line_is_rejected_as_an_order_of_that_line_alone() -> None:
    found = read_lines(order_of(*BAD_LINES, customer_id="c", amount=999), NOW_US, LIMITS)
    alone = json.loads(found.rejections[0].raw)
    assert alone == ORDER | {
        "customer_id": "c",
        "lines": [LINE | {"line": 11, "quantity": -1, "unit_price": 0}],
    }
    mended = as_json(alone | {"lines": [LINE | {"line": 11}]})
    assert reasons(mended, "orders") == []


def test_an_order_without_a_good_line_is_its_rejected_lines() -> None:
    bad = order_of({"quantity": 0, "line": 1}, {"unit_price": 0, "line": 2})
    assert lines_of(bad) == (None, [("quantity", 1, 1), ("price", 1, 2)])


def test_an_order_bad_in_itself_is_rejected_with_the_units_of_its_good_lines() -> None:
    found, rejected = lines_of(order_of(*BAD_LINES, currency="XXZ"))
    assert found is None
    assert rejected == [("quantity", 1, 11), ("price", 1, 12), ("currency", 2, None)]
    assert sum(units for _, units, _ in rejected) == units_of(
        "orders", order_of(*BAD_LINES, currency="XXZ"), "quarantine_line"
    )


TOO_MUCH = {
    "more lines than an order may have": order(lines=[{}] * 10_001),
    "as many lines as fit into what a sender may send": order(lines=[{}] * 400_000),
    "a payload that is too large": order(lines=[{}, {}], payload="x" * 1024 * 1024),
    "more copies of a payload than there is room for": order(
        lines=[{}] * 1_000, payload="x" * 1_000_000
    ),
    "more copies of a small order than there is room for": order(lines=[{}] * 10_000),
}


@pytest.mark.parametrize("raw", TOO_MUCH.values(), ids=TOO_MUCH)
def test_an_order_with_too_much_in_it_is_rejected_whole_and_once(raw: bytes) -> None:
    found = read_lines(raw, NOW_US, LIMITS)
    assert found.order is None
    [rejection] = found.rejections
    assert (rejection.raw, rejection.line) == (raw, None)
    assert rejection.units == units_of("orders", raw, "quarantine_line")


def test_a_few_bad_lines_beside_a_large_payload_are_rejected_alone() -> None:
    raw = order(lines=[{}] * 16, payload="x" * 1_000_000)
    _, rejected = lines_of(raw)
    assert rejected == [("missing", 1, n) for n in range(1, 17)]


@given(payload=st.integers(0, 5_000), good=st.lists(st.booleans(), min_size=1, max_size=60))
def test_what_is_rejected_of_an_order_is_bounded_by_its_own_bytes(
    payload: int, good: list[bool]
) -> None:
    raw = order(lines=[LINE if g else {} for g in good], payload="x" * payload)
    found = read_lines(raw, NOW_US, LIMITS)
    kept = len(found.order.lines) if found.order else 0
    assert kept + sum(r.units for r in found.rejections) == len(good)
    assert sum(len(r.raw) for r in found.rejections) < 20 * len(raw)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"lines":1}', order(lines=[]), b"\xff"])
def test_what_has_no_lines_is_one_rejection_of_one_unit(raw: bytes) -> None:
    found, rejected = lines_of(raw)
    assert found is None
    assert [units for _, units, _ in rejected] == [1]
    assert units_of("orders", raw, "quarantine_line") == 1


def test_units_are_lines_only_where_lines_are_judged_alone() -> None:
    raw = order_of(*BAD_LINES)
    assert units_of("orders", raw, "quarantine_line") == 4
    assert units_of("orders", raw, "reject_order") == 1
    assert units_of("clicks", raw, "quarantine_line") == 1


_value = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["1.5"])
_line = st.dictionaries(st.sampled_from([*LINE, "line"]), _value).map(lambda line: LINE | line)
_fields = st.dictionaries(st.sampled_from([*ORDER, "amount", "discount", "x"]), _value)


@given(changes=_fields, lines=st.lists(_line, max_size=4))
def test_lines_judged_alone_are_all_accounted_for(
    changes: dict[str, Any], lines: list[dict[str, Any]]
) -> None:
    raw = as_json(ORDER | changes | {"lines": lines})
    found = read_lines(raw, NOW_US, LIMITS)
    kept = len(found.order.lines) if found.order else 0
    assert kept + sum(r.units for r in found.rejections) == units_of(
        "orders", raw, "quarantine_line"
    )


def test_lines_without_numbers_get_their_places_so_that_a_mended_one_finds_its_own() -> None:
    raw = (
        b'{"order_id":"o","currency":"EUR","status":"placed","timestamp":"2025-01-01T00:00:00Z",'
        b'"lines":[{"product_id":"a","quantity":-1,"unit_price":1},'
        b'{"product_id":"b","quantity":1,"unit_price":1}]}'
    )
    order, [rejection], kept = read_lines(raw, NOW_US, LIMITS)
    assert order is not None
    assert [line.line for line in order.lines] == [2]
    assert rejection.line == 1
    assert b'"line":1' in rejection.raw
    assert b'"line":2' in kept


def test_amounts_are_rounded_before_they_are_judged() -> None:
    found = read(
        order_of({"unit_price": "1.23456789", "quantity": 1_000}, amount="1234.6"), "orders"
    )
    assert isinstance(found, Order)
    assert (found.lines[0].unit_price, found.amount) == (Decimal("1.2346"), Decimal("1234.6"))
    summed = read(order_of({"unit_price": "1.23456789", "quantity": 1_000}), "orders")
    assert isinstance(summed, Order)
    assert summed.amount == Decimal("1234.6"), "the sum is that of the prices that are kept"
    wrong = order_of({"unit_price": "1.23456789", "quantity": 1_000}, amount="1234.56789")
    assert reasons(wrong, "orders") == [("total", "amount")]
    none_left = order_of({"unit_price": "0.00004999", "quantity": 1_000})
    assert reasons(none_left, "orders") == [("price", "lines[0].unit_price")]


def test_no_amount_rounds_up_to_what_no_table_holds() -> None:
    most, more = "99999999999999.99994", "99999999999999.99995"
    found = read(order_of({"unit_price": most, "quantity": 1}), "orders")
    assert isinstance(found, Order)
    assert found.amount == Decimal("99999999999999.9999")
    too_much = order_of({"unit_price": more, "quantity": 1})
    assert reasons(too_much, "orders") == [("price", "lines[0].unit_price")]


@pytest.mark.parametrize(
    ("bad", "told", "last"),
    [
        (34, 102, ("lines[33].unit_price", "absent")),
        (35, 103, ("lines", "1 more of 35 lines")),
        (10_000, 103, ("lines", "9966 more of 10000 lines")),
    ],
)
def test_of_many_bad_lines_enough_is_told(bad: int, told: int, last: tuple[str, str]) -> None:
    """Each of these lines has three faults."""
    rejection = read(order(lines=[{}] * bad), "orders")
    assert isinstance(rejection, Rejection)
    assert len(rejection.failures) == told
    assert (rejection.failures[-1].field, rejection.failures[-1].value) == last
