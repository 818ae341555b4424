"""Replay, called as Lambda calls it."""

import json
from typing import Any

import pytest
from tests.aws.conftest import Stack
from tests.aws.events import Context, queue_event
from tests.aws.test_ingestor import click, packed

from shopstream.aws import handlers
from shopstream.aws.wire import as_text
from shopstream.errors import ConfigError


def reject(stack: Stack, user_id: str, **wrong: Any) -> str:
    """Have a click rejected; the id of its rejection."""
    take(stack, as_text(packed("clicks", click(user_id, **wrong))))
    return next(str(row["id"]) for row in kept(stack) if user_id in str(row["raw"]))


def take(stack: Stack, *messages: str) -> None:
    batch = [("any", message) for message in messages]
    handlers.ingestor(queue_event(stack.names.queue("clicks"), batch), Context())


def take_what_was_sent(stack: Stack) -> None:
    """Give the function all that waits in the queue."""
    sqs = stack.clients.sqs
    url = sqs.get_queue_url(QueueName=stack.names.queue("clicks"))["QueueUrl"]
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        take(stack, *(message["Body"] for message in found))
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def kept(stack: Stack) -> list[dict[str, Any]]:
    """The rejections of clicks, their bytes as text."""
    from base64 import b64decode

    rows = [json.loads(item) for _, item in stack.items.query("quarantine", "clicks")]
    return [row | {"raw": b64decode(row["rejection"]["raw"])} for row in rows]


def resolved(stack: Stack, rejection_id: str) -> bool:
    return any(row["id"] == rejection_id and row.get("resolved_us") for row in kept(stack))


def replay(*left_ms: int, **event: Any) -> dict[str, Any]:
    found: dict[str, Any] = handlers.replay(event, Context(*left_ms))
    return found


def test_a_mended_rejection_is_accepted_and_marked_resolved(stack: Stack) -> None:
    rejection = reject(stack, "u1", price=-1)
    report = replay(topic="clicks", id=rejection, set={"price": "1.5"})
    assert (report["matched"], report["replayed"], report["finished"]) == (1, 1, True)
    take_what_was_sent(stack)
    assert [found["price"] for found in stack.clicks_of("u1")] == [1.5]
    assert resolved(stack, rejection)
    assert stack.ledger()["clicks/replay/accepted"] == 1


def test_replaying_again_repeats_nothing(stack: Stack) -> None:
    rejection = reject(stack, "u2", price=-1)
    replay(id=rejection, set={"price": "2"})
    assert replay(id=rejection, set={"price": "2"})["already_resolved"] == 1
    take_what_was_sent(stack)
    assert replay(id=rejection, set={"price": "2"})["already_resolved"] == 1
    assert len(stack.clicks_of("u2")) == 1


def test_only_what_is_asked_for_is_replayed(stack: Stack) -> None:
    one, two = reject(stack, "u3", price=-1), reject(stack, "v3", price=-1)
    report = replay(topic="clicks", reason="price", ids=[one], set={"price": "3"})
    assert report["replayed"] == 1
    take_what_was_sent(stack)
    assert resolved(stack, one)
    assert not resolved(stack, two)


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(stack: Stack) -> None:
    rejection = reject(stack, "u4", price=-1)
    report = replay(id=rejection, set={"price": "4"}, dry_run=True)
    assert (report["replayed"], report["dry_run"]) == (1, True)
    assert '"price":4' in report["examples"][0]["event"]
    assert stack.in_queue() == []


def test_without_time_a_replay_says_that_it_is_not_finished(stack: Stack) -> None:
    rejection = reject(stack, "u5", price=-1)
    report = replay(10_000, id=rejection, set={"price": "5"})
    assert (report["replayed"], report["finished"]) == (0, False)
    assert replay(id=rejection, set={"price": "5"})["replayed"] == 1


def test_an_event_that_is_not_understood_replays_nothing(stack: Stack) -> None:
    with pytest.raises(ConfigError, match="reasons"):
        replay(reasons="price")


def test_a_dry_run_says_what_would_be_rejected_again(stack: Stack) -> None:
    rejection = reject(stack, "u9", price=-1)
    report = replay(id=rejection, dry_run=True)
    assert (report["replayed"], report["rejected_again"]) == (1, 1)
    assert "rejected again: price: -1 is not" in report["reasons"][0]["why"]
    assert replay(id=rejection, set={"price": "2"}, dry_run=True)["rejected_again"] == 0
