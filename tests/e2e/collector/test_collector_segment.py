"""SDKs that speak Segment's HTTP API: recordings replayed, and two real SDKs sending."""

import base64
import gzip
from typing import Any

import msgspec
import pytest

PAGE = {"type": "page", "messageId": "m1", "anonymousId": "a1"}


def as_sent(request: dict[str, Any]) -> bytes:
    if request.get("body_base64"):
        return base64.b64decode(request["body_base64"])
    if request.get("body_text"):
        return str(request["body_text"]).encode()
    return msgspec.json.encode(request["body_json"]) if request["body_json"] else b""


def requests_of(recording: dict[str, Any]) -> list[dict[str, Any]]:
    return list(recording["requests_when_answered_200"])


def messages_of(recording: dict[str, Any]) -> int:
    bodies = [r["body_json"] for r in requests_of(recording) if r["body_json"]]
    return sum(len(b["batch"]) if "batch" in b else 1 for b in bodies)


def test_every_recorded_request_is_answered_with_200(
    collector: Any, sdk_recordings: list[dict[str, Any]]
) -> None:
    assert len(sdk_recordings) >= 7
    for recording in sdk_recordings:
        for request in requests_of(recording):
            kept = ("content-length", "transfer-encoding", "host", "connection")
            headers = [(n, v) for n, v in request["headers"] if n.lower() not in kept]
            answer = collector.client.request(
                request["method"], request["path"], content=as_sent(request), headers=headers
            )
            assert answer.status_code == 200, (recording["sdk"], request["path"], answer.text)
            if request["method"] == "POST":
                assert answer.json() == {"success": True}
    assert collector.rejections() == []
    assert len(collector.events()) == sum(map(messages_of, sdk_recordings))
    assert {(e.topic, e.dialect) for e in collector.entries()} == {("clicks", "segment")}


def test_a_batch_is_taken_apart_and_keeps_its_envelope(collector: Any) -> None:
    batch = {
        "batch": [PAGE, {**PAGE, "messageId": "m2"}],
        "context": {"locale": "de"},
        "sentAt": "2026-01-31T12:00:00Z",
        "writeKey": "any",
    }
    assert collector.post("/v1/batch", batch).json() == {"success": True}
    (entry,) = collector.entries()
    assert [msgspec.json.decode(raw)["messageId"] for raw in entry.events] == ["m1", "m2"]
    assert msgspec.json.decode(entry.context) == {
        "context": {"locale": "de"},
        "sentAt": "2026-01-31T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        *((n, n) for n in ("track", "page", "identify", "screen", "group", "alias")),
        *(("t", "track"), ("p", "page"), ("i", "identify")),
    ],
)
def test_a_message_without_a_type_gets_that_of_its_address(
    collector: Any, path: str, type_: str
) -> None:
    assert collector.post(f"/v1/{path}", {"userId": "u1"}).status_code == 200
    assert collector.post(f"/v1/{path}", {"userId": "u1", "type": "page"}).status_code == 200
    first, second = map(msgspec.json.decode, collector.events())
    assert first == {"userId": "u1", "type": type_}
    assert second["type"] == "page"


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track"])
@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"null", b'{"batch":5', b"\xff", b"hello"])
def test_an_unreadable_message_gets_400_with_code_and_message_and_is_kept(
    collector: Any, path: str, body: bytes
) -> None:
    answer = collector.post(path, body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "message"}
    assert [r.raw for r in collector.rejections()] == [body]


def test_a_batch_without_a_list_or_messages_gets_400(collector: Any) -> None:
    bodies: list[dict[str, Any]] = [{}, {"batch": {}}, {"batch": "x"}]
    for body in bodies:
        assert collector.post("/v1/b", body).status_code == 400
    assert len(collector.rejections()) == 3
    assert collector.post("/v1/b", {"batch": []}).json()["code"] == "empty"
    assert collector.post("/v1/b", b"").json()["code"] == "empty"


def test_items_that_are_no_messages_are_left_to_validation(collector: Any) -> None:
    assert collector.post("/v1/batch", {"batch": [PAGE, 5, None, "x", []]}).status_code == 200
    assert len(collector.events()) == 5


def test_an_oversized_message_is_kept_as_rejected_and_the_others_are_taken(
    start_collector: Any,
) -> None:
    collector = start_collector(event_bytes_max=1_000, batch_events_max=2)
    big = {**PAGE, "properties": {"x": "y" * 1_000}}
    assert collector.post("/v1/batch", {"batch": [PAGE, big]}).json() == {"success": True}
    assert len(collector.events()) == 1
    assert [r.reason for r in collector.rejections()] == ["too_large"]
    assert collector.post("/v1/batch", {"batch": [PAGE] * 3}).status_code == 413


def test_a_browser_is_told_before_and_after_what_it_may_do(collector: Any) -> None:
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,anonymousid",
    }
    for path in ("/v1/b", "/v1/t", "/v1/events/clicks"):
        answer = collector.client.options(path, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert answer.headers["access-control-allow-headers"] == "authorization,anonymousid"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert int(answer.headers["access-control-max-age"]) > 0
        for body in (b"{}", b""):
            sent = collector.post(path, body, headers={"Origin": "https://shop.example"})
            assert sent.headers["access-control-allow-origin"] == "https://shop.example"
            assert sent.headers["access-control-expose-headers"] == "Retry-After"


def test_only_the_origins_in_the_setting_are_allowed(start_collector: Any) -> None:
    collector = start_collector(cors_origins="https://a.example, https://b.example")
    for origin, allowed in (("https://b.example", True), ("https://c.example", False)):
        answer = collector.client.options("/v1/b", headers={"Origin": origin})
        assert ("access-control-allow-origin" in answer.headers) == allowed
    assert "access-control-allow-origin" not in collector.post("/v1/b", b"{}").headers


def test_look_ups_are_not_for_other_origins(collector: Any) -> None:
    answer = collector.client.get("/v1/users/u1/offers", headers={"Origin": "https://a.example"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("zipped", [False, True])
def test_the_real_segment_sdk_delivers_every_message(collector: Any, zipped: bool) -> None:
    from segment.analytics.client import Client  # type: ignore[import-untyped] # ships no types

    errors: list[Exception] = []
    client = Client(
        "key",
        host=f"http://127.0.0.1:{collector.port}",
        gzip=zipped,
        on_error=lambda error, _: errors.append(error),
        max_retries=1,
    )
    for n in range(5):
        client.track("u1", "Product Viewed", {"product_id": f"p{n}"})
    client.identify("u1", {"plan": "free"})
    client.page("u1", "shop", "home")
    client.shutdown()
    assert errors == []
    sent = [msgspec.json.decode(raw)["type"] for raw in collector.events()]
    assert sorted(sent) == ["identify", "page", *["track"] * 5]


def test_the_real_rudderstack_sdk_delivers_every_message(collector: Any) -> None:
    from rudderstack.analytics.client import Client  # type: ignore[import-untyped] # no types

    errors: list[Exception] = []
    client = Client(
        "key",
        host=f"http://127.0.0.1:{collector.port}",
        on_error=lambda error, _: errors.append(error),
        max_retries=1,
    )
    for n in range(5):
        client.track("u1", "Order Completed", {"order_id": f"o{n}"})
    client.shutdown()
    assert errors == []
    assert len(collector.events()) == 5


def test_gzipped_singles_are_taken(collector: Any) -> None:
    body = gzip.compress(msgspec.json.encode(PAGE))
    assert collector.post("/v1/p", body).json() == {"success": True}
    assert [msgspec.json.decode(raw) for raw in collector.events()] == [PAGE]
