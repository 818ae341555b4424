"""What travels in records and messages comes back as it was; whatever else comes is no error."""

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopstream.aws.wire import (
    INFLATED_BYTES_MAX,
    Raw,
    Record,
    as_text,
    claim_check,
    claim_name,
    from_text,
    new_record_id,
    pack,
    read,
)
from shopstream.collector.splitting import BodyLimits
from shopstream.errors import DataDirError
from shopstream.events import Entry, Rejection

RAW = Raw("clicks", "aws", 77, "seq-1", BodyLimits(1_000, 4_096))


def fetch_nothing(name: str) -> bytes:
    raise AssertionError(f"nobody asked for {name}")


def entry(*events: bytes, **values: Any) -> Entry:
    known: dict[str, Any] = {"topic": "clicks", "source": "http", "received_us": 1}
    return Entry(**known | {"units": len(events)} | values, events=list(events))


def rejections(records: list[Record]) -> list[Rejection]:
    [record] = records
    assert record.entry.dialect == "rejected"
    return [msgspec.json.decode(raw, type=Rejection) for raw in record.entry.events]


@given(
    st.lists(st.binary(max_size=50)),
    st.sampled_from(["clicks", "orders"]),
    st.binary(max_size=20),
    st.text(max_size=20),
    st.booleans(),
)
def test_a_record_comes_back_by_bytes_and_by_text(
    events: list[bytes], topic: str, context: bytes, origin: str, historical: bool
) -> None:
    sent = entry(*events, topic=topic, context=context, origin=origin, historical=historical)
    record = Record(new_record_id(), sent)
    packed = pack(record)
    assert read(packed, RAW, fetch_nothing) == [record]
    assert from_text(as_text(packed)) == packed
    as_text(packed).encode("ascii")


def test_what_repeats_takes_little_room() -> None:
    event = b'{"user_id":"u1","event_type":"view","timestamp":"2026-11-21T15:00:00Z"}'
    assert len(pack(Record("r", entry(*[event] * 100)))) < len(event) * 5


def test_a_claim_check_brings_the_record_from_the_lake() -> None:
    record = Record(new_record_id(), entry(b"x" * 100))
    files = {claim_name(record): pack(record)}
    check = claim_check(claim_name(record))
    assert read(check, RAW, files.__getitem__) == [record]
    assert from_text(as_text(check)) == check


def test_a_claim_check_of_what_is_gone_is_an_error_to_be_tried_again() -> None:
    def gone(name: str) -> bytes:
        raise DataDirError(f"{name} is missing")

    with pytest.raises(DataDirError, match="is missing"):
        read(claim_check("claims/x"), RAW, gone)
    with pytest.raises(DataDirError, match="is no record"):
        read(claim_check("claims/x"), RAW, lambda _: b"{}")


@pytest.mark.parametrize("name", ["config/keys.json", "../x", "", "archive/offers/a"])
def test_a_claim_check_opens_no_other_file(name: str) -> None:
    [refused] = rejections(read(claim_check(name), RAW, fetch_nothing))
    assert refused.failures[0].reason == "encoding"


def test_events_that_anybody_sends_are_taken_as_one_object_an_array_or_lines() -> None:
    a, b = b'{"user_id":"u1","n":1}', b'{"user_id":"u1","n":2}'
    for body, events in (
        (a, [a]),
        (b"[" + a + b"," + b + b"]", [a, b]),
        (a + b"\n" + b + b"\n", [a, b]),
        (b"\xef\xbb\xbf " + a, [a]),
    ):
        [record] = read(body, RAW, fetch_nothing)
        assert record.entry == entry(*events, source="aws", received_us=77)
        assert record.record_id == "seq-1"


def test_events_of_several_users_are_a_record_each_and_the_same_ones_again() -> None:
    events = [b'{"user_id":"u%d","n":%d}' % (n % 3, n) for n in range(7)]
    body = b"\n".join(events)
    found = read(body, RAW, fetch_nothing)
    assert [record.entry.events for record in found] == [events[0::3], events[1::3], events[2::3]]
    assert [record.record_id for record in found] == ["seq-1", "seq-1-1", "seq-1-2"]
    assert read(body, RAW, fetch_nothing) == found


def test_the_good_ones_among_bad_ones_are_kept() -> None:
    found = read(b'[{"user_id":"u1"},{"user_id":,},7]', RAW, fetch_nothing)
    assert found[0].entry.events == [b'{"user_id":"u1"}']
    assert [r.failures[0].reason for r in rejections(found[1:])] == ["json", "json"]
    assert len({record.record_id for record in found}) == 2


def test_lines_of_others_orders_are_units_where_lines_are_judged() -> None:
    raw = RAW._replace(topic="orders", on_bad_line="quarantine_line")
    [record] = read(b'{"order_id":"1","lines":[{},{},{}]}', raw, fetch_nothing)
    assert (record.entry.units, record.entry.on_bad_line) == (3, "quarantine_line")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "encoding"),
        (b" \n ", "encoding"),
        (b"hello", "json"),
        (b"\xff\xfe\x00", "encoding"),
        (b"{", "json"),
        (b"[]", "encoding"),
        (b"null", "json"),
        (b'{"a":' * 5_000, "json"),
        (b'{"user_id":"%s"}' % (b"x" * 5_000), "too_large"),
        (b"SE1", "encoding"),
        (b"SE1 not zlib", "encoding"),
        (b"SE1" + zlib.compress(b"no msgpack"), "encoding"),
        (b"SE1" + zlib.compress(msgspec.msgpack.encode(["id", ["clicks"]])), "encoding"),
        (b"SE1" + zlib.compress(b"x" * 1_000)[:-8], "encoding"),
        (b"SE1" + zlib.compress(bytes(INFLATED_BYTES_MAX + 1)), "encoding"),
        (b"[" + b",".join([b"{}"] * 1_001) + b"]", "encoding"),
    ],
)
def test_bad_bytes_are_a_rejection_with_the_bytes_kept(body: bytes, reason: str) -> None:
    [refused] = rejections(read(body, RAW, fetch_nothing))
    assert refused.failures[0].reason == reason
    assert refused.raw == body.strip(b" \n") or refused.raw == body
    assert len(refused.failures[0].value) <= 250


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    for text in (body, b"SE1" + body, b"[" + body, b"{" + body):
        for record in read(text, RAW, fetch_nothing):
            assert record.entry.events


@given(st.text(max_size=100))
def test_no_text_raises(text: str) -> None:
    for message in (text, f"SE1{text}"):
        assert read(from_text(message), RAW, fetch_nothing)


def test_no_two_records_have_one_id() -> None:
    assert len({new_record_id() for _ in range(1_000)}) == 1_000
