"""The offers job in memory: msgspec and dicts, nothing stored: `dict_offers.py INPUT [KEYS_MAX]`.

What Python does in memory for this job, and a second implementation of its rules. Takes the
events as our processor does: a thousand at a time as they arrived, each thousand in the order
of event time; then the timers fire that the latest event time has passed. With KEYS_MAX it
remembers of a user no more products than our processor does, and must then make the very same
offers. Prints JSON: seconds, and the offers of each rule.
"""

import json
import sys
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.events import batches
from shopstream.events import Click

ROW = 1_000
VIEWS = 3
WITHIN_US = 30 * 60 * 1_000_000
IDLE_US = 15 * 60 * 1_000_000
_NEVER = -(1 << 62)

V = TypeVar("V")


class User:
    """What both rules remember of one user, by product."""

    __slots__ = ("bought", "lines", "timers", "views")

    def __init__(self) -> None:
        self.views: dict[str, list[int]] = {}  # time of the last offer, then of the views since
        self.bought: dict[str, int] = {}
        self.timers: list[tuple[int, str]] = []
        self.lines: dict[str, list[int]] = {}  # when it began, was touched, was offered


class Offers:
    """Both rules over all users."""

    def __init__(self, keys_max: int = 0) -> None:
        self.viewed = 0
        self.abandoned = 0
        self._keys_max = keys_max
        self._users: dict[str, User] = {}
        self._timers: list[tuple[int, str, str]] = []
        self._armed: dict[tuple[str, str], int] = {}

    def take(self, event_type: str, user_id: str, product: str, at_us: int) -> None:
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = User()
        if event_type == "view":
            self._view(user, product, at_us)
        elif event_type == "add_to_cart":
            self._add(user, user_id, product, at_us)
        else:
            self._make_room(user.bought, product, lambda at: at)
            user.bought[product] = max(at_us, user.bought.get(product, _NEVER))

    def _view(self, user: User, product: str, at_us: int) -> None:
        times = user.views.get(product)
        if times is None:
            self._make_room(user.views, product, lambda times: times[-1])
            user.views[product] = [_NEVER, at_us]
            return
        if at_us <= times[0]:
            return
        insort(times, at_us)
        since = max(1, bisect_left(times, at_us - WITHIN_US))
        reached = bisect_left(times, at_us + 1) - since >= VIEWS
        del times[1:-VIEWS]
        if reached and user.bought.get(product, _NEVER) < at_us - WITHIN_US:
            self.viewed += 1
            user.views[product] = [at_us, *(t for t in times if t > at_us)]

    def _add(self, user: User, user_id: str, product: str, at_us: int) -> None:
        # What has fallen idle by now has done so before this event, if in the same row.
        while user.timers and user.timers[0][0] <= at_us:
            self._fire(heappop(user.timers), user_id)
        line = user.lines.get(product)
        if line is None:
            self._make_room(user.lines, product, lambda line: line[1])
        elif not (
            at_us - line[1] >= IDLE_US
            or line[0] <= user.bought.get(product, _NEVER) < at_us
            or (line[2] != _NEVER and at_us >= line[2])
        ):
            line[1] = max(line[1], at_us)
            return
        user.lines[product] = [at_us, at_us, _NEVER]
        self._arm(at_us + IDLE_US, user_id, product)

    def _arm(self, due_us: int, user_id: str, product: str) -> None:
        if (user_id, product) not in self._armed:
            self._armed[user_id, product] = due_us
            heappush(self._timers, (due_us, user_id, product))
            heappush(self._users[user_id].timers, (due_us, product))

    def pass_to(self, watermark_us: int) -> None:
        """Fire the timers that are due."""
        while self._timers and self._timers[0][0] <= watermark_us:
            fired_us, user_id, product = heappop(self._timers)
            self._fire((fired_us, product), user_id)

    def _fire(self, timer: tuple[int, str], user_id: str) -> None:
        fired_us, product = timer
        if self._armed.get((user_id, product)) != fired_us:
            return
        del self._armed[user_id, product]
        user = self._users[user_id]
        line = user.lines.get(product)
        if line is None or line[2] != _NEVER:
            return
        due_us = line[1] + IDLE_US
        if due_us > fired_us:
            self._arm(due_us, user_id, product)
        elif user.bought.get(product, _NEVER) < line[0]:
            self.abandoned += 1
            line[2] = due_us

    def _make_room(self, table: dict[str, V], product: str, last: Callable[[V], int]) -> None:
        """Forget, as our processor does, when a user has too many products."""
        if not self._keys_max or len(table) < self._keys_max or product in table:
            return
        horizon_us = max(map(last, table.values())) - WITHIN_US
        by_age = sorted(table, key=lambda known: last(table[known]), reverse=True)
        kept = {k for k in by_age[: self._keys_max * 3 // 4] if last(table[k]) >= horizon_us}
        for gone in [known for known in table if known not in kept]:
            del table[gone]


def offers_of(path: Path, keys_max: int = 0) -> Offers:
    """Both rules' offers over the events of a file."""
    read = msgspec.json.Decoder(Click).decode
    offers = Offers(keys_max)
    take = offers.take
    wanted = frozenset({"view", "add_to_cart", "purchase"})
    watermark_us = 0
    for row in batches(path, ROW):
        found = []
        for raw in row:
            try:
                click = read(raw)
            except msgspec.DecodeError:
                continue
            at_us = round(click.timestamp.timestamp() * 1e6)
            watermark_us = max(watermark_us, at_us)
            if click.event_type in wanted and click.product_id is not None:
                found.append((at_us, click.event_type, click.user_id, click.product_id))
        found.sort(key=lambda event: event[0])
        for at_us, event_type, user_id, product in found:
            take(event_type, user_id, product, at_us)
        offers.pass_to(watermark_us)
    return offers


def main(path: Path, keys_max: int) -> None:
    started = time.perf_counter()
    offers = offers_of(path, keys_max)
    took_s = time.perf_counter() - started
    print(json.dumps({"seconds": took_s, "viewed": offers.viewed, "cart": offers.abandoned}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
