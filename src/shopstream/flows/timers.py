"""Timers on absence: what is due when the watermark passes. Kept in a table, run from a heap."""

from heapq import heapify, heappop, heappush
from typing import TypeAlias

import msgspec

from shopstream.domain.offers import Timer
from shopstream.flows.work import Work
from shopstream.ports import Tables

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Timer).decode

FAR_US = 2**63
"""After every event."""
Name: TypeAlias = tuple[str, str]
"""(rule, key): what a user's timer waits for."""


class Timers:
    """The pending timers of a shard: at most one for each (user, rule, key), live or historical."""

    def __init__(self, tables: Tables) -> None:
        self._heaps: dict[bool, list[Timer]] = {False: [], True: []}
        self._pending: dict[tuple[str, bool], dict[Name, Timer]] = {}
        # No timer of that user is due earlier: mostly saves looking at each.
        self._soonest_us: dict[tuple[str, bool], int] = {}
        for _, _, item in tables.scan("timers"):
            timer = _decode(item)
            self._heaps[timer.historical].append(timer)
            self._keep(timer)
        for heap in self._heaps.values():
            heapify(heap)

    def _keep(self, timer: Timer) -> bool:
        """Note a timer as pending; False when one for the same absence is."""
        place = (timer.user_id, timer.historical)
        pending = self._pending.setdefault(place, {})
        name = (timer.rule, timer.key)
        if name in pending:
            return False
        pending[name] = timer
        if timer.due_us < self._soonest_us.get(place, FAR_US):
            self._soonest_us[place] = timer.due_us
        return True

    def arm(self, timer: Timer, work: Work) -> None:
        """Have `timer` fire when it is due, unless one for the same absence is pending."""
        if self._keep(timer):
            heappush(self._heaps[timer.historical], timer)
            work.put("timers", timer.user_id, _sk(timer), _encode(timer))

    def next_due(self, watermark_us: int, *, historical: bool, work: Work) -> Timer | None:
        """Take the next timer due at the watermark, if any."""
        heap = self._heaps[historical]
        while heap and heap[0].due_us <= watermark_us:
            if self._take(timer := heappop(heap), work):
                return timer
        return None

    def due_of(self, user_id: str, at_us: int, *, historical: bool, work: Work) -> list[Timer]:
        """Take the timers of one user that are due by `at_us`, the earliest first."""
        place = (user_id, historical)
        if self._soonest_us.get(place, FAR_US) > at_us:
            return []
        due = sorted(timer for timer in self._pending[place].values() if timer.due_us <= at_us)
        for timer in due:
            self._take(timer, work)
        if left := self._pending.get(place):
            self._soonest_us[place] = min(timer.due_us for timer in left.values())
        return due

    def _take(self, timer: Timer, work: Work) -> bool:
        """Forget a pending timer; False when it was taken before (its heap keeps it till due)."""
        place = (timer.user_id, timer.historical)
        pending = self._pending.get(place, {})
        if pending.get((timer.rule, timer.key)) is not timer:
            return False
        del pending[timer.rule, timer.key]
        if not pending:
            del self._pending[place], self._soonest_us[place]
        work.delete("timers", timer.user_id, _sk(timer))
        return True


def _sk(timer: Timer) -> str:
    return f"{timer.rule}\x1f{timer.key}\x1f{int(timer.historical)}"
