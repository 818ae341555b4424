"""Messages at which the function ends, and those that come again under another id."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.aws.conftest import Faults, Stack, forget_what_is_open
from tests.aws.events import NOW_MS, Context, failed, queue_event, shard_event
from tests.aws.test_ingestor import click, order, packed

from shopstream.aws import handlers, wire
from shopstream.aws.suspects import RECEIVES_MAX
from shopstream.aws.wire import as_text
from shopstream.domain import canonical
from shopstream.flows import clicks as clicks_flow


class Ended(BaseException):
    """What ends a process: nothing in it can catch this."""


class Queue:
    """A FIFO queue and its mapping: what the function answers for is deleted, all else comes again
    until it is a dead letter.
    """

    def __init__(self, stack: Stack, *messages: tuple[str, bytes], name: str = "clicks") -> None:
        texts = [(group, as_text(body)) for group, body in messages]
        self.waiting: list[dict[str, Any]] = queue_event(stack.names.queue(name), texts)["Records"]
        self.dead: list[str] = []
        self._handler = handlers.ingestor if name == "clicks" else handlers.order_processor

    def receive(self) -> None:
        """Give the function what waits, once."""
        try:
            left = failed(self._handler({"Records": self.waiting}, Context()))
        except Ended:
            left = [message["messageId"] for message in self.waiting]
        self.waiting = [one for one in self.waiting if one["messageId"] in left]
        for message in list(self.waiting):
            told = message["attributes"]
            if told["ApproximateReceiveCount"] == str(RECEIVES_MAX):
                self.waiting.remove(message)
                self.dead.append(message["messageId"])
            told["ApproximateReceiveCount"] = str(int(told["ApproximateReceiveCount"]) + 1)

    def drain(self) -> None:
        while self.waiting:
            self.receive()


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clicks with "deadly" in their id end the process that looks at them."""

    def ending(event: Any) -> bytes:
        if "deadly" in event.event_id:
            raise Ended
        return canonical.encode(event)

    monkeypatch.setattr(clicks_flow, "encode", ending)


@pytest.fixture
def ending(stack: Stack) -> Iterator[Callable[[str], None]]:
    """Have calls of an operation of AWS end the process."""
    assert stack
    forget_what_is_open()
    operations: list[str] = []

    def before_send(event_name: str, **_: Any) -> None:
        if event_name.rpartition(".")[2] in operations:
            raise Ended

    hook: Any = before_send
    handlers._engine().clients.session.register("before-send", hook)

    def end_at(operation: str) -> None:
        operations[:] = [operation]

    yield end_at
    forget_what_is_open()


def poisoned(stack: Stack, topic: str = "clicks") -> list[bytes]:
    """Raw bytes of what was quarantined as poison."""
    found = [json.loads(item)["rejection"] for _, item in stack.items.query("quarantine", topic)]
    return [
        base64.b64decode(one["raw"]) for one in found if one["failures"][0]["reason"] == "poison"
    ]


def notes(stack: Stack) -> int:
    """How many messages something is remembered of."""
    items = stack.clients.dynamodb.scan(TableName=stack.names.idempotency)["Items"]
    return sum(item["id"]["S"].startswith("message#") for item in items)


@pytest.mark.parametrize("killers", [(0,), (4,), (9,), (2, 7), (0, 4, 9)])
@pytest.mark.usefixtures("deadly")
def test_what_ends_the_function_is_quarantined_and_its_batch_survives(
    stack: Stack, killers: tuple[int, ...]
) -> None:
    name = "-".join(map(str, killers))
    users = [f"{name}-{n}" for n in range(10)]
    events = [
        click(user, event_id=f"{'deadly' if n in killers else 'good'}-{user}")
        for n, user in enumerate(users)
    ]
    before, noted = stack.ledger(), notes(stack)
    queue = Queue(stack, *((u, packed("clicks", e)) for u, e in zip(users, events, strict=True)))
    queue.drain()
    assert queue.dead == []
    assert [len(stack.clicks_of(u)) for u in users] == [n not in killers for n in range(10)]
    assert {events[n] for n in killers} <= set(poisoned(stack))
    cells = {
        outcome: stack.ledger().get(f"clicks/http/{outcome}", 0)
        - before.get(f"clicks/http/{outcome}", 0)
        for outcome in ("received", "accepted", "quarantined:poison", "duplicate")
    }
    assert list(cells.values()) == [10, 10 - len(killers), len(killers), 0]
    landed = [row for row in stack.bronze("clicks") if row["user_id"] in users]
    assert {row["user_id"] for row in landed} == {
        user for n, user in enumerate(users) if n not in killers
    }
    assert notes(stack) == noted


