"""Entries of the log -> lines of bronze: judged by validation, in canonical form, with a place."""

import base64
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.samples import (
    CART,
    CLICK,
    LIMITS,
    NOW_US,
    STOCK,
    as_json,
    click,
    click_with,
    order,
    order_of,
    read,
)
from tests.domain.test_validation import NOT_JSON, NOT_UTF8

from shopstream.domain import landing
from shopstream.domain.canonical import content_id, encode, settle
from shopstream.domain.landing import Extent, Landing, Range, arrival_hour, cut, file_name, land
from shopstream.events import Click, Entry, Failure, Order, Rejection

FULL = {
    "event_id": "e1",
    "session_id": "s1",
    "page": "/p/1",
    "product_id": "p1",
    "device_type": "mobile",
    "price": 12.5,
    "quantity": 2,
    "currency": "EUR",
    "category": "Garden",
    "consent": {"ads": False},
}


def entry(*raws: bytes, topic: str = "clicks", **facts: Any) -> Entry:
    known: dict[str, Any] = {"source": "http", "received_us": NOW_US, "units": len(raws)}
    return Entry(topic=topic, events=list(raws), **known | facts)


def landed(one: Entry, position: int = 0) -> Landing:
    found = land(one, position, LIMITS)
    for lines in found.lines.values():
        assert len(lines.each()) == lines.rows == lines.text.count(b"\n")
        assert lines.text.endswith(b"}\n")
    return found


def lines(found: Landing, topic: str = "clicks") -> list[dict[str, Any]]:
    return [json.loads(line, parse_float=Decimal) for line in texts(found, topic)]


def texts(found: Landing, topic: str) -> list[bytes]:
    return found.lines[topic].each() if topic in found.lines else []


def only(one: Entry, topic: str = "clicks") -> dict[str, Any]:
    (line,) = lines(landed(one), topic)
    return line


def test_a_click_lands_with_its_place_its_arrival_and_its_source() -> None:
    found = landed(entry(click(**FULL), source="simulate", historical=True), 123)
    assert lines(found) == [
        {
            "position": 123,
            "n": 0,
            "received_at": "2025-11-21T10:13:20.000000Z",
            "source": "simulate",
            "historical": True,
        }
        | CLICK
        | FULL
    ]
    assert found.tally == {("clicks", "simulate", ""): 1}
    assert found.days == {"clicks": {"2025-11-21"}}


def test_positions_count_all_events_of_an_entry_good_ones_and_bad_ones() -> None:
    bad = click(price=-1)
    found = landed(entry(click(event_id="a"), bad, b"{", click(event_id="b"), b"[]"), 10)
    assert [(line["position"], line["event_id"]) for line in lines(found)] == [(10, "a"), (13, "b")]
    assert [line["position"] for line in lines(found, "quarantine")] == [11, 12, 14]
    assert found.tally == {
        ("clicks", "http", ""): 2,
        ("clicks", "http", "price"): 1,
        ("clicks", "http", "json"): 2,
    }


def test_those_taken_alone_are_put_back_into_the_order_of_positions() -> None:
    raws = [click(event_id=f"e{n}", **({"x": n} if n % 3 else {})) for n in range(10)]
    found = lines(landed(entry(*raws)))
    assert [line["event_id"] for line in found] == [f"e{n}" for n in range(10)]
    assert [line["position"] for line in found] == list(range(10))


def test_unknown_fields_are_kept_under_extra_as_they_were() -> None:
    found = only(entry(click(position=7, source="mine", extra={"a": 1})))
    assert found["position"] == 0
    assert found["source"] == "http"
    assert found["extra"] == {"a": 1, "position": 7, "source": "mine"}


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("12.50", "12.50"),
        ("1e2", "100"),
        ("-0", "0"),
        ("0.00", "0"),
        ("0.1000", "0.1000"),
        ("1.00005", "1"),
        ('"7.5"', "7.5"),
        ("12345678901.2345", "12345678901.2345"),
        # More digits than a double holds: as text, which every reader takes as it is.
        ("123456789012.3456", '"123456789012.3456"'),
        ("99999999999999.9999", '"99999999999999.9999"'),
    ],
)
def test_amounts_land_with_at_most_four_decimals(written: str, kept: str) -> None:
    line = land(entry(click_with(f'"price":{written}')), 0, LIMITS).lines["clicks"].each()[0]
    assert f'"price":{kept}'.encode() in line


def test_a_field_that_is_null_is_not_there() -> None:
    raw = click(price=None, currency=None, session_id=None, extra=None)
    first, second = lines(landed(entry(raw, click(price=1))))
    assert not {"price", "currency", "session_id", "extra"} & set(first)
    assert second["price"] == 1


