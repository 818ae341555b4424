"""Sending many things in few calls, and only those again that a call refused.

Kinesis, SQS, DynamoDB and Firehose all answer a batch with "these I didn't take". One loop obeys
them all: batches are cut by number and bytes, what failed is sent again after a random wait that
grows ("full jitter"), what didn't is not. Of one key no two are ever under way in one call, and
none before those that came earlier have arrived: so a failure never lets a later one overtake.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from shopstream.aws.clients import asked, passes_by_itself
from shopstream.errors import AwsError
from shopstream.patience import wait_s

PATIENCE_S = 15.0
"""For how long calls may take nothing before it is given up. A function that answers a person must
end within API Gateway's 29 s, one slow call included.
"""

TAKES_NOTHING = "TakesNothing"
"""The code of the error that says so."""
NOT_IN_TIME = "NotInTime"
"""That of the one which says that some were taken, but not all by when the caller wanted."""

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
    patience_s: float = PATIENCE_S,
    until_s: float = math.inf,
    connections: int = 1,
) -> None:
    """Return when `send` has taken every parcel. It is given a batch and returns the indices of
    those that weren't taken; with `connections` above 1 that many threads call it.

    Raises AwsError when AWS refuses for good, has taken nothing for `patience_s`, or not all by
    `until_s` of `time.monotonic`, after which no call begins: some have arrived then. A call that
    timed out is repeated and may take effect twice.
    """
    lanes: dict[str, deque[Parcel[T]]] = {}
    for parcel in parcels:
        lanes.setdefault(parcel.key, deque()).append(parcel)
    tries, waited_s = 0, 0.0
    began = time.monotonic()
    for batch, failed in _tried_all(what, lanes, send, limits, connections):
        if len(failed) < len(batch):
            tries, waited_s, began = 0, 0.0, time.monotonic()
        if failed:
            tries += 1
            if max(waited_s, time.monotonic() - began) >= patience_s:
                raise AwsError(
                    f"{what}: AWS took none of {len(failed)} in {tries} tries; try again later",
                    code=TAKES_NOTHING,
                    busy=True,
                )
            pause_s = min(wait_s(tries), max(0.0, until_s - time.monotonic()))
            waited_s += pause_s
            (sleep or time.sleep)(pause_s)
        if lanes and time.monotonic() >= until_s:
            raise AwsError(
                f"{what}: AWS took not all of it in time; try again later",
                code=NOT_IN_TIME,
                busy=True,
            )


_Batch: TypeAlias = list[deque[Parcel[T]]]
"""The lanes of which a call sends the first. They are no other call's meanwhile."""


def _tried_all(
    what: str,
    lanes: dict[str, deque[Parcel[T]]],
    send: Callable[[list[T]], Iterable[int]],
    limits: CallLimits,
    connections: int,
) -> Iterator[tuple[_Batch[T], frozenset[int]]]:
    """Call after call, until all lanes are empty: what was tried, and which of it failed."""
    batch = _taken(lanes, limits)
    if not lanes or connections == 1:
        while batch:
            failed = _tried(what, send, batch)
            _settle(lanes, batch, failed)
            yield batch, failed
            batch = _taken(lanes, limits)
        return
    with ThreadPoolExecutor(connections) as pool:
        calls: dict[Future[frozenset[int]], _Batch[T]] = {}
        while batch or calls:
            while batch:
                calls[pool.submit(_tried, what, send, batch)] = batch
                batch = _taken(lanes, limits) if len(calls) < connections else []
            for done in wait(calls, return_when=FIRST_COMPLETED).done:
                tried = calls.pop(done)
                failed = done.result()
                _settle(lanes, tried, failed)
                yield tried, failed
            batch = _taken(lanes, limits)


def _tried(what: str, send: Callable[[list[T]], Iterable[int]], batch: _Batch[T]) -> frozenset[int]:
    try:
        with asked(what):
            return frozenset(send([lane[0].content for lane in batch]))
    except AwsError as e:
        if isinstance(e.__cause__, Exception) and passes_by_itself(e.__cause__):
            return frozenset(range(len(batch)))
        raise


def _taken(lanes: dict[str, deque[Parcel[T]]], limits: CallLimits) -> _Batch[T]:
    """Take lanes out, as many as one call may hold the first parcels of; at least one if any."""
    keys: list[str] = []
    size = 0
    for key, lane in lanes.items():
        size += lane[0].size
        if keys and (size > limits.size or len(keys) == limits.number):
            break
        keys.append(key)
    return [lanes.pop(key) for key in keys]


def _settle(lanes: dict[str, deque[Parcel[T]]], batch: _Batch[T], failed: frozenset[int]) -> None:
    """Put back what is left, behind the others, so that all keys come on."""
    for n, lane in enumerate(batch):
        key = lane[0].key
        if n not in failed:
            lane.popleft()
        if lane:
            lanes[key] = lane
