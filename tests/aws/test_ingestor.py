"""Ingestor and OrderProcessor, called as Lambda calls them."""

import json
from typing import Any
from uuid import uuid4

from tests.aws.conftest import Faults, Stack
from tests.aws.events import Context, failed, queue_event, shard_event

from shopstream.aws import handlers
from shopstream.aws.wire import Record, as_text, pack
from shopstream.events import Entry

AT = "2025-11-21T10:00:00Z"
AT_US = 1_763_719_200_000_000


def click(user_id: str, **fields: Any) -> bytes:
    found = {"event_id": uuid4().hex, "user_id": user_id, "event_type": "view", "timestamp": AT}
    return json.dumps(found | fields).encode()


def order(order_id: str, price: str, **fields: Any) -> bytes:
    lines = [{"product_id": "p1", "quantity": 1, "unit_price": price}]
    known = {"order_id": order_id, "customer_id": f"c-{order_id}", "lines": lines}
    return json.dumps(
        known | {"currency": "EUR", "status": "placed", "timestamp": AT} | fields
    ).encode()


def packed(topic: str, *events: bytes) -> bytes:
    """A record as the collector sends it."""
    entry = Entry(
        topic=topic, events=list(events), source="http", received_us=AT_US, units=len(events)
    )
    return pack(Record(uuid4().hex, entry))


def sent(stack: Stack, *records: tuple[str, bytes], queue: str = "clicks") -> dict[str, Any]:
    texts = [(group, as_text(body)) for group, body in records]
    return queue_event(stack.names.queue(queue), texts)


def streamed(stack: Stack, *records: tuple[str, bytes]) -> dict[str, Any]:
    return shard_event(stack.names.stream, records)


def test_a_batch_of_clicks_is_stored_landed_and_in_the_ledger(stack: Stack) -> None:
    before = stack.ledger().get("clicks/http/accepted", 0)
    event = sent(stack, ("u1", packed("clicks", click("u1"), click("u1"))))
    assert failed(handlers.ingestor(event, Context())) == []
    stored = stack.clicks_of("u1")
    assert len(stored) == 2
    landed = [row for row in stack.bronze("clicks") if row["user_id"] == "u1"]
    assert {row["event_id"] for row in landed} == {click["event_id"] for click in stored}
    assert stack.ledger()["clicks/http/accepted"] == before + 2


def test_a_batch_that_comes_again_has_no_further_effect(stack: Stack) -> None:
    event = sent(stack, ("u2", packed("clicks", click("u2"))))
    handlers.ingestor(event, Context())
    stored, counts = stack.clicks_of("u2"), stack.ledger()
    handlers.ingestor(event, Context())
    assert stack.clicks_of("u2") == stored
    assert stack.ledger() == counts


def test_in_a_fifo_queue_only_the_failed_user_waits(stack: Stack, faults: Faults) -> None:
    one, two = packed("clicks", click("bad3")), packed("clicks", click("bad3"))
    event = sent(stack, ("bad3", one), ("u3", packed("clicks", click("u3"))), ("bad3", two))
    faults.fail("PutItem", '"bad3"')
    assert failed(handlers.ingestor(event, Context())) == ["m0", "m2"]
    assert len(stack.clicks_of("u3")) == 1
    assert stack.clicks_of("bad3") == []
    faults.heal()
    assert failed(handlers.ingestor(event, Context())) == []
    assert len(stack.clicks_of("u3")) == 1
    assert len(stack.clicks_of("bad3")) == 2


def test_in_a_shard_only_the_failed_key_waits(stack: Stack, faults: Faults) -> None:
    records = [(user, packed("clicks", click(user))) for user in ("a4", "bad4", "b4", "bad4")]
    event = streamed(stack, *records)
    faults.fail("PutItem", '"bad4"')
    assert failed(handlers.ingestor(event, Context())) == ["1", "3"]
    assert [len(stack.clicks_of(user)) for user in ("a4", "bad4", "b4")] == [1, 0, 1]
    faults.heal()
    counts = stack.ledger()
    event["Records"] = event["Records"][1:]
    assert failed(handlers.ingestor(event, Context())) == []
    assert [len(stack.clicks_of(user)) for user in ("a4", "bad4", "b4")] == [1, 2, 1]
    assert stack.ledger()["clicks/http/accepted"] == counts["clicks/http/accepted"] + 2


def test_in_a_shard_what_follows_a_failed_record_of_its_key_is_not_taken_before_it(
    stack: Stack, faults: Faults
) -> None:
    first, second = click("bad5", event_id="first-of-5"), click("bad5", event_id="second-of-5")
    event = streamed(stack, *(("bad5", packed("clicks", one)) for one in (first, second)))
    faults.fail("PutItem", "first-of-5")
    assert failed(handlers.ingestor(event, Context())) == ["0", "1"]
    assert stack.clicks_of("bad5") == []
    faults.heal()
    assert failed(handlers.ingestor(event, Context())) == []
    stored = [found["event_id"] for found in stack.clicks_of("bad5")]
    assert stored == ["first-of-5", "second-of-5"]


