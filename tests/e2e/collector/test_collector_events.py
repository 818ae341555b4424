"""Events over HTTP: 200 means on disk, nothing is lost, one bad event spoils no other."""

from typing import Any

import msgspec
import pytest

CLICK = b'{"user_id":"u1","event_type":"view","timestamp":"2026-01-31T12:00:00Z","product_id":"p1"}'


def test_an_event_answered_with_200_is_in_the_log_byte_for_byte(collector: Any) -> None:
    answer = collector.post("/v1/events/clicks", CLICK)
    assert (answer.status_code, answer.json()) == (200, {"received": 1, "rejected": 0})
    (entry,) = collector.entries()
    assert entry.events == [CLICK]
    assert (entry.topic, entry.source, entry.dialect, entry.units) == (
        "clicks", "http", "shopstream", 1,
    )  # fmt: skip


@pytest.mark.parametrize("topic", ["clicks", "orders", "carts", "stock"])
def test_every_topic_takes_events(collector: Any, topic: str) -> None:
    assert collector.post(f"/v1/events/{topic}", {"any": "object"}).status_code == 200
    assert [e.topic for e in collector.entries()] == [topic]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b'[{"n":1},{"n":2}]', [b'{"n":1}', b'{"n":2}']),
        (b'{"n":1}\n{"n":2}\n', [b'{"n":1}', b'{"n":2}']),
        (b'{"n":1}\r\n\r\n{"n":2}\r\n', [b'{"n":1}', b'{"n":2}']),
        (b'{\n "n": 1\n}', [b'{\n "n": 1\n}']),
        (b' \n {"n":1} \n', [b'{"n":1}']),
        (b'\xef\xbb\xbf{"n":1}', [b'{"n":1}']),
        (b'[ {"n":1} , {"n":2} ]\n', [b'{"n":1}', b'{"n":2}']),
        ('{"n":"ü\u202e"}'.encode(), ['{"n":"ü\u202e"}'.encode()]),
    ],
    ids=["array", "lines", "crlf", "pretty", "spaces", "bom", "spaced array", "text"],
)
def test_objects_arrays_and_lines_are_taken_apart(
    collector: Any, body: bytes, events: list[bytes]
) -> None:
    answer = collector.post("/v1/events/clicks", body)
    assert answer.json() == {"received": len(events), "rejected": 0}
    assert collector.events() == events


@pytest.mark.parametrize("body", [b"", b"  \n ", b"[]", b"[ ]", b"\xef\xbb\xbf"])
def test_an_empty_body_is_refused_and_leaves_no_trace(collector: Any, body: bytes) -> None:
    answer = collector.post("/v1/events/clicks", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "empty")
    assert collector.entries() == []


