"""A Kinesis record or SQS message as Lambda gives it, read as far as both are alike."""

from __future__ import annotations

from base64 import b64decode
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from shopstream.aws.wire import from_text

if TYPE_CHECKING:
    from collections.abc import Mapping


class Message(NamedTuple):
    """`message_id` is AWS's: a message that is sent again, or moved back from the dead letters, has
    another. `group` is the partition key, `received_us` when AWS took it, `receives` how often it
    was given to a function, 1 in a stream, which doesn't tell.
    """

    message_id: str
    topic: str
    source: str
    group: str
    body: bytes
    received_us: int
    receives: int

    @property
    def content(self) -> str:
        """A hash of what stays the same however often it is sent."""
        found = blake2b(digest_size=16)
        for part in (self.topic.encode(), self.source.encode(), self.group.encode(), self.body):
            found.update(len(part).to_bytes(8, "big"))
            found.update(part)
        return found.hexdigest()


def message_of(given: Mapping[str, Any]) -> Message:
    """One of an event's records."""
    if "kinesis" in given:
        found = given["kinesis"]
        arrived_us = round(found["approximateArrivalTimestamp"] * 1e6)
        body = b64decode(found["data"])
        key = found["partitionKey"]
        return Message(given["eventID"], "clicks", "kinesis", key, body, arrived_us, 1)
    told = given["attributes"]
    return Message(
        message_id=given["messageId"],
        topic="orders" if given["eventSourceARN"].endswith("-orders.fifo") else "clicks",
        source="sqs",
        group=told["MessageGroupId"],
        body=from_text(given["body"]),
        received_us=int(told["SentTimestamp"]) * 1_000,
        receives=int(told["ApproximateReceiveCount"]),
    )
