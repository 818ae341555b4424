"""Sending many things in few calls, and only those again that a call refused.

Kinesis, SQS, DynamoDB and Firehose all answer a batch with "these I didn't take". One loop obeys
them all: batches are cut by number and bytes, what failed is sent again after a random wait that
grows ("full jitter"), what didn't is not. Of one key no two are ever under way in one call, and
none before those that came earlier have arrived: so a failure never lets a later one overtake.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from shopstream.aws.clients import asked, passes_by_itself
from shopstream.errors import AwsError
from shopstream.patience import wait_s

TRIES_MAX = 8
"""Calls in a row that take nothing, after which it is given up: 30 s on average."""

T = TypeVar("T")


class Parcel(NamedTuple, Generic[T]):
    """Something to send: what it must stay in order with, its bytes by AWS's count."""

    key: str
    size: int
    content: T


class CallLimits(NamedTuple):
    """What one call may hold."""

    number: int
    size: int


def send_all(
    what: str,
    parcels: Iterable[Parcel[T]],
    send: Callable[[list[T]], Iterable[int]],
    limits: CallLimits,
    *,
    sleep: Callable[[float], Any] | None = None,
) -> None:
    """Return when `send` has taken every parcel. It is given a batch and returns the indices of
    those that weren't taken.

    Raises AwsError when AWS refuses for good, or takes nothing any more: some have arrived then.
    A call that timed out is repeated and may take effect twice.
    """
    lanes: dict[str, deque[Parcel[T]]] = {}
    for parcel in parcels:
        lanes.setdefault(parcel.key, deque()).append(parcel)
    tries = 0
    while lanes:
        batch = _heads(lanes, limits)
        failed = _tried(what, send, batch)
        for n, parcel in enumerate(batch):
            if n not in failed:
                _taken(lanes, parcel.key)
        if len(failed) < len(batch):
            tries = 0
        if failed:
            tries += 1
            if tries > TRIES_MAX:
                raise AwsError(
                    f"{what}: AWS took none of {len(failed)} in {tries} tries; try again later",
                    code="Throttled",
                )
            (sleep or time.sleep)(wait_s(tries))


def _tried(
    what: str, send: Callable[[list[T]], Iterable[int]], batch: list[Parcel[T]]
) -> frozenset[int]:
    try:
        with asked(what):
            return frozenset(send([parcel.content for parcel in batch]))
    except AwsError as e:
        if isinstance(e.__cause__, Exception) and passes_by_itself(e.__cause__):
            return frozenset(range(len(batch)))
        raise


def _heads(lanes: dict[str, deque[Parcel[T]]], limits: CallLimits) -> list[Parcel[T]]:
    """The first of each lane, as many as one call may hold; at least one."""
    batch: list[Parcel[T]] = []
    size = 0
    for lane in lanes.values():
        size += lane[0].size
        if batch and (size > limits.size or len(batch) == limits.number):
            break
        batch.append(lane[0])
    return batch


def _taken(lanes: dict[str, deque[Parcel[T]]], key: str) -> None:
    lane = lanes.pop(key)
    lane.popleft()
    if lane:
        lanes[key] = lane  # behind the others, so that all keys come on