UNREADABLE = {
    "null": b"null",
    "scalar": b"12.5",
    "string": b'"text"',
    "text": b"hello",
    "truncated": b'{"user_id": "u',
    "trailing comma": b'{"user_id":"u1",}',
    "NaN": b'{"price":NaN}',
    "deep object": b'{"a":' * 100_000,
    "deep array": b"[" * 100_000,
    "NUL": b"\0",
    "UTF-16": '{"user_id":"u1"}'.encode("utf-16"),
    "latin-1": b"\xfc",
    "control character": b'{"user_id":"\x01"}',
    "lone surrogate": b'{"user_id":"\\ud800 x"}',
    "csv": b"user_id,event_type\nu1,view\n",
    "form": b"data=%7B%7D",
    "xml": b"<?xml version='1.0'?><a/>",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_body_gets_400_and_is_kept_whole_as_rejected(
    collector: Any, body: bytes
) -> None:
    answer = collector.post("/v1/events/clicks", body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "message"}
    (rejection,) = collector.rejections()
    assert (rejection.raw, rejection.reason) == (body.strip(), answer.json()["code"])
    assert rejection.reason in ("json", "encoding")
    assert [e.units for e in collector.entries()] == [1]


ODD = {
    "duplicate keys": b'{"user_id":"a","user_id":"b"}',
    "1e400": b'{"price":1e400}',
    "5,000 digits": b'{"price":' + b"9" * 5_000 + b"}",
    "2^64": b'{"quantity":18446744073709551616}',
    "overlong UTF-8": b'{"user_id":"\xc0\x80"}',
    "bad UTF-8": b'{"user_id":"\xff"}',
    "10,000 fields": msgspec.json.encode({f"f{n}": n for n in range(4_000)}),
    "empty object": b"{}",
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD.keys())
def test_what_is_wrong_inside_an_object_is_left_to_validation(collector: Any, body: bytes) -> None:
    assert collector.post("/v1/events/clicks", body).status_code == 200
    assert collector.events() == [body]


@pytest.mark.parametrize(
    ("body", "good", "bad"),
    [
        (b'{"n":1}\n{"n":\n{"n":3}\n', [b'{"n":1}', b'{"n":3}'], [b'{"n":']),
        (b'[{"n":1},{"n":},{"n":3}]', [b'{"n":1}', b'{"n":3}'], [b'{"n":}']),
        (b'[{"n":1},{"n":2},{"n"', [b'{"n":1}', b'{"n":2}'], [b'{"n"']),
        (b'[{"n":1},]', [b'{"n":1}'], []),
        (b'[{"n":1},,{"n":2}]', [b'{"n":1}', b'{"n":2}'], [b","]),
        (b'[{"n":1}] [{"n":2}]', [b'{"n":1}'], [b'[{"n":2}]']),
        (b'[{"n":"]},{"},{"n":x}]', [b'{"n":"]},{"}'], [b'{"n":x}']),
        (b'[{"n":1},{"n":"a\\"},{"n":2}]', [b'{"n":1}'], [b'{"n":"a\\"},{"n":2}]']),
        (b'{"n":1}\n\xff\xfe\n', [b'{"n":1}'], [b"\xff\xfe"]),
    ],
    ids=[
        "line", "item", "cut off", "trailing comma", "nothing between commas", "two documents",
        "brackets in text", "unending text", "line of another encoding",
    ],
)  # fmt: skip
def test_a_broken_item_does_not_spoil_the_good_ones(
    collector: Any, body: bytes, good: list[bytes], bad: list[bytes]
) -> None:
    answer = collector.post("/v1/events/clicks", body)
    assert answer.status_code == 200
    assert answer.json() == {"received": len(good) + len(bad), "rejected": len(bad)}
    assert collector.events() == good
    assert [r.raw for r in collector.rejections()] == bad


def test_an_oversized_event_is_kept_as_rejected_and_its_neighbours_are_taken(
    start_collector: Any,
) -> None:
    collector = start_collector(event_bytes_max=200)
    big = b'{"extra":"' + b"x" * 200 + b'"}'
    for body in (b"[" + CLICK + b"," + big + b"]", CLICK + b"\n" + big):
        assert collector.post("/v1/events/clicks", body).json() == {"received": 2, "rejected": 1}
    assert collector.post("/v1/events/clicks", big).json() == {"received": 1, "rejected": 1}
    assert collector.events() == [CLICK, CLICK]
    assert [(r.reason, r.raw) for r in collector.rejections()] == [("too_large", big)] * 3


def test_a_batch_at_the_limit_passes_and_one_over_is_refused_whole(start_collector: Any) -> None:
    collector = start_collector(batch_events_max=3)
    for joined in (b"[%s]" % b",".join([CLICK] * 3), b"\n".join([CLICK] * 3)):
        assert collector.post("/v1/events/clicks", joined).json()["received"] == 3
    for joined in (b"[%s]" % b",".join([CLICK] * 4), b"\n".join([CLICK] * 4), b"[,,,,,"):
        answer = collector.post("/v1/events/clicks", joined)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_many")
    assert len(collector.events()) == 6


def test_hostile_bodies_are_taken_apart_in_one_pass(collector: Any) -> None:
    for body in (b"[" + b'"\\' * 1_000_000, b"[" + b"{[" * 1_000_000, b'[{"a":"' + b"\\" * 999_999):
        answer = collector.post("/v1/events/clicks", body)
        assert answer.status_code == 400
        assert answer.elapsed.total_seconds() < 5


def test_orders_count_lines_where_lines_are_judged_one_by_one(start_collector: Any) -> None:
    collector = start_collector(on_bad_line="quarantine_line")
    collector.post("/v1/events/orders", {"order_id": "o1", "lines": [{}, {}, {}]})
    (entry,) = collector.entries()
    assert (entry.units, entry.on_bad_line) == (3, "quarantine_line")


def test_another_dialect_is_named_in_the_query(collector: Any) -> None:
    for dialect in ("segment", "ga4", "shopstream"):
        answer = collector.post(f"/v1/events/clicks?dialect={dialect}", b'{"a":1}')
        assert answer.status_code == 200
    assert [e.dialect for e in collector.entries()] == ["segment", "ga4", "shopstream"]
    assert collector.post("/v1/events/clicks?dialect=x", b"{}").status_code == 400
    assert collector.post("/v1/events/orders?dialect=ga4", b"{}").status_code == 400


def test_an_unknown_topic_is_404_and_names_the_topics(collector: Any) -> None:
    answer = collector.post("/v1/events/click", CLICK)
    assert answer.status_code == 404
    assert "clicks, orders, carts, stock" in answer.json()["message"]


def test_concurrent_senders_share_commits_and_each_gets_its_own_answer(collector: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    bodies = [msgspec.json.encode({"n": n}) for n in range(200)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda b: collector.post("/v1/events/clicks", b), bodies))
    assert {a.status_code for a in answers} == {200}
    assert sorted(collector.events()) == sorted(bodies)
    assert len(collector.entries()) < 200
