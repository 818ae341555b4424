"""Who may write and read: keys in every place an SDK puts them, bound to topics, revocable."""

import base64
import gzip
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from shopstream.errors import ConfigError
from shopstream.keys import add_key, revoke_key

NOW = datetime(2026, 1, 31, tzinfo=UTC)
CLICK = {"user_id": "u1"}


def basic(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:".encode()).decode()}


def test_without_a_key_a_collector_on_loopback_takes_any_key_and_says_so(collector: Any) -> None:
    assert collector.post("/v1/events/clicks", CLICK).status_code == 200
    assert collector.post("/v1/events/clicks", CLICK, headers=basic("x")).status_code == 200
    assert collector.server.collector.access.open


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "shop.example"])
def test_without_a_key_it_does_not_start_where_others_can_reach_it(
    start_collector: Any, host: str
) -> None:
    with pytest.raises(ConfigError, match="there is no write key; make one with"):
        start_collector(host=host)


def test_a_write_key_is_taken_from_every_place_that_sdks_use(start_collector: Any) -> None:
    collector = start_collector(add_keys=[{"kind": "write"}])
    (key,) = collector.secrets
    for headers in (basic(key), {"Authorization": f"Bearer {key}"}, {"X-Write-Key": key}):
        for path in ("/v1/events/clicks", "/v1/track", "/v1/validate/clicks"):
            assert collector.post(path, CLICK, headers=headers).status_code == 200
    assert collector.post(f"/v1/events/clicks?writeKey={key}", CLICK).status_code == 200
    assert collector.post("/v1/t", {**CLICK, "writeKey": key}).status_code == 200
    assert collector.post("/v1/batch", {"batch": [CLICK], "writeKey": key}).status_code == 200
    assert collector.post("/v1/batch", {"batch": [{"writeKey": key}]}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/events/clicks", "/v1/track", "/v1/batch", "/v1/validate/clicks"]
)
def test_no_key_and_a_wrong_key_get_401_and_leave_no_trace(start_collector: Any, path: str) -> None:
    collector = start_collector(add_keys=[{"kind": "write"}])
    for headers in (
        {},
        basic("wrong"),
        basic(""),
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic"},
        {"Authorization": "Digest x"},
        {"X-Write-Key": "wrong"},
        basic(collector.secrets[0] + "x"),
        {"Authorization": f"Bearer {collector.secrets[0][:-1]}"},
    ):
        for body in (CLICK, b"{broken", b"\x1f\x8bbroken", gzip.compress(b"{broken")):
            answer = collector.post(path, body, headers=headers)
            assert answer.status_code == 401, headers
            assert answer.json()["code"] == "unauthorized"
            assert "www-authenticate" in answer.headers
    assert collector.post(f"{path}?writeKey=wrong", CLICK).status_code == 401
    assert collector.entries() == []


def test_one_item_with_a_wrong_key_refuses_its_batch(start_collector: Any) -> None:
    collector = start_collector(add_keys=[{"kind": "write"}])
    (key,) = collector.secrets
    batches: list[list[Any]] = [
        [{"writeKey": key}, {"writeKey": "x"}], [{"writeKey": key}, {}], [{}], [5], [],
    ]  # fmt: skip
    for items in batches:
        assert collector.post("/v1/batch", {"batch": items}).status_code == 401
    assert collector.entries() == []


def test_a_key_writes_only_to_the_topics_it_is_bound_to(start_collector: Any) -> None:
    collector = start_collector(add_keys=[{"kind": "write", "topics": ["clicks", "carts"]}])
    headers = basic(collector.secrets[0])
    statuses = {
        path: collector.post(path, CLICK, headers=headers).status_code
        for path in ("/v1/events/clicks", "/v1/events/carts", "/v1/events/orders", "/v1/track")
    }
    # Segment's Order Completed makes an order, so its addresses want both topics.
    assert list(statuses.values()) == [200, 200, 403, 403]
    body_key = {**CLICK, "writeKey": collector.secrets[0]}
    assert collector.post("/v1/track", body_key).status_code == 403


def test_read_and_write_keys_do_not_stand_in_for_each_other(start_collector: Any) -> None:
    collector = start_collector(add_keys=[{"kind": "write"}, {"kind": "read"}])
    write, read = map(basic, collector.secrets)
    assert collector.post("/v1/events/clicks", CLICK, headers=read).status_code == 401
    assert collector.client.get("/v1/users/u1/offers", headers=write).status_code == 401
    assert collector.client.get("/v1/users/u1/offers").status_code == 401
    # 503: allowed to ask, but no processor has made tables here.
    assert collector.client.get("/v1/users/u1/offers", headers=read).status_code == 503


def test_a_revoked_key_is_refused_within_seconds_and_a_new_one_taken(start_collector: Any) -> None:
    collector = start_collector(add_keys=[{"kind": "write"}])
    old = basic(collector.secrets[0])
    assert collector.post("/v1/events/clicks", CLICK, headers=old).status_code == 200
    revoke_key(collector.data_dir, collector.keys[0].id, now=NOW)
    _, secret = add_key(collector.data_dir, kind="write", now=NOW)
    deadline = time.monotonic() + 5
    while collector.post("/v1/events/clicks", CLICK, headers=old).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert collector.post("/v1/events/clicks", CLICK, headers=basic(secret)).status_code == 200


def test_without_a_read_key_look_ups_answer_to_local_names_only(collector: Any) -> None:
    for host, status in (("localhost:1", 503), ("127.0.0.1", 503), ("[::1]:80", 503)):
        answer = collector.client.get("/v1/users/u1/offers", headers={"Host": host})
        assert answer.status_code == status
    answer = collector.client.get("/v1/users/u1/offers", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_host")


def test_a_key_above_its_rate_gets_429_and_is_told_when_to_come_back(start_collector: Any) -> None:
    collector = start_collector(
        rate_events_per_s=10, add_keys=[{"kind": "write"}, {"kind": "write"}]
    )
    first, second = map(basic, collector.secrets)
    assert collector.post("/v1/events/clicks", [CLICK] * 10, headers=first).status_code == 200
    answer = collector.post("/v1/events/clicks", CLICK, headers=first)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert collector.post("/v1/events/clicks", CLICK, headers=second).status_code == 200
    time.sleep(0.3)
    assert collector.post("/v1/events/clicks", CLICK, headers=first).status_code == 200
    # A batch larger than a second's worth passes once, when nothing else was sent, and is paid.
    time.sleep(1.1)
    assert collector.post("/v1/events/clicks", [CLICK] * 30, headers=first).status_code == 200
    answer = collector.post("/v1/events/clicks", CLICK, headers=first)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
