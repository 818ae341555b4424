"""Health that tells the truth, metrics, docs, verdicts, and the way in for load and replay."""

import re
import time
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shopstream.collector.docs_page import docs_page
from shopstream.collector.judge import ANSWER_BYTES_MAX
from shopstream.events import Entry
from shopstream.heartbeats import write_heartbeat
from shopstream.schemas import EXAMPLES

CLICK = {"user_id": "u1"}
PRODUCTS = [{"product_id": f"p{n}", "price": 1} for n in range(40)]


def beat(collector: Any, stage: str = "processor-0", **values: Any) -> None:
    """What a processor says about itself."""
    write_heartbeat(collector.engine.dir.run, stage, values)
    collector.server.collector.watch.look()


def others_beat(collector: Any, *more: str) -> None:
    for stage in ("notifier", "intake", *more):
        beat(collector, stage)


def health(collector: Any) -> tuple[int, dict[str, Any]]:
    answer = collector.client.get("/health")
    return answer.status_code, answer.json()


def test_health_is_503_while_no_processor_runs(start_collector: Any) -> None:
    code, body = health(start_collector(lake=False))
    assert (code, body["status"], body["delivering"]) == (503, "down", False)
    assert body["reasons"][0] == "processor-0 is not running"


def test_health_is_200_while_a_processor_keeps_up(start_collector: Any) -> None:
    collector = start_collector(lake=False)
    collector.post("/v1/events/clicks", [CLICK] * 3)
    beat(collector, position=3)
    others_beat(collector)
    code, body = health(collector)
    assert (code, body["status"], body["delivering"]) == (200, "ok", True)
    assert (body["lag_events"], body["lag_s"], body["log_end"]) == (0, 0.0, 3)
    assert body["stages"]["processor-0"] == {"alive": True, "position": 3, "lag_events": 0}


def test_health_tells_how_many_events_wait_and_how_long(start_collector: Any) -> None:
    collector = start_collector(lake=False)
    collector.post("/v1/events/clicks", [CLICK] * 3)
    time.sleep(0.2)
    beat(collector, position=0)
    code, body = health(collector)
    assert (code, body["lag_events"]) == (200, 3)
    assert 0.2 <= body["lag_s"] < 5


