"""GET /health on AWS: whether what is sent can be taken and is being taken on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, TypeAlias

import structlog
from msgspec import Struct

from shopstream.aws.clients import asked
from shopstream.errors import AwsError

if TYPE_CHECKING:
    from shopstream.aws.clients import Clients
    from shopstream.aws.names import Names
    from shopstream.settings import Settings

LOOK_EVERY_S = 5.0
"""A look costs an API call for each queue; in between the last one is told."""
LAGGING_EVENTS = 10_000
"""Messages waiting in a queue that make the state `degraded`: more than a minute's work."""

Status: TypeAlias = Literal["ok", "degraded", "down"]


class Health(Struct, kw_only=True):
    """`waiting` counts messages in each queue, `dead` those that no try could process."""

    status: Status
    delivering: bool
    reasons: list[str]
    waiting: dict[str, int]
    dead: dict[str, int]


class AwsWatch:
    """Looks at the stream and the queues when asked, but not all the time.

    How far functions lag behind a stream only CloudWatch knows: its alarms tell.
    """

    def __init__(self, clients: Clients, names: Names, settings: Settings) -> None:
        self._clients = clients
        self._names = names
        self._stream = settings.aws_clicks == "kinesis"
        self._seen: Health | None = None
        self._seen_s = 0.0

    @property
    def health(self) -> Health:
        now_s = time.monotonic()
        if self._seen is None or now_s - self._seen_s >= LOOK_EVERY_S:
            self._seen, self._seen_s = self._look(), now_s
        return self._seen

    def _look(self) -> Health:
        names = self._names
        topics = ["orders"] if self._stream else ["clicks", "orders"]
        waiting: dict[str, int] = {}
        dead: dict[str, int] = {}
        try:
            if self._stream:
                self._ensure_active(names.stream)
            for topic in topics:
                waiting[names.queue(topic)] = self._length(names.queue(topic))
                dead[names.dead_letters(topic)] = self._length(names.dead_letters(topic))
            dead[names.failures] = self._length(names.failures)
        except AwsError as e:
            # Anybody may ask, and AWS's words name accounts and roles.
            structlog.get_logger().error("log_not_seen", error=str(e))
            why = f"the log can't be looked at ({e.code or 'no answer'})"
            return Health(
                status="down", delivering=False, reasons=[why], waiting=waiting, dead=dead
            )
        reasons = [
            f"{count:,} messages wait in {name}"
            for name, count in waiting.items()
            if count > LAGGING_EVENTS
        ]
        reasons += [f"{count:,} messages are in {name}" for name, count in dead.items() if count]
        status: Status = "degraded" if reasons else "ok"
        return Health(status=status, delivering=True, reasons=reasons, waiting=waiting, dead=dead)

    def _ensure_active(self, stream: str) -> None:
        with asked(f"look at {stream}"):
            found = self._clients.kinesis.describe_stream_summary(StreamName=stream)
        status = found["StreamDescriptionSummary"]["StreamStatus"]
        if status not in ("ACTIVE", "UPDATING"):
            raise AwsError(f"the stream {stream} is {status}", code=status)

    def _length(self, queue: str) -> int:
        with asked(f"look at {queue}"):
            url = self._clients.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            found = self._clients.sqs.get_queue_attributes(
                QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        return int(found["Attributes"]["ApproximateNumberOfMessages"])
