"""The one form in which an event is kept, and the identity made from it."""

import json
from datetime import UTC
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopstream.domain.canonical import (
    content_id,
    encode,
    read_stored,
    same_content,
    settle,
    settled_amount,
)
from shopstream.domain.failures import Limits
from shopstream.domain.validation import read_event
from shopstream.events import EVENT_OF, Click, Event, Order, Rejection

NOW_US = 1_763_720_000_000_000
CLICK: dict[str, Any] = {
    "user_id": "u1",
    "event_type": "view",
    "timestamp": "2025-11-21T10:00:00Z",
}
ORDER: dict[str, Any] = {
    "order_id": "o1",
    "lines": [{"product_id": "p", "quantity": 2, "unit_price": 3, "sku": "S"}],
    "currency": "EUR",
    "status": "placed",
    "timestamp": "2025-11-21T10:00:00Z",
}
NOTHING_IGNORED = frozenset[str]()


def settled(raw: bytes, topic: str = "clicks") -> Event:
    event = read_event(topic, raw, NOW_US, Limits())
    assert not isinstance(event, Rejection), event.failures
    settle(event, raw)
    return event


def click(**fields: Any) -> Event:
    return settled(json.dumps(CLICK | fields).encode())


def test_times_are_utc_and_unknown_fields_are_under_extra() -> None:
    found = click(timestamp="2025-11-21T11:00:00+01:00", color="red", sizes=[1, 2])
    assert encode(found) == (
        b'{"user_id":"u1","event_type":"view","timestamp":"2025-11-21T10:00:00Z",'
        b'"extra":{"color":"red","sizes":[1, 2]}}'
    )


def test_unknown_fields_join_the_extra_that_was_sent() -> None:
    found = click(extra={"a": 1}, b=2)
    assert json.loads(encode(found))["extra"] == {"a": 1, "b": 2}
    clashing = click(extra={"a": 1, "c": 3}, a=2)
    kept = json.loads(encode(clashing))["extra"]
    assert kept == {"extra": {"a": 1, "c": 3}, "a": 2}, "nothing that was sent is lost"


def test_lines_of_an_order_keep_their_unknown_fields() -> None:
    found = settled(json.dumps(ORDER | {"channel": "web"}).encode(), "orders")
    assert isinstance(found, Order)
    kept = json.loads(encode(found))
    assert kept["extra"] == {"channel": "web"}
    assert kept["lines"][0]["extra"] == {"sku": "S"}


def test_an_unknown_value_that_no_reader_takes_is_kept_as_text() -> None:
    raw = json.dumps(CLICK).encode()[:-1] + b',"x":1e400,"y":[' + b"9" * 5_000 + b'],"z":1e4}'
    stored = encode(settled(raw))
    extra = json.loads(stored)["extra"]
    assert extra == {"x": "1e400", "y": "[" + "9" * 5_000 + "]", "z": 1e4}
    assert encode(read_stored(stored)) == stored.replace(b"1e4}", b"10000.0}")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("12.50", "12.50"),
        ("12", "12"),
        ("-0", "0"),
        ("0.000", "0"),
        ("-0.00001", "0"),
        ("1E+3", "1000"),
        ("1e-3", "0.001"),
        ("0.30000000000000004", "0.3"),
        ("0.00005", "0"),
        ("0.00015", "0.0002"),
        ("1.23455", "1.2346"),
        ("1.23445", "1.2344"),
        ("99999999999999.9999", "99999999999999.9999"),
        ("1e-999999", "0"),
    ],
)
def test_an_amount_has_at_most_four_decimals_and_no_exponent(written: str, kept: str) -> None:
    assert str(settled_amount(Decimal(written))) == kept


def test_the_order_of_keys_spaces_and_the_zone_make_no_other_event() -> None:
    same = [
        b'{"user_id":"u1","event_type":"view","timestamp":"2025-11-21T10:00:00Z","a":1,"b":"x"}',
        b'{ "b":"x","timestamp":"2025-11-21T11:00:00+01:00","a":1,"event_type":"view",\n'
        b'"user_id":"u1" }',
        b'{"user_id":"u1","event_type":"view","timestamp":"2025-11-21T10:00:00.000Z","extra":'
        b'{"b":"x","a":1}}',
    ]
    assert len({content_id(settled(raw)) for raw in same}) == 1


