"""Landing on AWS: lines of bronze go to Firehose, which makes files of them in S3."""

import time
from collections.abc import Callable, Iterator, Sequence

from shopstream.aws.clients import Clients
from shopstream.aws.lake import S3Lake, landed_name, packed_lines
from shopstream.aws.names import Names
from shopstream.aws.resending import CallLimits, Parcel, send_all

RECORD_BYTES_MAX = 1_000 * 1024
CALL_LIMITS = CallLimits(500, 4 * 1024 * 1024)
"""Source: Amazon Data Firehose Developer Guide, "Quotas". A record is billed as 5 KiB at least,
so each is filled with as many lines as it takes."""


class Delivery:
    """Hands lines to the Firehose of their topic: at least once, in no promised order."""

    def __init__(
        self, clients: Clients, names: Names, *, sleep: Callable[[float], None] | None = None
    ) -> None:
        self._clients = clients
        self._names = names
        self._lake = S3Lake(clients, names)
        self._sleep = sleep

    def deliver(self, topic: str, lines: Sequence[bytes]) -> None:
        """Return when AWS has taken all of `lines`, each JSON without its line's end.

        A line that no record can hold (an order with a large payload) becomes a file by itself.
        """
        records = []
        for record in _records(lines):
            if len(record) > RECORD_BYTES_MAX:
                now_us = time.time_ns() // 1_000
                self._lake.put(landed_name(topic, record, now_us), packed_lines(record))
            else:
                records.append(record)
        stream = self._names.delivery(topic)

        def put(batch: list[bytes]) -> list[int]:
            answer = self._clients.firehose.put_record_batch(
                DeliveryStreamName=stream, Records=[{"Data": record} for record in batch]
            )
            if not answer["FailedPutCount"]:
                return []
            answers = answer["RequestResponses"]
            return [n for n, one in enumerate(answers) if one.get("ErrorCode")]

        parcels = (Parcel(str(n), len(record), record) for n, record in enumerate(records))
        send_all(f"deliver to {stream}", parcels, put, CALL_LIMITS, sleep=self._sleep)


def _records(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Lines put together, each with its end, until a record is full."""
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        if waiting and size + len(line) + 1 > RECORD_BYTES_MAX:
            yield b"\n".join(waiting) + b"\n"
            waiting, size = [], 0
        waiting.append(line)
        size += len(line) + 1
    if waiting:
        yield b"\n".join(waiting) + b"\n"
