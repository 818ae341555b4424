"""Where `simulate --to` sends on AWS: raw events as anybody's AWS SDK would send them.

`kinesis://STREAM`, `sqs://QUEUE`, `firehose://STREAM` and `s3://BUCKET/PREFIX`; see `addresses`.
Calls are cut at the service's limits; what a call refuses is sent again with jitter; several calls
are under way at once, but none with a user of whom earlier events are.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from gzip import compress
from threading import Lock
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from shopstream.aws.addresses import Address, read_address
from shopstream.aws.carrying import Carries, Keyed, as_line, as_lines, carries
from shopstream.aws.clients import Clients, asked
from shopstream.aws.delivery import CALL_LIMITS, RECORD_BYTES_MAX
from shopstream.aws.log import (
    KINESIS_CALL,
    KINESIS_RECORD_BYTES_MAX,
    SQS_CALL,
    platform_key,
)
from shopstream.aws.names import Names
from shopstream.aws.pipeline import Pipeline
from shopstream.aws.resending import Parcel, send_all
from shopstream.aws.wire import as_text
from shopstream.domain.partition import partition_key
from shopstream.errors import ConfigError, SourceError

S3_BYTES_MAX = 32 * 1024 * 1024
"""Of an object before it is compressed."""
_NOT_FOR_SQS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Source: Amazon SQS API Reference, SendMessage: the characters that a message may have."""
_RETRIED = frozenset({"RequestThrottled", "ThrottlingException", "KmsThrottled"})


class Destination:
    """A destination of `simulate`; the services differ in `_deliver`."""

    direct = False
    events_max = 1 << 30
    bytes_max = 0
    _in_order = True

    def __init__(self, clients: Clients, name: str, sleep: Callable[[float], None] | None) -> None:
        self._clients = clients
        self._name = name
        self._sleep = sleep
        self._refused = 0
        self._telling = Lock()
        self.why = ""
        self._pipeline = Pipeline()

    @property
    def failed(self) -> int:
        """Events that were not taken: refused one by one, or in calls that failed for good."""
        return self._refused + self._pipeline.failed

    def send(self, topic: str, events: Sequence[bytes]) -> None:
        """Return when the batch is on its way. Raises what an earlier batch failed with."""
        keyed = [
            Keyed(platform_key(partition_key(topic, "shopstream", raw), raw), raw, 1)
            for raw in events
        ]
        keys = {one.key for one in keyed} if self._in_order else ()
        self._pipeline.submit(keys, len(events), lambda: self._deliver(topic, keyed))

    def close(self) -> None:
        """Return when all is taken. Raises AwsError when something was refused for good."""
        error = self._pipeline.finish()
        if error is not None:
            self.why = self.why or str(error)
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _deliver(self, topic: str, events: list[Keyed]) -> None:
        raise NotImplementedError

    def _refuse(self, events: int, why: str) -> None:
        with self._telling:
            self._refused += events
            self.why = self.why or why


class KinesisDestination(Destination):
    """A data stream. Events of one user in a batch are lines of one record."""

    events_max = 10_000
    bytes_max = KINESIS_CALL.size - 64 * 1024

    def __init__(
        self,
        clients: Clients,
        stream: Address,
        found: Carries,
        *,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(clients, stream.name, sleep)
        self._carries = found
        self._stream: Any = {"StreamARN": stream.arn} if stream.arn else {"StreamName": stream.name}
        with asked(f"find the stream {self._name}"):
            clients.kinesis.describe_stream_summary(**self._stream)

    def _deliver(self, topic: str, events: list[Keyed]) -> None:
        parcels = []
        lines = [self._carries.line(topic, one) for one in events]
        for one in as_lines(lines, KINESIS_RECORD_BYTES_MAX):
            body = self._carries.body(topic, one)
            size = len(body) + len(one.key)
            if size > KINESIS_RECORD_BYTES_MAX:
                self._refuse(one.events, _too_large(size, KINESIS_RECORD_BYTES_MAX))
            else:
                parcels.append(Parcel(one.key, size, one._replace(body=body)))

        def put(records: list[Keyed]) -> Iterator[int]:
            answer = self._clients.kinesis.put_records(
                Records=[{"Data": r.body, "PartitionKey": r.key} for r in records],
                **self._stream,
            )
            if answer["FailedRecordCount"]:
                for n, one in enumerate(answer["Records"]):
                    if one.get("ErrorCode"):
                        yield n

        send_all(f"put to {self._name}", parcels, put, KINESIS_CALL, sleep=self._sleep)


class SqsDestination(Destination):
    """A queue, an event a message. A FIFO queue gets the user as the message's group."""

    events_max, bytes_max = SQS_CALL

    def __init__(
        self,
        clients: Clients,
        queue: Address,
        found: Carries,
        *,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(clients, queue.name, sleep)
        self._carries = found
        self._fifo = queue.name.endswith(".fifo")
        with asked(f"find the queue {self._name}"):
            self._url = queue.place if "://" in queue.place else _url(clients, queue)
            said = clients.sqs.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=["MaximumMessageSize"]
            )
        self._message_bytes_max = int(said["Attributes"]["MaximumMessageSize"])

    def _deliver(self, topic: str, events: list[Keyed]) -> None:
        parcels = []
        for one in (self._carries.line(topic, event) for event in events):
            text = self._text(topic, one)
            size = len(text.encode())
            if not text:
                self._refuse(1, "an event has characters that SQS doesn't take")
            elif size > self._message_bytes_max:
                self._refuse(1, _too_large(size, self._message_bytes_max))
            else:
                # The id stays when the message is sent again: a FIFO queue then keeps it once.
                parcels.append(Parcel(one.key, size, (one.key, uuid4().hex, text)))

        def put(messages: list[tuple[str, str, str]]) -> Iterator[int]:
            answer = self._clients.sqs.send_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(n), "MessageBody": text}
                    if not self._fifo
                    else {
                        "Id": str(n),
                        "MessageBody": text,
                        "MessageGroupId": key,
                        "MessageDeduplicationId": id,
                    }
                    for n, (key, id, text) in enumerate(messages)
                ],
            )
            for failed in answer.get("Failed", []):
                if failed["SenderFault"] and failed["Code"] not in _RETRIED:
                    self._refuse(1, f"{failed['Code']}: {failed.get('Message', '')}")
                else:
                    yield int(failed["Id"])

        send_all(f"send to {self._name}", parcels, put, SQS_CALL, sleep=self._sleep)

    def _text(self, topic: str, one: Keyed) -> str:
        """The message; "" when SQS takes no such characters and the queue isn't ours."""
        try:
            text = as_text(self._carries.body(topic, one))
        except UnicodeDecodeError:
            text = ""
        if text and not _NOT_FOR_SQS.search(text):
            return text
        return as_text(self._carries.packed(topic, one))


