"""The log on AWS: Kinesis or SQS, entries cut by partition key into records.

A record holds events of one user (customer, product) that came together. Its key is what the
platform keeps in order: Kinesis' partition key, SQS' message group. Its id is its own, so that a
record which arrives twice is known to be one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from shopstream.aws.clients import Clients, asked
from shopstream.aws.resending import NOT_IN_TIME, TAKES_NOTHING, CallLimits, Parcel, send_all
from shopstream.aws.wire import (
    Record,
    as_text,
    claim_check,
    claim_name,
    new_record_id,
    pack,
)
from shopstream.domain.partition import split_by_key
from shopstream.errors import AwsError, LogFull
from shopstream.events import Entry
from shopstream.ports import AppendLog, Lake, Tables

MIB = 1024 * 1024
KINESIS_RECORD_BYTES_MAX = MIB
KINESIS_CALL = CallLimits(500, 5 * MIB)
"""Source: Amazon Kinesis Data Streams, "Quotas and limits": partition keys count too."""
SQS_MESSAGE_BYTES_MAX = 256 * 1024
"""As our queues are made. SQS allows 1 MiB since 2025, Terraform's provider doesn't yet."""
SQS_CALL = CallLimits(10, MIB)
"""Source: Amazon SQS, "Message quotas": the size is that of all messages of a call."""
KEY_CHARS_MAX = 128
"""Of a message group's name; Kinesis would take 256."""
CONNECTIONS = 4
"""Calls at once, where an append needs several."""
PROGRESS = "progress"
RETRY_AFTER_S = 5

Sleep = Callable[[float], None]
Until = Callable[[], float]
T = TypeVar("T")


def _for_ever() -> float:
    return math.inf


class _Packed(NamedTuple):
    """A record ready to be sent."""

    key: str
    record_id: str
    body: bytes


class _RecordLog(ABC):
    """What Kinesis and SQS have in common: `ports.AppendLog` over a way to send records.

    Not all or none: see `ports.AppendLog`. `progress` is an item of the table `state`, put when
    all entries have arrived; after a crash in between, the source is read again from before. Where
    an append has to end in time, `until_s` says the time (`time.monotonic`) when it begins.
    """

    def __init__(self, tables: Tables, lake: Lake, sleep: Sleep | None, until_s: Until) -> None:
        self._tables = tables
        self._lake = lake
        self._sleep = sleep
        self._until_s = until_s
        self._taken = 0

    def append(self, entries: Sequence[Entry], *, progress: Mapping[str, int] | None = None) -> int:
        packed = [
            self._packed(key, part)
            for entry in entries
            if entry.events
            for key, part in split_by_key(entry)
        ]
        try:
            self._send(packed)
        except AwsError as e:
            if e.code in (TAKES_NOTHING, NOT_IN_TIME):
                raise LogFull(str(e), RETRY_AFTER_S) from e
            raise
        if progress:
            batch = self._tables.batch()
            for source, done in progress.items():
                batch.put("state", PROGRESS, source, str(done).encode())
            self._tables.write(batch)
        self._taken += sum(len(entry.events) for entry in entries)
        return self._taken

    def progress(self, source: str) -> int:
        return int(self._tables.get("state", PROGRESS, source) or 0)

    def close(self) -> None:  # noqa: B027  # nothing is held open, on either
        """Nothing to do."""

    def _packed(self, key: str, entry: Entry) -> _Packed:
        record = Record(new_record_id(), entry)
        body = pack(record)
        name = platform_key(key, entry.events[0])
        if self._size(body) + len(name) > self._record_bytes_max:
            claim = claim_name(record)
            self._lake.put(claim, body)
            body = claim_check(claim)
        return _Packed(name, record.record_id, body)

    def _send_all(
        self,
        what: str,
        parcels: Iterable[Parcel[T]],
        put: Callable[[list[T]], Iterable[int]],
        limits: CallLimits,
    ) -> None:
        send_all(
            what,
            parcels,
            put,
            limits,
            sleep=self._sleep,
            until_s=self._until_s(),
            connections=CONNECTIONS,
        )

    _record_bytes_max: int

    @abstractmethod
    def _size(self, body: bytes) -> int:
        """Bytes of a record as the platform counts them, its key apart."""

    @abstractmethod
    def _send(self, packed: list[_Packed]) -> None: ...