@pytest.mark.usefixtures("deadly")
def test_what_follows_a_deadly_message_in_its_group_is_taken_after_it(stack: Stack) -> None:
    ids = ["first-20", "deadly-20", "second-20", "third-20"]
    queue = Queue(
        stack,
        *(("u20", packed("clicks", click("u20", event_id=one))) for one in ids),
        ("v20", packed("clicks", click("v20"))),
    )
    queue.drain()
    assert queue.dead == []
    stored = [found["event_id"] for found in stack.clicks_of("u20")]
    assert stored == ["first-20", "second-20", "third-20"]
    assert len(stack.clicks_of("v20")) == 1


@pytest.mark.usefixtures("deadly")
def test_the_others_of_a_batch_are_answered_for_before_a_deadly_one_is_tried_again(
    stack: Stack,
) -> None:
    events = [("u21", click("u21", event_id="deadly-21")), ("v21", click("v21"))]
    queue = Queue(stack, *((user, packed("clicks", event)) for user, event in events))
    for _ in range(3):
        queue.receive()
    assert [message["messageId"] for message in queue.waiting] == ["m0"]
    assert len(stack.clicks_of("v21")) == 1
    queue.drain()
    assert queue.dead == []


@pytest.mark.usefixtures("deadly")
def test_giving_up_that_fails_is_tried_again_and_not_the_message(
    stack: Stack, faults: Faults
) -> None:
    event = click("u30", event_id="deadly-30")
    queue = Queue(stack, ("u30", packed("clicks", event)))
    for _ in range(3):
        queue.receive()
    faults.fail("PutItem", "-Quarantine")
    queue.receive()
    faults.heal()
    assert event not in poisoned(stack)
    queue.receive()
    assert queue.dead == []
    assert poisoned(stack).count(event) == 1