class FirehoseDestination(Destination):
    """A delivery stream: lines, many in a record (each record is billed as 5 KiB at least)."""

    bytes_max = CALL_LIMITS.size
    _in_order = False

    def __init__(
        self,
        clients: Clients,
        stream: str,
        *,
        name_topics: bool,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(clients, stream, sleep)
        self._name_topics = name_topics
        with asked(f"find the delivery stream {stream}"):
            clients.firehose.describe_delivery_stream(DeliveryStreamName=stream)

    def _deliver(self, topic: str, events: list[Keyed]) -> None:
        parcels = []
        lines = [one._replace(key="", body=as_line(topic, one.body, name_topics=self._name_topics))
                 for one in events]  # fmt: skip
        for n, one in enumerate(as_lines(lines, RECORD_BYTES_MAX - 1)):
            if len(one.body) + 1 > RECORD_BYTES_MAX:
                self._refuse(one.events, _too_large(len(one.body) + 1, RECORD_BYTES_MAX))
            else:
                parcels.append(Parcel(str(n), len(one.body) + 1, one.body + b"\n"))

        def put(records: list[bytes]) -> Iterator[int]:
            answer = self._clients.firehose.put_record_batch(
                DeliveryStreamName=self._name, Records=[{"Data": record} for record in records]
            )
            if answer["FailedPutCount"]:
                for n, one in enumerate(answer["RequestResponses"]):
                    if one.get("ErrorCode"):
                        yield n

        send_all(f"put to {self._name}", parcels, put, CALL_LIMITS, sleep=self._sleep)


class S3Destination(Destination):
    """A bucket: each batch is an object of gzipped lines, under a name that nothing has yet."""

    bytes_max = S3_BYTES_MAX

    def __init__(
        self,
        clients: Clients,
        place: str,
        *,
        name_topics: bool,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._bucket, _, prefix = place.partition("/")
        super().__init__(clients, self._bucket, None)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._name_topics = name_topics
        began = datetime.fromtimestamp(now_us() / 1e6, UTC)
        self._run = f"{began:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"
        self._batches = 0
        with asked(f"find the bucket {self._bucket}"):
            clients.s3.head_bucket(Bucket=self._bucket)

    def send(self, topic: str, events: Sequence[bytes]) -> None:
        self._batches += 1
        key = f"{self._prefix}{topic}-{self._run}-{self._batches:06d}.ndjson.gz"
        lines = b"".join(
            as_line(topic, raw, name_topics=self._name_topics) + b"\n" for raw in events
        )

        def put() -> None:
            with asked(f"put s3://{self._bucket}/{key}"):
                self._clients.s3.put_object(
                    Bucket=self._bucket, Key=key, Body=compress(lines, 6, mtime=0)
                )

        self._pipeline.submit((), len(events), put)


def open_destination(
    clients: Clients, names: Names, to: str, *, name_topics: bool = False
) -> Destination:
    """The destination that `to` names. Raises SourceError for one that is no such address, AwsError
    when it isn't there or may not be used.
    """
    address = read_address(to)
    clients = clients.in_region(address.region)
    if address.service == "s3":
        return S3Destination(clients, address.place, name_topics=name_topics)
    if address.service == "firehose":
        _ensure_may_take(clients, names, to, address)
        return FirehoseDestination(clients, address.name, name_topics=name_topics)
    found = carries(names, address.name, name_topics=name_topics)
    if address.service == "kinesis":
        return KinesisDestination(clients, address, found)
    return SqsDestination(clients, address, found)


def _ensure_may_take(clients: Clients, names: Names, to: str, address: Address) -> None:
    if address.name.startswith(names.delivery("")):
        raise ConfigError(
            f"{to}: bronze is landed by it, and events sent past the functions would be in no"
            f" table; use sqs://{names.queue('clicks')}, or `--engine aws` without --to"
        )
    if address.account and address.account != (own := names.account or clients.account):
        raise SourceError(
            f"{to}: Firehose takes events of its own account alone, and these credentials are of"
            f" {own}"
        )


def _url(clients: Clients, queue: Address) -> str:
    if queue.account:
        found = clients.sqs.get_queue_url(
            QueueName=queue.name, QueueOwnerAWSAccountId=queue.account
        )
    else:
        found = clients.sqs.get_queue_url(QueueName=queue.name)
    return found["QueueUrl"]


def _too_large(size: int, most: int) -> str:
    return (
        f"an event of {size:,} bytes is over the {most:,} that one message may have;"
        " choose a smaller --target-kb, or `--engine aws` without --to, which puts large ones in S3"
    )
