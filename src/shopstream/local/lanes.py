"""One lane for each receiver: its own threads and a bounded number of alerts under way.

A lane that hangs holds up nobody else. After a failure that says the receiver is down the whole
lane pauses, longer each time, so an hour's outage costs a few tries and not one for every alert.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from shopstream.domain.receivers import Receiver, wait_s
from shopstream.errors import NotDelivered
from shopstream.local.outbox import Due, Outcome
from shopstream.local.webhook import RETRY_AFTER_S_MAX
from shopstream.ports import Notifier

THREADS = {"console": 1, "file": 1, "webhook": 4, "apprise": 1}
UNDER_WAY_MAX = {"console": 32, "file": 32, "webhook": 8, "apprise": 2}
DOWN_S_MAX = 60.0
PAUSE_S_MAX = RETRY_AFTER_S_MAX
US = 1_000_000

_log = structlog.get_logger("shopstream.notifier")


class Try(NamedTuple):
    """How one delivery went: `failure` is None when the receiver took the alert."""

    receiver: str
    due: Due
    failure: NotDelivered | None


class Lane:
    """The way of alerts to one receiver. Its threads put every `Try` on `tries`."""

    def __init__(
        self, receiver: Receiver, notifier: Notifier, tries: "queue.SimpleQueue[Try]"
    ) -> None:
        self.name = receiver.name
        self.paused_until_us = 0
        self.error = ""
        self._notifier = notifier
        self._tries = tries
        self._under_way: set[int] = set()
        self._under_way_max = UNDER_WAY_MAX[receiver.kind]
        self._failures = 0
        self._closed = threading.Event()
        self._waiting: queue.SimpleQueue[Due | None] = queue.SimpleQueue()
        self._threads = [
            # Daemons, because a delivery that hangs must not keep the process from ending.
            threading.Thread(target=self._work, name=f"notify-{receiver.kind}-{n}", daemon=True)
            for n in range(THREADS[receiver.kind])
        ]
        for thread in self._threads:
            thread.start()

    @property
    def under_way(self) -> int:
        """How many alerts were handed over and not yet recorded."""
        return len(self._under_way)

    def room(self, now_us: int) -> int:
        """How many alerts the lane takes now. A pause longer than any is a clock set back."""
        if now_us < self.paused_until_us <= now_us + int(PAUSE_S_MAX * US):
            return 0
        return self._under_way_max - len(self._under_way)

    @property
    def rows_wanted(self) -> int:
        """How many due rows to look at so that some are not under way already."""
        return self._under_way_max

    def start(self, due: list[Due], room: int) -> int:
        """Hand over up to `room` of these that are not under way; returns how many."""
        new = [one for one in due if one.seq not in self._under_way][:room]
        for one in new:
            self._under_way.add(one.seq)
            self._waiting.put(one)
        return len(new)

    def judge(self, tried: Try, *, tries_max: int, now_us: int, chance: float) -> Outcome:
        """What to write down about a try; pauses the lane if the receiver is down."""
        seq, tries, failure = tried.due.seq, tried.due.tries + 1, tried.failure
        if failure is None:
            self._failures, self.error = 0, ""
            return Outcome(seq, self.name, "delivered", tries)
        self.error = str(failure)
        if failure.receiver_down:
            self._failures += 1
            pause_s = min(DOWN_S_MAX, wait_s(self._failures, chance))
            self._pause(max(pause_s, failure.retry_after_s), now_us)
        dead = tries >= tries_max
        wait = max(wait_s(tries, chance), failure.retry_after_s)
        _log.warning(
            "alert is a dead letter" if dead else "alert not delivered",
            alert_id=tried.due.alert.alert_id,
            receiver=self.name,
            tries=tries,
            error=self.error,
            next_try_s=None if dead else round(wait, 1),
        )
        if dead:
            return Outcome(seq, self.name, "dead", tries, 0, self.error)
        return Outcome(seq, self.name, "pending", tries, now_us + int(wait * US), self.error)

    def recorded(self, seq: int) -> None:
        """The outcome of a try is in the outbox; the row may come again."""
        self._under_way.discard(seq)

    def _pause(self, seconds: float, now_us: int) -> None:
        self.paused_until_us = max(self.paused_until_us, now_us + int(seconds * US))

    def _work(self) -> None:
        while (due := self._waiting.get()) is not None:
            if not self._closed.is_set():
                self._tries.put(Try(self.name, due, _deliver(self._notifier.deliver, due)))

    def close(self) -> None:
        """Start nothing more. Deliveries under way are left to end by themselves."""
        self._closed.set()
        for _ in self._threads:
            self._waiting.put(None)

    def join(self, deadline_s: float) -> None:
        """Wait for the threads of a closed lane to end, at most until then (monotonic)."""
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))


def _deliver(deliver: "Callable[..., None]", due: Due) -> NotDelivered | None:
    try:
        deliver(due.alert)
    except NotDelivered as e:
        return e
    except Exception as e:  # noqa: BLE001 (libraries of 100 services raise what they like; its text may hold a token)
        return NotDelivered(f"{type(e).__name__} in the service's library")
    return None
