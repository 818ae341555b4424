"""What a failure says: the field, what stood there, what was wanted; readable on a terminal."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shopstream.domain.failures import Limits, expected_amount, failures_of, line_failures, shown
from shopstream.events import Failure, Order

NOW_US = 1_763_720_000_000_000


def click_failures(**fields: Any) -> list[Failure]:
    event = {"user_id": "u1", "event_type": "view", "timestamp": "2025-11-21T10:00:00Z"} | fields
    return failures_of("clicks", msgspec.json.encode(event), NOW_US, Limits())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "event_type",
            "fly",
            'event_type: "fly" is not one of view, click, add_to_cart, remove_from_cart,'
            " begin_checkout, purchase, search",
        ),
        (
            "timestamp",
            "2025-11-21T10:00:00",
            'timestamp: "2025-11-21T10:00:00" is not an ISO 8601 time with a zone, such as'
            " 2026-01-31T12:00:00Z",
        ),
        ("price", -1, "price: -1 is not a decimal from 0 to below 100000000000000"),
        ("price", "1_0", 'price: "1_0" is not a decimal written as in JSON, such as 12.50'),
        ("location", 1, "location: 1 is not text of at most 1024 characters"),
        ("page", ["/"], 'page: ["/"] is not text of at most 8192 characters'),
        (
            "quantity",
            2_000_000_000,
            "quantity: 2000000000 is not a whole number from 1 to 1000000000",
        ),
        ("quantity", 0, "quantity: 0 is not a whole number from 1 to 1000000000"),
        ("currency", "eur", 'currency: "eur" is not an ISO 4217 code such as EUR'),
        (
            "user_id",
            None,
            "user_id is missing (null); wanted: text of 1 to 256 bytes without control characters,"
            " not beginning with shopstream:",
        ),
        (
            "timestamp",
            "2025-11-21T11:00:00Z",
            'timestamp: "2025-11-21T11:00:00Z" is not at most 300 s ahead of its arrival',
        ),
    ],
)
def test_the_message_names_the_field_the_value_and_what_was_wanted(
    field: str, value: Any, message: str
) -> None:
    assert [f.message for f in click_failures(**{field: value})] == [message]


def test_a_missing_field_points_to_the_one_that_was_probably_meant() -> None:
    failures = failures_of("clicks", b'{"user_id":"u","type":"view","time":1}', NOW_US, Limits())
    assert [(f.field, f.value) for f in failures] == [
        ("event_type", "absent"),
        ("timestamp", "absent"),
    ]
    assert failures[0].wanted.endswith("(there is `type`)")
    assert failures[1].wanted.endswith("(there is `time`)")


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (Failure("missing", "order_id", "absent", "text"), "order_id is missing; wanted: text"),
        (Failure("missing", "user_id", '""', "text"), 'user_id is missing (""); wanted: text'),
        (
            Failure("lines", "lines", "absent", "at least one line"),
            "lines is missing; wanted: at least one line",
        ),
        (Failure("lines", "lines", "0 lines", "1 line"), "lines: 0 lines is not 1 line"),
        (Failure("json", "event", "absent", "a JSON object"), "event: absent is not a JSON object"),
    ],
)
def test_what_is_missing_is_told_as_missing(failure: Failure, message: str) -> None:
    assert failure.message == message


def test_how_far_ahead_a_time_may_be_is_a_limit() -> None:
    raw = b'{"user_id":"u","event_type":"view","timestamp":"2025-11-21T10:13:21Z"}'
    assert failures_of("clicks", raw, NOW_US, Limits(future_us=1_000_000)) == []
    assert [f.reason for f in failures_of("clicks", raw, NOW_US, Limits(future_us=0))] == ["future"]


def test_how_far_a_total_may_be_off_is_a_limit() -> None:
    raw = msgspec.json.encode(
        {
            "order_id": "o1",
            "lines": [{"product_id": "p", "quantity": 1, "unit_price": 10}],
            "amount": 11,
            "currency": "EUR",
            "status": "paid",
            "timestamp": "2025-11-21T10:00:00Z",
        }
    )
    (failure,) = failures_of("orders", raw, NOW_US, Limits())
    assert failure.message == (
        "amount: 11 is not 10, the sum of its lines + shipping + tax - discount"
    )
    assert failures_of("orders", raw, NOW_US, Limits(total_tolerance=Decimal("1.01"))) == []


def test_the_total_is_not_judged_while_a_line_is_bad() -> None:
    raw = b'{"lines":[{"product_id":"p","quantity":0,"unit_price":1}],"amount":5}'
    found = [(f.reason, f.field) for f in failures_of("orders", raw, NOW_US, Limits())]
    assert ("quantity", "lines[0].quantity") in found
    assert ("total", "amount") not in found


def test_a_line_is_judged_quantity_first() -> None:
    found = line_failures(b'{"quantity":-1,"unit_price":"x"}', "lines[7]")
    assert [(f.reason, f.field) for f in found] == [
        ("missing", "lines[7].product_id"),
        ("quantity", "lines[7].quantity"),
        ("price", "lines[7].unit_price"),
    ]


def test_an_order_is_worth_its_lines_shipping_and_tax_less_the_discount() -> None:
    order = msgspec.json.decode(
        b'{"order_id":"o","lines":[{"product_id":"p","quantity":3,"unit_price":0.1},'
        b'{"product_id":"q","quantity":1,"unit_price":"2.5"}],"shipping":4.95,"tax":"0.05",'
        b'"discount":1,"currency":"EUR","status":"paid","timestamp":"2025-01-01T00:00:00Z"}',
        type=Order,
    )
    assert expected_amount(order) == Decimal("6.8")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"\x1b[31mred\x07", "\\u001b[31mred\\u0007"),
        ("abc\u202etxt".encode(), "abc\\u202etxt"),
        (b"a\r\nb\x00", "a\\u000d\\u000ab\\u0000"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("é用😀".encode(), "é用😀"),
    ],
)
def test_a_value_is_shown_without_anything_that_a_terminal_obeys(raw: bytes, text: str) -> None:
    assert shown(raw) == text


def test_a_long_value_is_shown_cut() -> None:
    assert shown(b"x" * 200) == "x" * 200
    assert shown(b"x" * 10_000_000) == "x" * 199 + "…"
    assert len(shown("😀".encode() * 1_000)) == 200


@pytest.mark.parametrize(
    ("price", "wanted"),
    [
        ("-3", "a decimal above 0 and below 100000000000000"),
        ("0", "above 0"),
        ('"0.00004999"', "above 0 when rounded to 4 decimals"),
    ],
)
def test_a_price_of_an_order_line_is_above_0(price: str, wanted: str) -> None:
    raw = f'{{"product_id":"p","quantity":1000,"unit_price":{price}}}'.encode()
    assert [f.wanted for f in line_failures(raw, "lines[0]")] == [wanted]