def test_a_message_that_cannot_even_be_read_is_quarantined_as_it_came(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(_: bytes) -> bytes:
        raise Ended

    body = packed("clicks", click("u22"))
    queue = Queue(stack, ("u22", body))
    with monkeypatch.context() as patch:
        patch.setattr(wire, "_inflate", ending)
        queue.drain()
    assert queue.dead == []
    assert body in poisoned(stack)


def test_of_a_message_of_many_users_only_the_deadly_one_is_given_up(
    stack: Stack, deadly: None
) -> None:
    assert deadly is None
    lines = [click("u23"), click("v23", event_id="deadly-23"), click("w23")]
    queue = Queue(stack, ("any", b"\n".join(lines)))
    queue.drain()
    assert queue.dead == []
    assert [len(stack.clicks_of(user)) for user in ("u23", "v23", "w23")] == [1, 0, 1]
    assert lines[1] in poisoned(stack)


def test_what_was_stored_is_not_given_up_though_the_function_ends_after_it(
    stack: Stack, ending: Callable[[str], None]
) -> None:
    queue = Queue(stack, ("u24", packed("clicks", click("u24", event_id="e24"))))
    ending("PutRecordBatch")
    for _ in range(RECEIVES_MAX - 1):
        queue.receive()
    ending("")
    queue.receive()
    assert queue.dead == []
    assert len(stack.clicks_of("u24")) == 1
    assert not any(b"e24" in raw for raw in poisoned(stack))


def test_what_is_new_costs_no_note(stack: Stack) -> None:
    forget_what_is_open()
    seen: list[str] = []

    def see(params: dict[str, Any], model: Any, **_: Any) -> None:
        if params.get("TableName") == stack.names.idempotency:
            seen.append(model.name)

    hook: Any = see
    handlers._engine().clients.session.register("provide-client-params", hook)
    queue = Queue(stack, ("u25", packed("clicks", click("u25"))))
    queue.drain()
    assert len(stack.clicks_of("u25")) == 1
    assert seen == []
    Queue(stack, ("u25", click("u25", event_id="raw"))).drain()
    assert seen == ["GetItem"], "a raw message may have been here before"
    forget_what_is_open()


def raw_order(stack: Stack, message_id: str, text: bytes) -> dict[str, Any]:
    """An order that somebody sent with AWS's SDK."""
    event = queue_event(stack.names.queue("orders"), [(message_id, text.decode())])
    event["Records"][0]["messageId"] = message_id
    return event


def again(event: dict[str, Any], message_id: str) -> dict[str, Any]:
    """A message as it comes when it was moved back from the dead letters, a day later."""
    (message,) = event["Records"]
    told = message["attributes"] | {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": str(NOW_MS + 86_400_000),
        "MessageDeduplicationId": message["messageId"],
    }
    return {"Records": [message | {"messageId": message_id, "attributes": told}]}


def test_a_raw_order_that_was_given_up_half_way_is_finished_when_it_is_moved_back(
    stack: Stack, faults: Faults
) -> None:
    stack.told(stack.names.alerts)
    before, noted = stack.ledger(), notes(stack)
    event = raw_order(stack, "one26", order("redriven26", "5000"))
    faults.fail("PutRecordBatch", "")
    for receives in range(1, RECEIVES_MAX + 1):
        event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(receives)
        assert failed(handlers.order_processor(event, Context())) == ["one26"]
    faults.heal()
    assert stack.told(stack.names.alerts) == []
    assert failed(handlers.order_processor(again(event, "another26"), Context())) == []
    assert [alert["kind"] for alert in stack.told(stack.names.alerts)] == ["large_order"]
    cells = {
        name: units - before.get(name, 0)
        for name, units in stack.ledger().items()
        if name.startswith("orders/sqs/") and units != before.get(name, 0)
    }
    assert cells == {"orders/sqs/received": 1, "orders/sqs/accepted": 1}
    settled = {sk for _, sk, _ in stack.items.scan("ledger")}
    assert settled & {"one26", "another26"} == {"one26"}
    assert notes(stack) == noted


def test_a_raw_rejection_that_comes_again_is_in_the_quarantine_once(
    stack: Stack, faults: Faults
) -> None:
    event = raw_order(stack, "one27", order("wrong27", "-1"))
    faults.fail("PutItem", "-Ledger")
    assert failed(handlers.order_processor(event, Context())) == ["one27"]
    faults.heal()
    assert failed(handlers.order_processor(again(event, "another27"), Context())) == []
    kept = [item for _, item in stack.items.query("quarantine", "orders")]
    found = [base64.b64decode(json.loads(item)["rejection"]["raw"]) for item in kept]
    assert sum(b"wrong27" in raw for raw in found) == 1


def test_a_raw_record_of_a_stream_that_is_sent_again_is_the_same_record(
    stack: Stack, faults: Faults
) -> None:
    event = shard_event(stack.names.stream, [("u28", b'{"user_id": "u28"}')])
    faults.fail("PutItem", "-Ledger")
    assert failed(handlers.ingestor(event, Context())) == ["0"]
    faults.heal()
    event["Records"][0]["eventID"] = "shardId-000000000000:99"
    event["Records"][0]["kinesis"]["approximateArrivalTimestamp"] += 3_600
    assert failed(handlers.ingestor(event, Context())) == []
    kept = [item for _, item in stack.items.query("quarantine", "clicks")]
    found = [base64.b64decode(json.loads(item)["rejection"]["raw"]) for item in kept]
    assert sum(b"u28" in raw for raw in found) == 1


def test_the_same_raw_events_sent_twice_are_still_duplicates(stack: Stack) -> None:
    before = stack.ledger()
    event = raw_order(stack, "one29", order("twice29", "5"))
    assert failed(handlers.order_processor(event, Context())) == []
    assert failed(handlers.order_processor(again(event, "another29"), Context())) == []
    cells = stack.ledger()
    counted = [
        cells.get(f"orders/sqs/{name}", 0) - before.get(f"orders/sqs/{name}", 0)
        for name in ("received", "accepted", "duplicate")
    ]
    assert counted == [2, 1, 1]
