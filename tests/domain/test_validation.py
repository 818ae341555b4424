"""Bytes -> event or Rejection: each kind of bad input with the failure it must give."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.samples import (
    CART,
    CLICK,
    LIMITS,
    NOW_US,
    ORDER,
    STOCK,
    as_json,
    click,
    click_with,
    order,
    read,
    reasons,
)

from shopstream.domain.failures import failures_of
from shopstream.domain.validation import read_lines
from shopstream.events import TOPICS, Click, Order

NOT_JSON = {
    "nothing": b"",
    "white space": b" \t\r\n ",
    "null": b"null",
    "a number": b"12",
    "a string": b'"x"',
    "true": b"true",
    "a list": b"[]",
    "cut short": click()[:-9],
    "a trailing comma": click()[:-1] + b",}",
    "two documents": click() + click(),
    "two lines": click() + b"\n" + click(),
    "single quotes": click().replace(b'"', b"'"),
    "nesting 100,000 deep": b'{"a":' * 100_000,
    "lists 100,000 deep": click_with('"x":' + "[" * 100_000 + "]" * 100_000),
    "NaN": click_with('"price":NaN'),
    "NaN in an unknown field": click_with('"x":NaN'),
    "Infinity": click_with('"x":-Infinity'),
    "a leading zero": click_with('"x":012'),
    "a lone surrogate": click_with('"page":"\\ud800"'),
    "a lone surrogate in an unknown field": click_with('"x":"\\udc00"'),
    "a raw line feed in a string": click().replace(b"u1", b"u\n1"),
    "a raw NUL in a string": click().replace(b"u1", b"u\x001"),
    "a raw escape in a string": click().replace(b"u1", b"\x1b[31m"),
    "a byte order mark": b"\xef\xbb\xbf" + click(),
}


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_a_json_object_says_so(raw: bytes) -> None:
    assert reasons(raw) == [("json", "event")]


NOT_UTF8 = {
    "a byte that starts nothing": click().replace(b"u1", b"u\xff"),
    "an overlong slash": click().replace(b"u1", b"\xc0\xaf"),
    "a surrogate as bytes": click().replace(b"u1", b"\xed\xa0\x80"),
    "Latin-1": click().replace(b"u1", "é".encode("latin-1")),
    "cut in a character": click().replace(b"u1", "é".encode()[:1]),
    "UTF-16": click().decode().encode("utf-16"),
    "in an unknown field": click_with('"x":"?"').replace(b"?", b"\xff"),
    "in an unknown name": click_with('"?":1').replace(b"?", b"\xff"),
}


@pytest.mark.parametrize("raw", NOT_UTF8.values(), ids=NOT_UTF8)
def test_what_is_not_utf8_says_so_wherever_it_stands(raw: bytes) -> None:
    assert reasons(raw) == [("encoding", "event")]


BAD_FIELDS: list[tuple[str, Any, str]] = [
    ("user_id", None, "missing"),
    ("user_id", "", "missing"),
    ("user_id", 1, "type"),
    ("user_id", True, "type"),
    ("user_id", ["u1"], "type"),
    ("user_id", "x" * 257, "id"),
    ("user_id", "é" * 129, "id"),
    ("user_id", "é" * 256, "id"),
    ("user_id", "u\x00", "id"),
    ("user_id", "u\n1", "id"),
    ("user_id", "u\x7f", "id"),
    ("user_id", "\x1b[31mred", "id"),
    ("user_id", "abc\u202etxt.exe", "id"),
    ("user_id", "\u2066u1\u2069", "id"),
    ("user_id", "u\u200b1", "id"),
    ("event_id", "", "id"),
    ("product_id", "", "id"),
    ("product_id", 7, "type"),
    ("event_type", None, "missing"),
    ("event_type", "View", "value"),
    ("event_type", "fly", "value"),
    ("event_type", 1, "type"),
    ("device_type", "tv", "value"),
    ("device_type", "", "value"),
    ("user_type", "Returning", "value"),
    ("price", True, "price"),
    ("price", -1, "price"),
    ("price", "-0.01", "price"),
    ("price", "", "price"),
    ("price", "12,50", "price"),
    ("price", "NaN", "price"),
    ("price", "sNaN", "price"),
    ("price", "Infinity", "price"),
    ("price", "1e9999999999999999999", "price"),
    ("price", "１２", "price"),
    *(("price", text, "price") for text in ("1_0", " 5 ", "5\n", "5.", ".5", "+5", "05", "0x5")),
    ("price", "١٢", "price"),
    ("price", 10**14, "price"),
    ("price", {"amount": 1}, "price"),
    ("quantity", 0, "quantity"),
    ("quantity", -1, "quantity"),
    ("quantity", 2.5, "quantity"),
    ("quantity", 2.0, "quantity"),
    ("quantity", "2", "quantity"),
    ("quantity", True, "quantity"),
    ("quantity", 10**9 + 1, "quantity"),
    ("quantity", 2**63, "quantity"),
    ("quantity", 2**64, "quantity"),
    ("currency", "eur", "currency"),
    ("currency", "EURO", "currency"),
    ("currency", "XXZ", "currency"),
    ("currency", "", "currency"),
    ("currency", 978, "currency"),
    ("page", "x" * 8_193, "value"),
    ("consent", {"ads": 1}, "type"),
    ("consent", [], "type"),
    ("extra", [], "type"),
    ("extra", "", "type"),
    ("timestamp", None, "missing"),
    ("timestamp", "", "missing"),
    ("timestamp", "2025-11-21T10:00:00", "timestamp"),
    ("timestamp", "2025-11-21", "timestamp"),
    ("timestamp", "2025-02-30T10:00:00Z", "timestamp"),
    ("timestamp", "2025-11-21T10:00:60Z", "timestamp"),
    ("timestamp", "2025-11-21T24:00:00Z", "timestamp"),
    ("timestamp", "２０２５-11-21T10:00:00Z", "timestamp"),
    ("timestamp", "yesterday", "timestamp"),
    ("timestamp", 1_763_719_200, "timestamp"),
    ("timestamp", 1_763_719_200_000, "timestamp"),
    ("timestamp", 1_763_719_200_000_000, "timestamp"),
    ("timestamp", "1763719200", "timestamp"),
    ("timestamp", "0001-01-01T00:00:00+14:00", "timestamp"),
    ("timestamp", "2035-11-21T10:00:00Z", "future"),
    ("timestamp", "9999-12-31T23:59:59Z", "future"),
    ("timestamp", "9999-12-31T23:59:59-14:00", "future"),
]


@pytest.mark.parametrize(("field", "value", "reason"), BAD_FIELDS, ids=lambda v: repr(v)[:30])
def test_a_bad_field_of_a_click_is_named_with_its_reason(
    field: str, value: Any, reason: str
) -> None:
    assert reasons(click(**{field: value})) == [(reason, field)]


NUMBERS_AS_WRITTEN = [
    ('"price":1e400', "price"),
    ('"price":1e9999999999999999999', "price"),
    ('"price":' + "9" * 5_000, "price"),
    ('"price":"\\uff11\\uff12"', "price"),
    ('"quantity":-0', "quantity"),
    ('"quantity":' + "9" * 5_000, "quantity"),
    ('"quantity":1e400', "quantity"),
]


@pytest.mark.parametrize(("text", "reason"), NUMBERS_AS_WRITTEN, ids=lambda v: v[:30])
def test_a_number_that_cannot_be_kept_is_named(text: str, reason: str) -> None:
    assert reasons(click_with(text)) == [(reason, reason)]


def test_an_extra_that_nobody_can_read_is_not_kept() -> None:
    assert reasons(click_with('"extra":{"x":1e400}')) == [("json", "extra")]


GOOD = {
    "the three fields that must be": click(),
    "an id of 256 bytes": click(user_id="x" * 256),
    "an id of 128 characters of two bytes": click(user_id="é" * 128),
    "an id in any script": click(user_id="用户😀"),
    "SQL in an id": click(user_id="'; DROP TABLE clicks; --"),
    "HTML in an id": click(user_id="<img onerror=alert(1)>"),
    "dots and slashes in an id": click(user_id="../../etc/passwd"),
    "bidi and ANSI in a page": click(page="\u202e\x1b[31m"),
    "10,000 unknown fields": click(**{f"f{n}": n for n in range(10_000)}),
    "absent fields as null": click(page=None, price=None, currency=None, extra=None),
    "a price of nothing": click(price=0),
    "a negative nothing": click_with('"price":-0'),
    "a price as text": click(price="12.50"),
    "a price as text with an exponent": click(price="1.25e1"),
    "a nested price that is no number": click(price=1, basket={"price": "1_0"}),
    "amounts that are not those of a click": click(amount="1_0", tax="５", unit_price=" 5 "),
    "the highest price": click(price="99999999999999.9999"),
    "a float that is no decimal": click(price=0.1 * 3),
    "2 ** 64 in an unknown field": click(x=2**64),
    "1e400 in an unknown field": click_with('"x":1e400'),
    "5,000 digits in an unknown field": click_with('"x":' + "9" * 5_000),
    "a category of no text": click(category=""),
    "a page as long as may be": click(page="x" * 8_192),
    "another zone": click(timestamp="2025-11-21T11:00:00+01:00"),
    "a space for the T": click(timestamp="2025-11-21 10:00:00Z"),
    "nanoseconds": click(timestamp="2025-11-21T10:00:00.123456789Z"),
    "year 1": click(timestamp="0001-01-01T00:00:00Z"),
    "4 minutes and 59 seconds ahead": click(timestamp="2025-11-21T10:18:19Z"),
    "5 minutes ahead": click(timestamp="2025-11-21T10:18:20Z"),
}


@pytest.mark.parametrize("raw", GOOD.values(), ids=GOOD)
def test_a_click_is_accepted_with(raw: bytes) -> None:
    assert reasons(raw) == []


def test_a_click_a_microsecond_more_than_five_minutes_ahead_is_not() -> None:
    assert reasons(click(timestamp="2025-11-21T10:18:20.000001Z")) == [("future", "timestamp")]


def test_the_last_of_duplicate_keys_is_the_one_that_counts() -> None:
    found = read(click_with('"user_id":"u2","page":"/a","p\\u0061ge":"/b"'))
    assert isinstance(found, Click)
    assert (found.user_id, found.page) == ("u2", "/b")
    assert reasons(click_with('"user_id":null')) == [("missing", "user_id")]


def test_a_million_keys_are_read_as_any_others() -> None:
    raw = click_with(",".join(f'"k{n}":{n}' for n in range(1_000_000)))
    assert isinstance(read(raw), Click)
    assert [f.field for f in failures_of("clicks", raw, NOW_US, LIMITS)] == []


def test_all_faults_of_an_event_are_told_not_only_the_first() -> None:
    raw = click(user_id="", event_type="fly", price=-1, currency="eur", timestamp="tomorrow")
    assert reasons(raw) == [
        ("missing", "user_id"),
        ("value", "event_type"),
        ("timestamp", "timestamp"),
        ("price", "price"),
        ("currency", "currency"),
    ]


@pytest.mark.parametrize(
    ("topic", "event", "field", "value", "reason"),
    [
        ("carts", CART, "quantity", -1, "quantity"),
        ("carts", CART, "unit_price", "NaN", "price"),
        ("carts", CART, "currency", "eur", "currency"),
        ("carts", CART, "user_id", None, "missing"),
        ("carts", CART, "timestamp", "2035-01-01T00:00:00Z", "future"),
        ("stock", STOCK, "stock_on_hand", None, "missing"),
        ("stock", STOCK, "stock_on_hand", 1.5, "quantity"),
        ("stock", STOCK, "reorder_level", -1, "quantity"),
        ("stock", STOCK, "discontinued", 1, "type"),
        ("stock", STOCK, "product_id", "p\u202e", "id"),
        ("stock", STOCK, "unit_price", "１", "price"),
        ("stock", STOCK, "unit_price", "1_0", "price"),
        ("carts", CART, "unit_price", " 5", "price"),
    ],
)
def test_a_bad_field_of_a_cart_line_or_a_stock_level_is_named(
    topic: str, event: dict[str, Any], field: str, value: Any, reason: str
) -> None:
    assert reasons(as_json(event), topic) == []
    assert reasons(as_json(event | {field: value}), topic) == [(reason, field)]


_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["2025-11-21T10:00:00Z", "EUR", "view", "placed", "12.50", "u1", "１", "NaN"]),
)
_line = st.dictionaries(st.sampled_from(["product_id", "quantity", "unit_price", "line"]), _scalar)
_names = sorted({*Click.__struct_fields__, *Order.__struct_fields__, "product_id", "x", "é"})
_fields = st.dictionaries(st.sampled_from(_names), _scalar | st.lists(_line, max_size=3))


def _mangled(event: dict[str, Any], changes: dict[str, Any]) -> bytes:
    return json.dumps(event | changes).encode("utf-8", "surrogatepass")


@given(topic=st.sampled_from(TOPICS), raw=st.binary(max_size=60))
def test_any_bytes_are_an_event_or_a_rejection_with_a_failure(topic: str, raw: bytes) -> None:
    reasons(raw, topic)
    read_lines(raw, NOW_US, LIMITS)


@given(topic=st.sampled_from(TOPICS), changes=_fields)
def test_any_fields_give_an_answer_and_both_paths_agree(
    topic: str, changes: dict[str, Any]
) -> None:
    event = {"clicks": CLICK, "orders": ORDER, "carts": CART, "stock": STOCK}[topic]
    reasons(_mangled(event, changes), topic)
    reasons(_mangled({}, changes), topic)


@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3))
def test_a_damaged_event_gives_an_answer_and_both_paths_agree(
    flips: list[tuple[int, int]],
) -> None:
    for topic, whole in (("clicks", click(price="1.5", x="é")), ("orders", order(amount=6))):
        raw = bytearray(whole)
        for place, byte in flips:
            raw[place % len(raw)] = byte
        reasons(bytes(raw), topic)
