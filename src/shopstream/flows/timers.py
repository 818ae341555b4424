"""Timers on absence: what is due when the watermark passes. Kept in a table, run from a heap."""

from heapq import heapify, heappop, heappush
from typing import TypeAlias

import msgspec

from shopstream.domain.offers import Timer
from shopstream.flows.work import Work
from shopstream.ports import Tables

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Timer).decode

Name: TypeAlias = tuple[str, str]
"""(rule, key): what a user's timer waits for."""


class Timers:
    """The pending timers of a shard: at most one for each (user, rule, key), live or historical."""

    def __init__(self, tables: Tables) -> None:
        self._heaps: dict[bool, list[Timer]] = {False: [], True: []}
        self._pending: dict[tuple[str, bool], dict[Name, Timer]] = {}
        for _, _, item in tables.scan("timers"):
            timer = _decode(item)
            self._heaps[timer.historical].append(timer)
            self._of(timer)[timer.rule, timer.key] = timer
        for heap in self._heaps.values():
            heapify(heap)

    def _of(self, timer: Timer) -> dict[Name, Timer]:
        return self._pending.setdefault((timer.user_id, timer.historical), {})

    def arm(self, timer: Timer, work: Work) -> None:
        """Have `timer` fire when it is due, unless one for the same absence is pending."""
        pending = self._of(timer)
        name = (timer.rule, timer.key)
        if name not in pending:
            pending[name] = timer
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
        pending = self._pending.get((user_id, historical))
        if not pending:
            return []
        due = sorted(timer for timer in pending.values() if timer.due_us <= at_us)
        return [timer for timer in due if self._take(timer, work)]

    def _take(self, timer: Timer, work: Work) -> bool:
        """Forget a pending timer; False when it was taken before (its heap keeps it till due)."""
        place = (timer.user_id, timer.historical)
        pending = self._pending.get(place, {})
        if pending.get((timer.rule, timer.key)) is not timer:
            return False
        del pending[timer.rule, timer.key]
        if not pending:
            del self._pending[place]
        work.delete("timers", timer.user_id, _sk(timer))
        return True


def _sk(timer: Timer) -> str:
    return f"{timer.rule}\x1f{timer.key}\x1f{int(timer.historical)}"