def test_health_is_503_when_a_processor_stands_still_while_events_wait(
    start_collector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopstream.collector.watch.STUCK_S", 0.2)
    collector = start_collector(lake=False)
    collector.post("/v1/events/clicks", [CLICK] * 3)
    beat(collector, position=1)
    assert health(collector)[0] == 200
    time.sleep(0.3)
    beat(collector, position=1)
    code, body = health(collector)
    assert (code, body["status"]) == (503, "down")
    assert "has not moved" in body["reasons"][0]
    beat(collector, position=2)
    assert health(collector)[0] == 200


def test_health_is_503_when_a_processor_has_not_spoken_for_long(start_collector: Any) -> None:
    collector = start_collector(lake=False)
    beat(collector, position=0, at_us=time.time_ns() // 1000 - 11_000_000)
    assert health(collector)[0] == 503
    beat(collector, position="x")
    assert health(collector)[0] == 503


def test_health_asks_every_shard(start_collector: Any) -> None:
    collector = start_collector(shards=2, lake=False)
    beat(collector, position=0)
    others_beat(collector)
    assert health(collector)[1]["reasons"] == ["processor-1 is not running"]
    beat(collector, "processor-1", position=0)
    assert health(collector)[0] == 200


def test_a_fault_that_stops_nothing_is_degraded_and_says_why(start_collector: Any) -> None:
    collector = start_collector(lake=False)
    others_beat(collector)
    beat(collector, position=0, error="a rule is odd")
    code, body = health(collector)
    assert (code, body["status"]) == (200, "degraded")
    assert body["reasons"] == ["processor-0: a rule is odd"]


def test_a_stage_that_should_run_and_never_spoke_is_told(start_collector: Any) -> None:
    collector = start_collector(land_every="1s")
    beat(collector, position=0)
    beat(collector, "lander", position=0, synced=0)
    code, body = health(collector)
    assert (code, body["status"], body["delivering"]) == (200, "degraded", True)
    silent = ["notifier", "intake", "builder"]
    assert body["reasons"] == [f"{stage} is not running" for stage in silent]
    others_beat(collector, "builder")
    assert health(collector)[1]["status"] == "ok"


def test_a_lander_that_does_not_run_or_get_on_is_told_and_stops_no_delivery(
    start_collector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopstream.collector.watch.NOT_LANDED_S", -0.8)
    collector = start_collector(land_every="1s")
    others_beat(collector, "builder")
    beat(collector, position=0)
    code, body = health(collector)
    assert (code, body["status"], body["delivering"]) == (200, "degraded", True)
    assert body["reasons"] == ["lander is not running; the log keeps what is not landed"]
    collector.post("/v1/events/clicks", [CLICK] * 3)
    beat(collector, position=3)
    beat(collector, "lander", position=1, synced=1)
    assert health(collector)[1]["status"] == "ok"
    time.sleep(0.3)
    beat(collector, "lander", position=1, synced=1)
    assert "lander has not moved" in health(collector)[1]["reasons"][0]
    beat(collector, "lander", position=3, synced=3)
    code, body = health(collector)
    assert (code, body["status"]) == (200, "ok")
    assert body["stages"]["lander"] == {"alive": True, "position": 3, "lag_events": 0}


@pytest.mark.parametrize("lake", [True, False])
def test_the_log_keeps_what_is_not_landed_while_there_is_a_lake(
    start_collector: Any, lake: bool
) -> None:
    collector = start_collector(lake=lake)
    watch = collector.server.collector.watch
    beat(collector, position=9, synced=9)
    assert watch.synced() == (0 if lake else 9)
    beat(collector, "lander", position=5, synced=5)
    assert watch.synced() == (5 if lake else 9)


def test_the_heartbeat_tells_where_the_collector_listens(collector: Any) -> None:
    found = msgspec.json.decode((collector.engine.dir.run / "collector.json").read_bytes())
    assert (found["stage"], found["host"], found["port"]) == (
        "collector", "127.0.0.1", collector.port,
    )  # fmt: skip
    assert collector.token not in str(found)
    assert (collector.engine.dir.run / "token").stat().st_mode & 0o777 == 0o600


def test_metrics_count_what_happened(start_collector: Any) -> None:
    collector = start_collector()
    collector.post("/v1/events/clicks", [CLICK] * 3)
    collector.post("/v1/events/clicks", b"broken")
    beat(collector, position=1, accepted=1, offers=2)
    text = collector.client.get("/metrics").text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["shopstream_received_events_total", "clicks"] == 4
    assert found["shopstream_rejected_events_total", "clicks", "json"] == 1
    assert found["shopstream_responses_total", "200"] == 1
    assert found["shopstream_responses_total", "400"] == 1
    assert found["shopstream_request_duration_seconds_count",] == 2
    assert found["shopstream_request_duration_seconds_bucket", "+Inf"] == 2
    assert found["shopstream_log_end",] == 4
    assert found["shopstream_log_appended_events_total",] == 4
    assert found["shopstream_processor_lag_events", "processor-0"] == 3
    assert found["shopstream_processor_offers_total", "processor-0"] == 2


def test_the_docs_page_needs_nothing_from_elsewhere_and_runs_no_script(collector: Any) -> None:
    answer = collector.client.get("/docs")
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert not re.search(r"(src|href)=['\"]?(https?:)?//", answer.text)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    for path in collector.client.get("/openapi.json").json()["paths"]:
        assert path in answer.text


def test_the_docs_page_shows_answers_and_what_parameters_can_be(collector: Any) -> None:
    page = collector.client.get("/docs").text
    assert "An answer 200 (<a href='#Received'>Received</a>):</p><pre>{\n  &quot;received" in page
    assert "&quot;rule&quot;: &quot;viewed-three-times&quot;" in page
    assert "<code>shopstream</code>, <code>segment</code>, <code>ga4</code>, by default" in page
    assert "integer (1 to 1,000), by default <code>100</code>" in page
    assert "They are not; <code>reasons</code> says why." in page
    assert "`" not in page


def test_every_link_of_the_docs_page_leads_somewhere_unfolded(collector: Any) -> None:
    page = collector.client.get("/docs").text
    unfolded = re.sub("<details>.*?</details>", "", page, flags=re.DOTALL)
    linked = set(re.findall("href='#([^']+)'", page))
    assert {"Received", "Offer", "Error", "Click"} <= linked
    assert linked <= set(re.findall("id='([^']+)'", unfolded))


def test_the_docs_page_escapes_what_it_shows() -> None:
    evil = "<script>`<b>`"
    text = {"description": evil, "type": evil, "format": evil, "enum": [evil]}
    schema = {"description": evil, "properties": {evil: text | {"default": evil}}}
    media = {
        evil: {
            "schema": {"$ref": evil},
            "example": evil,
            "examples": {evil: {"summary": evil, "value": {evil: evil}}},
        }
    }
    operation = {
        "tags": [evil],
        "summary": evil,
        "description": evil,
        "parameters": [
            {"name": evil, "in": evil, "description": evil, "schema": text},
            {"name": evil, "in": evil, "schema": {"type": evil, "format": evil}},
        ],
        "requestBody": {"content": media},
        "responses": {evil: {"description": evil, "content": media}},
    }
    page = docs_page(
        {
            "info": {"title": evil, "version": evil, "description": evil},
            "paths": {evil: {"get": operation}},
            "components": {"schemas": {evil: schema | {"examples": [evil]}}},
        }
    ).decode()
    assert "<script" not in page
    assert "<b>" not in page


def test_pages_carry_headers_against_misuse(collector: Any) -> None:
    for path in ("/health", "/docs", "/openapi.json", "/nothing", "/v1/users/u1/offers"):
        headers = collector.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_what_is_not_there_gets_404_as_json(collector: Any) -> None:
    answer = collector.client.get("/<script>alert(1)</script>")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"code", "message"}


@pytest.mark.parametrize("topic", ["clicks", "orders", "carts", "stock"])
def test_a_good_event_is_judged_valid_and_nothing_is_stored(collector: Any, topic: Any) -> None:
    answer = collector.post(f"/v1/validate/{topic}", EXAMPLES[topic])
    assert answer.status_code == 200
    assert (answer.json()["valid"], answer.json()["invalid"]) == (1, 0)
    assert answer.json()["results"][0]["events"][0]["topic"] == topic
    assert collector.entries() == []


def test_a_bad_event_is_judged_with_all_its_failures(collector: Any) -> None:
    good = msgspec.json.encode(EXAMPLES["clicks"])
    bad = b'{"user_id":"","event_type":"look","timestamp":"yesterday"}'
    answer = collector.post("/v1/validate/clicks", b"[" + good + b"," + bad + b"]")
    assert [r["valid"] for r in answer.json()["results"]] == [True, False]
    failures = answer.json()["results"][1]["failures"]
    assert [f["field"] for f in failures] == ["user_id", "event_type", "timestamp"]
    broken = collector.post("/v1/validate/clicks", good + b"\n{broken\n")
    assert (broken.json()["valid"], broken.json()["invalid"]) == (1, 1)


@pytest.mark.parametrize("between", [b"\n", b","])
def test_verdicts_are_in_the_order_of_what_was_sent(collector: Any, between: bytes) -> None:
    good = msgspec.json.encode(EXAMPLES["clicks"])
    items = between.join([b'{"user_id"}', b"{}", good, b"7", good])
    body = items if between == b"\n" else b"[" + items + b"]"
    results = collector.post("/v1/validate/clicks", body).json()["results"]
    assert [r["index"] for r in results] == [0, 1, 2, 3, 4]
    assert [r["valid"] for r in results] == [False, False, True, False, True]
    assert [len(r["failures"]) for r in results if not r["valid"]] == [1, 3, 1]


def test_a_bad_line_of_an_order_is_told_where_lines_are_judged_one_by_one(
    start_collector: Any,
) -> None:
    collector = start_collector(on_bad_line="quarantine_line")
    line = {"product_id": "p1", "quantity": 0, "unit_price": 1}
    order = {**EXAMPLES["orders"], "lines": [*EXAMPLES["orders"]["lines"], line]}
    (result,) = collector.post("/v1/validate/orders", order).json()["results"]
    assert [f["reason"] for f in result["failures"]] == ["quantity"]


def test_messages_of_other_dialects_are_judged_too(collector: Any) -> None:
    message = {
        "type": "track", "event": "Product Viewed", "messageId": "m1", "userId": "u1",
        "timestamp": "2026-01-31T12:00:00Z", "properties": {"product_id": "p1"},
    }  # fmt: skip
    answer = collector.post("/v1/validate/clicks?dialect=segment", message)
    assert answer.json()["results"][0]["events"][0]["event"]["event_type"] == "view"
    answer = collector.post("/v1/validate/clicks?dialect=segment", {"type": "track"})
    assert answer.json()["invalid"] == 1


def test_verdicts_that_come_to_more_than_an_answer_holds_say_only_whether_all_is_well(
    collector: Any,
) -> None:
    url = "/v1/validate/clicks?dialect=segment"
    message = {
        "type": "track", "event": "Order Completed", "userId": "u1",
        "timestamp": "2026-01-31T12:00:00Z",
        "context": {"page": {"path": "/" + "a" * 1_000}},
        "properties": {"order_id": "o1", "currency": "EUR", "products": PRODUCTS},
    }  # fmt: skip
    whole = collector.post(url, message)
    assert whole.json()["valid"] == 1
    most = ANSWER_BYTES_MAX // len(whole.content)
    assert "cut" not in whole.json()
    answer = collector.post(url, [message] * (most + 100) + [{"type": "track"}])
    found = answer.json()
    assert ANSWER_BYTES_MAX / 2 < len(answer.content) < ANSWER_BYTES_MAX + 10_000
    assert (found["valid"], found["invalid"]) == (most + 100, 1)
    short = [result for result in found["results"] if len(result) == 2]
    assert short == [{"index": result["index"], "valid": True} for result in short]
    assert 90 <= len(short) == found["cut"] <= 110


def test_what_cannot_be_judged_is_refused(collector: Any) -> None:
    for body, code in ((b"", "empty"), (b"{", "json"), (b"\x1f\x8bx", "encoding"), (b"5", "json")):
        answer = collector.post("/v1/validate/clicks", body)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert collector.post("/v1/validate/clicks", [CLICK] * 1_001).status_code == 413
    assert collector.post("/v1/validate/nothing", CLICK).status_code == 404
    assert collector.entries() == []


def append(collector: Any, entries: Any, **headers: str) -> Any:
    return collector.client.post(
        "/internal/append", content=msgspec.msgpack.encode(entries), headers=headers
    )


def test_entries_of_load_and_replay_are_appended_with_their_progress(collector: Any) -> None:
    entry = Entry(
        topic="orders", events=[b"{}", b"{}"], source="load:x", received_us=1, units=5, lines=[1, 2]
    )
    secret = {"Authorization": f"Bearer {collector.token}", "X-Progress": '{"file": 42}'}
    answer = append(collector, [entry], **secret)
    assert answer.status_code == 200
    assert collector.entries() == [entry]
    log = collector.engine.read_log()
    assert (log.progress("file"), log.end()) == (42, answer.json()["end"])
    log.close()


def test_the_internal_endpoint_wants_its_secret_and_whole_entries(collector: Any) -> None:
    entry = Entry(topic="orders", events=[b"{}"], source="load:x", received_us=1, units=1)
    secret = {"Authorization": f"Bearer {collector.token}"}
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": collector.token}):
        assert append(collector, [entry], **headers).status_code == 401
    assert append(collector, [{"a": 1}], **secret).status_code == 400
    assert append(collector, [entry], **secret, **{"X-Progress": "x"}).status_code == 400
    entry.topic = "nothing"
    assert append(collector, [entry], **secret).status_code == 400
    assert collector.entries() == []
