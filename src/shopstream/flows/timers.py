"""Timers on absence: what is due when the watermark passes. Kept in a table, run from a heap."""

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import TypeAlias

import msgspec

from shopstream.domain.offers import Timer
from shopstream.ports import Batch

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Timer).decode

Name: TypeAlias = tuple[str, str]
"""(rule, key): what a user's timer waits for."""


class Timers:
    """The pending timers of a shard, or of a user: at most one for each (user, rule, key), live or
    historical. `items` are those stored.

    They wait in two heaps, that of all and that of their user; whichever is asked first takes
    them, and the other passes over those taken.
    """

    def __init__(self, items: Iterable[bytes | Timer]) -> None:
        self._heaps: dict[bool, list[Timer]] = {False: [], True: []}
        self._users: dict[tuple[str, bool], _OfUser] = {}
        for item in items:
            timer = _decode(item) if isinstance(item, bytes) else item
            if self._of(timer).add(timer):
                heappush(self._heaps[timer.historical], timer)

    def _of(self, timer: Timer) -> "_OfUser":
        place = (timer.user_id, timer.historical)
        if (user := self._users.get(place)) is None:
            user = self._users[place] = _OfUser()
        return user

    def arm(self, timer: Timer, batch: Batch) -> None:
        """Have `timer` fire when it is due, unless one for the same absence is pending."""
        if self._of(timer).add(timer):
            heappush(self._heaps[timer.historical], timer)
            batch.put("timers", timer.user_id, _sk(timer), _encode(timer))

    def next_due(self, watermark_us: int, *, historical: bool, batch: Batch) -> Timer | None:
        """Take the next timer due at the watermark, if any."""
        heap = self._heaps[historical]
        while heap and heap[0].due_us <= watermark_us:
            timer = heappop(heap)
            user = self._users.get((timer.user_id, historical))
            if user is not None and user.pending.get((timer.rule, timer.key)) is timer:
                self._taken(user, timer, batch)
                return timer
        return None

    def due_of(self, user_id: str, at_us: int, *, historical: bool, batch: Batch) -> list[Timer]:
        """Take the timers of one user that are due by `at_us`, the earliest first."""
        user = self._users.get((user_id, historical))
        if user is None:
            return []
        due = user.due(at_us)
        for timer in due:
            self._taken(user, timer, batch)
        return due

    def put_off(self, timer: Timer, batch: Batch) -> None:
        """Keep a timer that was taken for whoever loads these timers next."""
        batch.put("timers", timer.user_id, _sk(timer), _encode(timer))

    def pending(self, user_id: str, *, historical: bool) -> list[Timer]:
        """A user's pending timers, the earliest first."""
        user = self._users.get((user_id, historical))
        return sorted(user.pending.values()) if user else []

    def forget(self, user_id: str, batch: Batch) -> None:
        """Drop all that a user's absence would come to: the user is forgotten."""
        for historical in (False, True):
            if user := self._users.pop((user_id, historical), None):
                for timer in user.pending.values():
                    batch.delete("timers", user_id, _sk(timer))

    def _taken(self, user: "_OfUser", timer: Timer, batch: Batch) -> None:
        del user.pending[timer.rule, timer.key]
        if not user.pending:
            del self._users[timer.user_id, timer.historical]
        batch.delete("timers", timer.user_id, _sk(timer))


class _OfUser:
    """One user's pending timers, and the heap of these and some that were taken."""

    __slots__ = ("heap", "pending")

    def __init__(self) -> None:
        self.pending: dict[Name, Timer] = {}
        self.heap: list[Timer] = []

    def add(self, timer: Timer) -> bool:
        """False when a timer for the same absence is pending."""
        name = (timer.rule, timer.key)
        if name in self.pending:
            return False
        self.pending[name] = timer
        heappush(self.heap, timer)
        return True

    def due(self, at_us: int) -> list[Timer]:
        heap, pending = self.heap, self.pending
        found = []
        while heap and heap[0].due_us <= at_us:
            timer = heappop(heap)
            if pending.get((timer.rule, timer.key)) is timer:
                found.append(timer)
        return found


def _sk(timer: Timer) -> str:
    return f"{timer.rule}\x1f{timer.key}\x1f{int(timer.historical)}"
