"""The offers job in memory: msgspec and dicts, nothing stored: `dict_offers.py INPUT`.

The least that any Python can do for this job, and an independent computation of its answer. Takes
the events as our processor does: in batches of 10,000 as they arrived, each sorted by event time,
timers fired once the latest event time has passed them. Prints JSON: seconds, and the offers of
each rule.
"""

import json
import sys
import time
from heapq import heappop, heappush
from pathlib import Path

import msgspec

from benchmarks.events import batches
from shopstream.events import Click

BATCH = 10_000
WITHIN_US = 30 * 60 * 1_000_000
IDLE_US = 15 * 60 * 1_000_000
_NEVER = -(1 << 62)

Key = tuple[str, str]


class Offers:
    """Both rules over all users, by (user, product)."""

    def __init__(self) -> None:
        self.viewed = 0
        self.abandoned = 0
        self._views: dict[Key, tuple[int, int]] = {}
        self._floor: dict[Key, int] = {}
        self._bought: dict[Key, int] = {}
        self._waiting: dict[Key, tuple[int, int]] = {}
        self._timers: list[tuple[int, Key]] = []

    def view(self, key: Key, at_us: int) -> None:
        older, newer = self._views.get(key, (_NEVER, _NEVER))
        if at_us <= self._floor.get(key, _NEVER):
            return
        if at_us < newer:
            older, newer, at_us = sorted((older, newer, at_us))
        if older < at_us - WITHIN_US or self._bought.get(key, _NEVER) >= at_us - WITHIN_US:
            self._views[key] = (newer, at_us)
            return
        self.viewed += 1
        self._floor[key] = at_us
        del self._views[key]

    def put_in_cart(self, key: Key, at_us: int) -> None:
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = (at_us, at_us)
            heappush(self._timers, (at_us + IDLE_US, key))
        else:
            self._waiting[key] = (waiting[0], max(waiting[1], at_us))

    def buy(self, key: Key, at_us: int) -> None:
        self._bought[key] = max(at_us, self._bought.get(key, _NEVER))

    def pass_to(self, watermark_us: int) -> None:
        """Fire the timers that are due."""
        while self._timers and self._timers[0][0] <= watermark_us:
            due_us, key = heappop(self._timers)
            began_us, touched_us = self._waiting[key]
            if touched_us + IDLE_US > due_us:
                heappush(self._timers, (touched_us + IDLE_US, key))
                continue
            del self._waiting[key]
            if self._bought.get(key, _NEVER) < began_us:
                self.abandoned += 1


def offers_of(path: Path) -> Offers:
    """Both rules' offers over the events of a file."""
    read = msgspec.json.Decoder(Click).decode
    offers = Offers()
    take = {
        "view": offers.view,
        "add_to_cart": offers.put_in_cart,
        "purchase": offers.buy,
    }
    watermark_us = 0
    for batch in batches(path, BATCH):
        found = []
        for raw in batch:
            try:
                click = read(raw)
            except msgspec.DecodeError:
                continue
            at_us = int(click.timestamp.timestamp() * 1_000_000 + 0.5)
            watermark_us = max(watermark_us, at_us)
            if click.event_type in take and click.product_id is not None:
                found.append((at_us, click.event_type, (click.user_id, click.product_id)))
        found.sort(key=lambda event: event[0])
        for at_us, event_type, key in found:
            take[event_type](key, at_us)
        offers.pass_to(watermark_us)
    return offers


def main(path: Path) -> None:
    started = time.perf_counter()
    offers = offers_of(path)
    took_s = time.perf_counter() - started
    print(json.dumps({"seconds": took_s, "viewed": offers.viewed, "cart": offers.abandoned}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
