"""Timers on absence: what is due when the watermark passes. Kept in a table, run from a heap."""

from heapq import heapify, heappop, heappush

import msgspec

from shopstream.domain.offers import Timer
from shopstream.flows.work import Work
from shopstream.ports import Tables

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Timer).decode


class Timers:
    """The pending timers of a shard: at most one for each (user, rule, key), live or historical."""

    def __init__(self, tables: Tables) -> None:
        self._heaps: dict[bool, list[Timer]] = {False: [], True: []}
        self._pending: set[tuple[str, str, str, bool]] = set()
        for _, _, item in tables.scan("timers"):
            self._push(_decode(item))
        for heap in self._heaps.values():
            heapify(heap)

    def _push(self, timer: Timer) -> None:
        self._heaps[timer.historical].append(timer)
        self._pending.add((timer.user_id, timer.rule, timer.key, timer.historical))

    def __len__(self) -> int:
        return len(self._pending)

    def arm(self, timer: Timer, work: Work) -> None:
        """Have `timer` fire when it is due, unless one for the same absence is pending."""
        name = (timer.user_id, timer.rule, timer.key, timer.historical)
        if name not in self._pending:
            self._pending.add(name)
            heappush(self._heaps[timer.historical], timer)
            work.put("timers", timer.user_id, _sk(timer), _encode(timer))

    def next_due(self, watermark_us: int, *, historical: bool, work: Work) -> Timer | None:
        """Take the next timer due at the watermark, if any."""
        heap = self._heaps[historical]
        if not heap or heap[0].due_us > watermark_us:
            return None
        timer = heappop(heap)
        self._pending.discard((timer.user_id, timer.rule, timer.key, historical))
        work.delete("timers", timer.user_id, _sk(timer))
        return timer


def _sk(timer: Timer) -> str:
    return f"{timer.rule}\x1f{timer.key}\x1f{int(timer.historical)}"