class KinesisLog(_RecordLog):
    """A Kinesis data stream: per key in order, at least once."""

    _record_bytes_max = KINESIS_RECORD_BYTES_MAX

    def __init__(
        self,
        clients: Clients,
        stream: str,
        tables: Tables,
        lake: Lake,
        *,
        sleep: Sleep | None = None,
        until_s: Until = _for_ever,
    ) -> None:
        super().__init__(tables, lake, sleep, until_s)
        self._clients = clients
        self._stream = stream

    def _size(self, body: bytes) -> int:
        return len(body)

    def _send(self, packed: list[_Packed]) -> None:
        def put(records: list[_Packed]) -> Iterator[int]:
            answer = self._clients.kinesis.put_records(
                StreamName=self._stream,
                Records=[{"Data": r.body, "PartitionKey": r.key} for r in records],
            )
            for n, one in enumerate(answer["Records"]):
                if one.get("ErrorCode"):
                    yield n

        parcels = (Parcel(r.key, len(r.key) + len(r.body), r) for r in packed)
        self._send_all(f"put to {self._stream}", parcels, put, KINESIS_CALL)


class SqsLog(_RecordLog):
    """An SQS queue, by its name or URL. A FIFO queue (its name ends in `.fifo`): per key in order,
    and a message that is sent again within five minutes is one. Any other: in no order.
    """

    _record_bytes_max = SQS_MESSAGE_BYTES_MAX

    def __init__(
        self,
        clients: Clients,
        queue: str,
        tables: Tables,
        lake: Lake,
        *,
        sleep: Sleep | None = None,
        until_s: Until = _for_ever,
    ) -> None:
        super().__init__(tables, lake, sleep, until_s)
        self._clients = clients
        self._queue = queue
        self._fifo = queue.endswith(".fifo")

    @cached_property
    def url(self) -> str:
        if "://" in self._queue:
            return self._queue
        with asked(f"find the queue {self._queue}"):
            return self._clients.sqs.get_queue_url(QueueName=self._queue)["QueueUrl"]

    def _size(self, body: bytes) -> int:
        return len(as_text(body))

    def _send(self, packed: list[_Packed]) -> None:
        url = self.url

        def put(messages: list[tuple[_Packed, str]]) -> Iterator[int]:
            answer = self._clients.sqs.send_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(n), "MessageBody": text}
                    if not self._fifo
                    else {
                        "Id": str(n),
                        "MessageBody": text,
                        "MessageGroupId": record.key,
                        "MessageDeduplicationId": record.record_id,
                    }
                    for n, (record, text) in enumerate(messages)
                ],
            )
            for failed in answer.get("Failed", []):
                if failed["SenderFault"] and failed["Code"] not in _NOT_OUR_FAULT:
                    raise AwsError(
                        f"send to {self._queue}: AWS answered {failed['Code']}:"
                        f" {failed.get('Message', '')}",
                        code=failed["Code"],
                    )
                yield int(failed["Id"])

        def parcels() -> Iterator[Parcel[tuple[_Packed, str]]]:
            for record in packed:
                text = as_text(record.body)
                yield Parcel(record.key, len(text), (record, text))

        self._send_all(f"send to {self._queue}", parcels(), put, SQS_CALL)


_NOT_OUR_FAULT = frozenset({"RequestThrottled", "ThrottlingException", "KmsThrottled"})
"""SQS calls the sender at fault for sending too fast, too: sent again later they pass."""


class AwsLog:
    """`ports.AppendLog` over both ways in: clicks and carts by user, orders and stock by theirs."""

    def __init__(self, clicks: AppendLog, orders: AppendLog) -> None:
        self._clicks = clicks
        self._orders = orders
        self._taken = 0

    def append(self, entries: Sequence[Entry], *, progress: Mapping[str, int] | None = None) -> int:
        clicks = [entry for entry in entries if entry.topic in ("clicks", "carts")]
        orders = [entry for entry in entries if entry.topic not in ("clicks", "carts")]
        if orders:
            self._orders.append(orders)
        if clicks or progress:
            self._clicks.append(clicks, progress=progress)
        self._taken += sum(len(entry.events) for entry in entries)
        return self._taken

    def progress(self, source: str) -> int:
        return self._clicks.progress(source)

    def close(self) -> None:
        self._clicks.close()
        self._orders.close()


def platform_key(key: str, first: bytes) -> str:
    """What Kinesis and SQS keep records in order by: the key as it is, where both allow it, else
    a hash of it; of events without a key, a hash of the first.
    """
    if key and len(key) <= KEY_CHARS_MAX and key.isascii() and key.isprintable() and " " not in key:
        return key
    told = key.encode("utf-8", "surrogatepass") or first
    return blake2b(told, digest_size=16).hexdigest()