def test_when_bronze_takes_nothing_all_comes_again_and_lands_once_in_the_ledger(
    stack: Stack, faults: Faults
) -> None:
    event = sent(stack, *((user, packed("clicks", click(user))) for user in ("a5", "b5")))
    before = stack.ledger().get("clicks/http/accepted", 0)
    faults.fail("PutRecordBatch", "")
    assert failed(handlers.ingestor(event, Context())) == ["m0", "m1"]
    assert stack.ledger().get("clicks/http/accepted", 0) == before
    faults.heal()
    assert failed(handlers.ingestor(event, Context())) == []
    assert stack.ledger()["clicks/http/accepted"] == before + 2
    assert [len(stack.clicks_of(user)) for user in ("a5", "b5")] == [1, 1]
    assert {row["user_id"] for row in stack.bronze("clicks")} >= {"a5", "b5"}


def test_what_cannot_be_read_is_quarantined_and_blocks_nobody(stack: Stack) -> None:
    torn = packed("clicks", click("u6"))[:-4]
    records = [("u6", torn), ("u6", b"\xff\xfe not json"), ("u6", packed("clicks", click("u6")))]
    assert failed(handlers.ingestor(streamed(stack, *records), Context())) == []
    assert len(stack.clicks_of("u6")) == 1
    kept = [json.loads(item) for _, item in stack.items.query("quarantine", "clicks")]
    reasons = {record["rejection"]["failures"][0]["reason"] for record in kept}
    assert "encoding" in reasons
    assert len(kept) >= 2


def test_events_that_others_send_with_an_aws_sdk_are_taken_as_they_are(stack: Stack) -> None:
    lines = b"\n".join([click("u7", event_id="e1"), click("v7", event_id="e2"), b'{"user_id": 7'])
    assert failed(handlers.ingestor(streamed(stack, ("any", lines)), Context())) == []
    assert [stack.clicks_of(user)[0]["event_id"] for user in ("u7", "v7")] == ["e1", "e2"]
    text = order("o7", "12.50").decode()
    event = queue_event(stack.names.queue("orders"), [("any", text)])
    assert failed(handlers.order_processor(event, Context())) == []
    assert [found.order_id for found in stack.orders("o7")] == ["o7"]


def test_a_claim_check_is_redeemed(stack: Stack) -> None:
    stack.files.put("claims/big", packed("clicks", click("u8")))
    assert failed(handlers.ingestor(streamed(stack, ("u8", b"SC1claims/big")), Context())) == []
    assert len(stack.clicks_of("u8")) == 1


def test_a_claim_check_whose_file_is_gone_is_tried_again(stack: Stack) -> None:
    event = streamed(stack, ("u9", b"SC1claims/nothing"))
    assert failed(handlers.ingestor(event, Context())) == ["0"]


def test_large_and_invalid_orders_are_told_once_each_on_their_topics(stack: Stack) -> None:
    stack.told(stack.names.alerts)
    stack.told(stack.names.invalid_orders)
    large = packed("orders", order("large10", "1000.01"))
    exact = packed("orders", order("exact10", "1000.00"))
    wrong = packed("orders", order("wrong10", "-1"))
    event = sent(stack, ("a", large), ("b", exact), ("c", wrong), queue="orders")
    assert failed(handlers.order_processor(event, Context())) == []
    assert [a["kind"] for a in stack.told(stack.names.alerts)] == ["large_order"]
    assert [a["kind"] for a in stack.told(stack.names.invalid_orders)] == ["invalid_order"]
    assert stack.orders("large10")
    assert not stack.orders("wrong10")


def test_an_alert_is_published_once_though_its_record_fails_and_comes_again(
    stack: Stack, faults: Faults
) -> None:
    stack.told(stack.names.alerts)
    event = sent(stack, ("a", packed("orders", order("large11", "5000"))), queue="orders")
    faults.fail("PutItem", "-Ledger")
    assert failed(handlers.order_processor(event, Context())) == ["m0"]
    assert len(stack.told(stack.names.alerts)) == 1
    faults.heal()
    assert failed(handlers.order_processor(event, Context())) == []
    assert stack.told(stack.names.alerts) == []


def test_a_record_of_a_topic_that_nobody_knows_blocks_no_shard(stack: Stack) -> None:
    records = [
        ("u13", packed("wishes", b'{"user_id":"u13"}')),
        ("u13", packed("clicks", click("u13"))),
    ]
    assert failed(handlers.ingestor(streamed(stack, *records), Context())) == []
    assert len(stack.clicks_of("u13")) == 1