def test_times_land_in_utc_and_days_are_those_of_the_events() -> None:
    times = ["2025-11-21T01:00:00+02:00", "2025-11-20T23:59:59.5Z", "2025-11-21T00:00:00Z"]
    found = landed(entry(*(click(timestamp=time, event_id=time) for time in times)))
    assert [line["timestamp"] for line in lines(found)] == [
        "2025-11-20T23:00:00Z",
        "2025-11-20T23:59:59.500000Z",
        "2025-11-21T00:00:00Z",
    ]
    assert found.days["clicks"] == {"2025-11-20", "2025-11-21"}


def test_an_event_without_an_id_gets_the_one_that_the_tables_know_it_by() -> None:
    found = read(raw := click(price=1.5, page="/ü"))
    assert isinstance(found, Click)
    settle(found, raw)
    assert only(entry(raw))["event_id"] == content_id(found)
    plain = read(raw := click(price=1.5))
    assert isinstance(plain, Click)
    settle(plain, raw)
    first, second = lines(landed(entry(raw, click(event_id="mine"))))
    assert (first["event_id"], second["event_id"]) == (content_id(plain), "mine")


@pytest.mark.parametrize(("topic", "event"), [("carts", CART), ("stock", STOCK)])
def test_cart_lines_and_stock_levels_land_with_an_id(topic: str, event: dict[str, Any]) -> None:
    found = landed(entry(as_json(event), topic=topic), 5)
    (line,) = lines(found, topic)
    assert len(line.pop("event_id")) == 32
    assert line.items() >= event.items() - {("reorder_level", 0)}
    assert found.tally == {(topic, "http", ""): 1}


def test_an_order_lands_under_the_source_that_its_id_belongs_to() -> None:
    found = landed(
        entry(order(payload={"a": [1]}), topic="orders", identity="erp", source="load:x")
    )
    (line,) = lines(found, "orders")
    assert (line["source"], line["order_id"], line["amount"]) == ("erp", "o1", 6)
    assert line["payload"] == {"a": [1]}
    assert "by_line" not in line
    assert found.tally == {("orders", "load:x", ""): 1}


def test_an_order_judged_by_line_lands_its_good_lines_and_each_bad_one() -> None:
    raw = order_of(
        {"line": 1}, {"line": 2, "quantity": 0}, {"line": 3}, {"line": 4, "unit_price": 0}
    )
    found = landed(entry(raw, topic="orders", on_bad_line="quarantine_line"), 40)
    (good,) = lines(found, "orders")
    assert good["by_line"] is True
    assert [line["line"] for line in good["lines"]] == [1, 3]
    bad = lines(found, "quarantine")
    assert [(b["position"], b["n"], b["line"]) for b in bad] == [(40, 1, 2), (40, 2, 4)]
    assert found.tally == {
        ("orders", "http", ""): 2,
        ("orders", "http", "quantity"): 1,
        ("orders", "http", "price"): 1,
    }


def test_a_segment_message_makes_a_click_and_an_order_numbered_from_0() -> None:
    product = {"product_id": "p1", "name": "Uno", "price": 3, "quantity": 2}
    message = {
        "type": "track",
        "messageId": "m1",
        "userId": "u1",
        "event": "Order Completed",
        "timestamp": "2025-11-21T10:00:00Z",
        "properties": {"order_id": "o1", "currency": "EUR", "products": [product]},
    }
    unreadable = {"type": "track", "userId": "u1"}
    found = landed(entry(as_json(message), as_json(unreadable), dialect="segment", lines=[]), 8)
    events = [
        (topic, line["position"], line["n"])
        for topic in ("clicks", "orders")
        for line in lines(found, topic)
    ]
    assert sorted((position, n) for _, position, n in events) == [
        (8, n) for n in range(len(events))
    ]
    assert {topic for topic, *_ in events} == {"clicks", "orders"}
    (bad,) = lines(found, "quarantine")
    assert (bad["position"], bad["n"], bad["topic"]) == (9, 0, "clicks")
    assert base64.b64decode(bad["raw"]) == as_json(unreadable)


def test_a_rejected_event_lands_with_all_its_failures_and_its_bytes() -> None:
    raw = as_json({"user_id": "", "event_type": "look", "timestamp": "yesterday"})
    (line,) = lines(landed(entry(raw, lines=[17], origin="a.csv"), 3), "quarantine")
    assert [failure["field"] for failure in line["failures"]] == [
        "user_id",
        "event_type",
        "timestamp",
    ]
    assert set(line["failures"][0]) == {"reason", "field", "value", "wanted"}
    assert base64.b64decode(line["raw"]) == raw
    known = {"position": 3, "n": 0, "source": "http", "topic": "clicks", "line": 17}
    assert line.items() >= (known | {"origin": "a.csv", "units": 1, "reason": "missing"}).items()
    assert line["received_at"] == "2025-11-21T10:13:20.000000Z"


