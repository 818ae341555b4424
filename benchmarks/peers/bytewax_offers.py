# mypy: disable-error-code="import-not-found,misc"
# bytewax lives in the peers' own environment, where mypy doesn't look: its classes are Any.
"""The offers job as a bytewax dataflow: `bytewax_offers.py INPUT END_US`.

State by (user, product), events as they arrive, nothing stored and no recovery store. An add to
cart is looked at when the next event of its key comes, or at the end, since bytewax's own timers
go by the clock. Prints JSON: seconds, and the offers of each rule.
"""

import json
import sys
import time
from collections import Counter
from datetime import datetime
from itertools import islice
from typing import BinaryIO, Literal

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.operators import StatefulLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

WITHIN_US = 30 * 60 * 1_000_000
IDLE_US = 15 * 60 * 1_000_000
BATCH = 1_000
_NEVER = -(1 << 62)
_WANTED = ("view", "add_to_cart", "purchase")


class Event(msgspec.Struct, gc=False):
    """What the job needs of an event; the rest is skipped, not checked."""

    user_id: str
    product_id: str
    timestamp: datetime
    event_type: Literal[
        "view", "click", "add_to_cart", "remove_from_cart", "begin_checkout", "purchase", "search"
    ]


_read = msgspec.json.Decoder(Event).decode


class Lines(StatelessSourcePartition):
    """The lines of the file, a thousand at a time."""

    def __init__(self, path: str) -> None:
        self._file: BinaryIO = open(path, "rb")  # noqa: PTH123, SIM115  # closed at the end

    def next_batch(self) -> list[bytes]:
        lines = list(islice(self._file, BATCH))
        if not lines:
            raise StopIteration
        return lines

    def close(self) -> None:
        self._file.close()


class Input(DynamicSource):
    def __init__(self, path: str) -> None:
        self._path = path

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Lines:  # noqa: ARG002  # bytewax calls it so
        return Lines(self._path)


class Count(StatelessSinkPartition):
    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def write_batch(self, items: list[tuple[str, str]]) -> None:
        self._counts.update(rule for _, rule in items)


class Output(DynamicSink):
    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Count:  # noqa: ARG002  # bytewax calls it so
        return Count(self._counts)


class Offers(StatefulLogic):
    """Both rules for one user and product."""

    __slots__ = ("_added", "_bought", "_end_us", "_newer", "_older")

    def __init__(self, end_us: int) -> None:
        self._end_us = end_us
        self._older = self._newer = self._bought = self._added = _NEVER

    def on_item(self, value: tuple[str, int]) -> tuple[list[str], bool]:
        event_type, at_us = value
        if event_type == "view":
            return self._view(at_us), StatefulLogic.RETAIN
        made = self._abandoned(at_us)
        if event_type == "purchase":
            self._bought, self._added = at_us, _NEVER
        else:
            self._added = at_us
        return made, StatefulLogic.RETAIN

    def _view(self, at_us: int) -> list[str]:
        since_us = at_us - WITHIN_US
        if self._older >= since_us and self._bought < since_us:
            self._older = self._newer = _NEVER
            return ["viewed"]
        self._older, self._newer = self._newer, at_us
        return []

    def _abandoned(self, now_us: int) -> list[str]:
        return ["cart"] if self._added != _NEVER and self._added + IDLE_US < now_us else []

    def on_eof(self) -> tuple[list[str], bool]:
        return self._abandoned(self._end_us), StatefulLogic.DISCARD

    def snapshot(self) -> None:
        return None


def events(lines: list[bytes]) -> list[tuple[str, tuple[str, int]]]:
    """What of a batch of lines is valid and matters, by key."""
    found: list[tuple[str, tuple[str, int]]] = []
    for line in lines:
        try:
            event = _read(line)
        except msgspec.DecodeError:
            continue
        if event.event_type in _WANTED:
            at_us = int(event.timestamp.timestamp() * 1_000_000 + 0.5)
            found.append((f"{event.user_id}|{event.product_id}", (event.event_type, at_us)))
    return found


def main(path: str, end_us: int) -> None:
    counts: Counter[str] = Counter()
    flow = Dataflow("offers")
    lines = op.input("lines", flow, Input(path))
    keyed = op.flat_map_batch("decode", lines, events)
    made = op.stateful("rules", keyed, lambda _: Offers(end_us))
    op.output("count", made, Output(counts))
    started = time.perf_counter()
    run_main(flow)
    took_s = time.perf_counter() - started
    print(json.dumps({"seconds": took_s, "viewed": counts["viewed"], "cart": counts["cart"]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