@pytest.mark.parametrize("price", ["12.5", '"12.5"', "1.25e1", "125e-1", '"12.5000001"'])
def test_how_a_known_amount_is_written_makes_no_other_event(price: str) -> None:
    raw = json.dumps(CLICK).encode()[:-1] + b',"price":' + price.encode() + b"}"
    assert content_id(settled(raw)) == content_id(click(price=12.5))


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "u2"},
        {"timestamp": "2025-11-21T10:00:00.000001Z"},
        {"price": 1},
        {"page": "/"},
        {"x": 1},
        {"x": "1"},
        {"extra": {"x": [1]}},
    ],
)
def test_any_other_content_makes_another_event(changed: dict[str, Any]) -> None:
    assert content_id(click(**changed)) != content_id(click())


def test_same_content_ignores_what_it_is_told_to() -> None:
    a, b = click(page="/a"), click(page="/b")
    assert not same_content(a, b, ignoring=NOTHING_IGNORED)
    assert same_content(a, b, ignoring=frozenset({"page"}))
    assert same_content(a, click(page="/a"), ignoring=NOTHING_IGNORED)


def test_same_content_sees_through_the_spelling_of_what_was_stored() -> None:
    raw = json.dumps(CLICK)[:-1] + ',"price":1.5,"x":{"b":1,"a":[2]}}'
    again = json.dumps(CLICK)[:-1] + ',"x":{ "a" : [2], "b" : 1 },"price":"1.50"}'
    stored = read_stored(encode(settled(raw.encode())))
    assert same_content(stored, settled(again.encode()), ignoring=NOTHING_IGNORED)


def test_same_content_tells_kinds_apart() -> None:
    order = settled(json.dumps(ORDER).encode(), "orders")
    assert not same_content(order, click(), ignoring=NOTHING_IGNORED)


def test_a_line_as_the_sender_wrote_it_is_read_as_canonical() -> None:
    raw = json.dumps(
        CLICK | {"event_id": "e", "price": "-0.0", "timestamp": "2025-11-21T11:00:00+01:00", "x": 1}
    ).encode()
    found = read_stored(raw)
    assert found.timestamp.tzinfo is UTC
    assert found.price is not None
    assert str(found.price) == "0"
    assert found.extra == {"x": msgspec.Raw(b"1")}


_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(max_size=5)
    | st.sampled_from([0.1, 1.5, -2.25, 1e300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
_amount = st.decimals(0, 10**9, places=4, allow_nan=False).map(str)
_click = st.fixed_dictionaries(
    {"user_id": st.just("u1"), "event_type": st.sampled_from(["view", "purchase"])}
    | {"timestamp": st.just("2024-02-29T23:59:59.5+05:30")},
    optional={
        "page": st.text(max_size=5),
        "price": _amount,
        "consent": st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
        "x": _plain,
        "é": _plain,
        "extra": st.dictionaries(st.text(max_size=3), _plain, max_size=2),
    },
)
_line = st.fixed_dictionaries(
    {"product_id": st.just("p"), "quantity": st.integers(1, 99)}
    | {"unit_price": st.decimals("0.0001", 10**6, places=4).map(str)},
    optional={"name": st.text(max_size=5), "line": st.integers(0, 9), "x": _plain},
)


def _written(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode(fields)


@given(fields=_click)
def test_reading_a_stored_click_gives_the_same_bytes_again(fields: dict[str, Any]) -> None:
    stored = encode(settled(_written(fields)))
    assert encode(settled(stored)) == encode(read_stored(stored)) == stored


@given(fields=_click, order=st.randoms())
def test_the_id_of_a_click_does_not_depend_on_the_order_of_its_keys(
    fields: dict[str, Any], order: Any
) -> None:
    shuffled = list(fields.items())
    order.shuffle(shuffled)
    assert content_id(settled(_written(fields))) == content_id(settled(_written(dict(shuffled))))


@given(lines=st.lists(_line, min_size=1, max_size=3), payload=_plain, x=_plain)
def test_reading_a_stored_order_gives_the_same_bytes_again(
    lines: list[dict[str, Any]], payload: Any, x: Any
) -> None:
    raw = _written(ORDER | {"lines": lines, "payload": payload, "x": x})
    stored = encode(settled(raw, "orders"))
    assert encode(settled(stored, "orders")) == stored
    assert encode(msgspec.json.decode(stored, type=Order)) == stored


def test_every_kind_of_event_has_a_canonical_form() -> None:
    carts = b'{"user_id":"u","product_id":"p","quantity":1,"timestamp":"2025-01-01T00:00:00Z"}'
    stock = b'{"product_id":"p","stock_on_hand":1,"timestamp":"2025-01-01T00:00:00Z"}'
    for topic, raw in (("carts", carts), ("stock", stock)):
        assert encode(settled(raw, topic)) == raw
    assert {type(settled(carts, "carts")), type(settled(stock, "stock")), Click, Order} == set(
        EVENT_OF.values()
    )