def test_what_could_not_be_taken_apart_on_the_way_in_is_rejected_as_it_was() -> None:
    rejection = Rejection(
        topic="orders",
        failures=[Failure("columns", "line", "x", "3 columns")],
        raw=b"\xff",
        units=3,
    )
    raw = msgspec.json.encode(rejection)
    found = landed(entry(raw, topic="orders", dialect="rejected", source="load:x", lines=[9]))
    (line,) = lines(found, "quarantine")
    assert (line["line"], line["units"], line["topic"]) == (9, 3, "orders")
    assert found.tally == {("orders", "load:x", "columns"): 3}


def test_marks_of_replays_hold_a_position_and_land_nowhere() -> None:
    assert landed(entry(b"0-1", b"0-2", dialect="resolved")) == Landing({}, {}, Counter())


def test_an_event_that_makes_the_code_fail_is_poison_and_its_neighbours_land(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails_at_one(event: Any, raw: bytes) -> None:
        if event.event_id == "boom":
            raise RuntimeError("bang")
        settle(event, raw)

    monkeypatch.setattr(landing, "settle", fails_at_one)
    raws = [click(event_id=name, x=1) for name in ("a", "boom", "c")]
    found = landed(entry(*raws, lines=[1, 2, 3]), 100)
    assert [(line["position"], line["event_id"]) for line in lines(found)] == [
        (100, "a"),
        (102, "c"),
    ]
    (bad,) = lines(found, "quarantine")
    assert (bad["position"], bad["reason"], bad["line"]) == (101, "poison", 2)
    assert "RuntimeError: bang" in bad["failures"][0]["wanted"]
    assert found.tally == {("clicks", "http", ""): 2, ("clicks", "http", "poison"): 1}


HOSTILE = {
    **NOT_JSON,
    **NOT_UTF8,
    "good": click(),
    "good and full": click(**FULL),
    "true as an amount": click(price=True),
    "an amount as text": click(price="12.5"),
    "an amount as a word": click(price="twelve"),
    "an amount in fullwidth digits": click(price="１２"),
    "an amount in escaped fullwidth digits": click_with('"price":"\\uff11"'),
    "an amount with an escape": click_with('"price":"1\\u0032"'),
    "a negative amount": click(price=-0.01),
    "1e400": click_with('"price":1e400'),
    "1e400 in an unknown field": click_with('"x":1e400'),
    "a huge amount": click_with('"price":100000000000000'),
    "a 5,000-digit integer": click_with('"price":' + "9" * 5_000),
    "a 5,000-digit integer in an unknown field": click_with('"x":' + "9" * 5_000),
    "2^63": click_with(f'"quantity":{2**63}'),
    "2^64 in an unknown field": click_with(f'"x":{2**64}'),
    "an object as an amount": click_with('"price":{"a":[1,2]}'),
    "an unknown currency": click(currency="XXX1"),
    "a currency in lower case": click(currency="eur"),
    "an empty id": click(event_id=""),
    "an id of 256 bytes": click(event_id="x" * 256),
    "an id of 257 bytes": click(event_id="x" * 257),
    "an id of 200 characters and 400 bytes": click(event_id="ü" * 200),
    "an id with a control character": click(event_id="a\x1b[31m"),
    "an id with a delete character": click(event_id="a\x7f"),
    "an id of ours": click(event_id="shopstream:cart:1"),
    "a user that is ours": click(user_id="shopstream:x"),
    "bidi characters in an id": click(event_id="a\u202eb"),
    "bidi characters in a page": click(page="a\u202eb"),
    "a tag in a page": click(page="<img onerror=alert(1)>"),
    "10,000 unknown fields": as_json(CLICK | {f"x{n}": n for n in range(10_000)}),
    "nested 101 deep": click_with('"x":' + "[" * 101 + "]" * 101),
    "nested 101 deep in extra": click_with('"extra":{"x":' + "[" * 101 + "]" * 101 + "}"),
    "nested 50 deep": click_with('"x":' + "[" * 50 + "]" * 50),
    "a key twice": click_with('"price":1,"price":2'),
    "an unknown key twice": click_with('"x":1,"x":2'),
    "space around": b" \n" + click(price=1).replace(b":", b" : ") + b"\n ",
    "no zone": click(timestamp="2025-11-21T10:00:00"),
    "30 February": click(timestamp="2025-02-30T10:00:00Z"),
    "second 60": click(timestamp="2025-11-21T10:00:60Z"),
    "the year 1": click(timestamp="0001-01-01T00:00:00Z"),
    "before the year 1": click(timestamp="0001-01-01T00:00:00+01:00"),
    "the year 9999": click(timestamp="9999-12-31T23:59:59Z"),
    "after the year 9999": click(timestamp="9999-12-31T23:59:59-01:00"),
    "epoch seconds": click(timestamp=1_763_719_200),
    "ten years ahead": click(timestamp="2035-11-21T10:00:00Z"),
    "five minutes ahead": click(timestamp="2025-11-21T10:18:20Z"),
    "more than five minutes ahead": click(timestamp="2025-11-21T10:18:20.000001Z"),
    "nine digits of a second": click(timestamp="2025-11-21T10:00:00.123456789Z"),
}


def expected(raw: bytes) -> dict[str, Any] | list[Failure]:
    """What must land, by validation and canonical form alone: the event, or why not."""
    found = read(raw)
    if isinstance(found, Rejection):
        return found.failures
    settle(found, raw)
    if isinstance(found, Click) and found.event_id is None:
        found.event_id = content_id(found)
    assert not isinstance(found, Order)
    event: dict[str, Any] = msgspec.json.decode(encode(found))
    return event


def told(found: Landing) -> dict[int, dict[str, Any] | list[Failure]]:
    """What has landed, by position."""
    there: dict[int, dict[str, Any] | list[Failure]] = {}
    for line in texts(found, "clicks"):
        event = msgspec.json.decode(line)
        for name in ("n", "received_at", "source", "historical"):
            del event[name]
        there[event.pop("position")] = event
    for line in texts(found, "quarantine"):
        refused = msgspec.json.decode(line)
        there[refused["position"]] = msgspec.convert(refused["failures"], list[Failure])
    return there


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_input_lands_as_validation_judges_it_alone_and_in_company(raw: bytes) -> None:
    assert told(landed(entry(raw))) == {0: expected(raw)}
    company = click(**FULL)
    found = landed(entry(company, raw, company))
    assert told(found) == {0: expected(company), 1: expected(raw), 2: expected(company)}


@given(st.lists(st.sampled_from(list(HOSTILE.values())), max_size=30), st.integers(0, 2**60))
def test_any_mixture_lands_each_event_as_if_it_were_alone(raws: list[bytes], at: int) -> None:
    found = landed(entry(*raws), at)
    assert told(found) == {at + n: expected(raw) for n, raw in enumerate(raws)}
    assert sum(found.tally.values()) == len(raws)
    places = [line["position"] for line in lines(found)]
    assert places == sorted(places)


@pytest.mark.parametrize("topic", ["orders", "carts", "stock"])
@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_input_of_other_topics_is_accepted_or_rejected(topic: str, raw: bytes) -> None:
    found = landed(entry(raw, topic=topic))
    verdict = read(raw, topic)
    kept = "quarantine" if isinstance(verdict, Rejection) else topic
    assert set(found.lines) == {kept}
    assert sum(found.tally.values()) == 1


def test_files_are_named_by_topic_arrival_and_positions() -> None:
    hour = arrival_hour(NOW_US)
    assert hour == "2025-11-21T10"
    name = "00000000000000000005-00000000000000000011.json.zst"
    assert file_name("clicks", hour, 5, 12) == f"bronze/clicks/dt=2025-11-21/hour=10/{name}"


HOUR_US = 3_600_000_000


@pytest.mark.parametrize(
    ("rows", "ranges"),
    [
        ([], []),
        ([Extent(5, 9, 1, 10)], [(5, 9)]),
        ([Extent(0, 4, 1, 1), Extent(4, 8, 2, 1), Extent(8, 11, 3, 1)], [(0, 8), (8, 11)]),
        ([Extent(0, 99, 1, 1), Extent(99, 100, 2, 1)], [(0, 99), (99, 100)]),
        ([Extent(0, 1, 1, 60), Extent(1, 2, 2, 60), Extent(2, 3, 2, 40)], [(0, 1), (1, 3)]),
        ([Extent(0, 1, HOUR_US - 1, 1), Extent(1, 2, HOUR_US, 1)], [(0, 1), (1, 2)]),
        ([Extent(0, 1, HOUR_US, 1), Extent(1, 2, 1, 1), Extent(2, 3, 2, 1)], [(0, 1), (1, 3)]),
    ],
)
def test_ranges_hold_whole_rows_of_one_hour_and_not_too_much(
    rows: list[Extent], ranges: list[tuple[int, int]]
) -> None:
    assert cut(rows, events_max=10, bytes_max=100) == [Range(*one) for one in ranges]
