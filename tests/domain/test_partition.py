"""Which shard an event goes to: the same for all that belongs together, whoever asks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopstream.domain.dialects import read_ga4, read_segment
from shopstream.domain.partition import partition_key, shard_of_key, split
from shopstream.events import Entry


@pytest.mark.parametrize(
    ("topic", "dialect", "raw", "key"),
    [
        ("clicks", "shopstream", b'{"user_id":"u1","product_id":"p"}', "u1"),
        ("carts", "shopstream", b'{"user_id":"u1","product_id":"p"}', "u1"),
        ("orders", "shopstream", b'{"order_id":"o1","customer_id":"u1"}', "u1"),
        ("orders", "shopstream", b'{"order_id":"o1"}', "o1"),
        ("orders", "shopstream", b'{"order_id":"o1","customer_id":null}', "o1"),
        ("stock", "shopstream", b'{"product_id":"p1","user_id":"u1"}', "p1"),
        ("clicks", "segment", b'{"userId":"u1","anonymousId":"a1"}', "u1"),
        ("clicks", "segment", b'{"anonymousId":"a1"}', "a1"),
        ("clicks", "segment", b'{"userId":null,"anonymousId":"a1"}', "a1"),
        ("clicks", "ga4", b'{"client_id":"c1"}', "c1"),
        ("clicks", "ga4", b'{"client_id":"c1","user_id":"u1"}', "u1"),
        # Fields that a topic doesn't know may hold anything.
        ("clicks", "shopstream", b'{"user_id":"u1","customer_id":{},"client_id":[]}', "u1"),
        ("orders", "shopstream", b'{"customer_id":"u1","user_id":{},"product_id":true}', "u1"),
        ("stock", "shopstream", b'{"product_id":"p1","order_id":[1],"user_id":false}', "p1"),
    ],
)
def test_an_event_goes_by_whom_it_is_about(topic: str, dialect: str, raw: bytes, key: str) -> None:
    assert partition_key(topic, dialect, raw) == key


@pytest.mark.parametrize("number", [b"7", b"1.10", b"12345678901234567890123", b"1e3"])
def test_an_id_sent_as_a_number_is_the_user_that_it_is_read_as(number: bytes) -> None:
    segment = b'{"type":"page","messageId":"m","userId":%b}' % number
    ga4 = b'{"client_id":%b,"events":[{"name":"page_view","params":{}}]}' % number
    for dialect, raw, read in (("segment", segment, read_segment), ("ga4", ga4, read_ga4)):
        [(_, click)] = read(raw, b"", 1_700_000_000_000_000)
        assert partition_key("clicks", dialect, raw) == partition_key("clicks", "shopstream", click)


@pytest.mark.parametrize("dialect", ["shopstream", "segment", "ga4"])
@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b"{}", b'{"user_id":[]}', b"\xff", b'{"user_id":"\xff"}']
)
def test_what_names_nobody_goes_to_the_first_shard(dialect: str, raw: bytes) -> None:
    assert partition_key("clicks", dialect, raw) == ""
    assert shard_of_key("", 8) == 0


def test_the_shard_of_a_key_never_changes() -> None:
    """These numbers are in every data directory that was ever made: crc32 of the UTF-8 bytes."""
    assert [shard_of_key(key, 8) for key in ("u1", "u2", "u10", "é", "用户")] == [6, 4, 7, 6, 5]
    assert shard_of_key("u1", 1) == 0


def test_keys_spread_over_the_shards() -> None:
    counts = [0] * 4
    for n in range(4_000):
        counts[shard_of_key(f"user-{n}", 4)] += 1
    assert min(counts) > 900


@given(raw=st.binary(max_size=40), topic=st.sampled_from(["clicks", "orders", "stock"]))
def test_any_bytes_have_a_shard(raw: bytes, topic: str) -> None:
    for dialect in ("shopstream", "segment", "ga4"):
        assert 0 <= shard_of_key(partition_key(topic, dialect, raw), 3) < 3


def test_an_id_that_no_text_can_hold_has_a_shard_too() -> None:
    assert 0 <= shard_of_key("\ud800", 4) < 4


def test_splitting_keeps_everything_but_the_events_of_others() -> None:
    facts: dict[str, Any] = {
        "source": "load:x",
        "origin": "f.csv",
        "watermark_us": 5,
        "context": b"{}",
        "historical": True,
    }
    events = [b'{"user_id":"u%d"}' % n for n in range(20)]
    entry = Entry(
        topic="clicks", events=events, received_us=1, units=20, lines=list(range(20)), **facts
    )
    parts = split(entry, 3)
    assert sorted(raw for part in parts if part for raw in part.events) == sorted(events)
    for part in parts:
        assert part is not None
        assert [events[line] for line in part.lines] == part.events
        for name, value in facts.items():
            assert getattr(part, name) == value


def test_a_shard_without_events_gets_no_entry_and_one_with_all_gets_it_untouched() -> None:
    entry = Entry(
        topic="clicks", events=[b'{"user_id":"u1"}'] * 3, source="http", received_us=1, units=3
    )
    parts = split(entry, 4)
    assert [part is not None for part in parts].count(True) == 1
    assert parts[shard_of_key("u1", 4)] is entry
