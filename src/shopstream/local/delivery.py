"""The notifier process: alerts from the stages' feeds into the outbox and to the receivers.

One thread owns the outbox and does, over and over: take what is new, hand what is due to the
lanes, write down what became of it. At least once to every receiver, with the alert id as the
idempotency key; exactly once into the outbox and into files.
"""

import contextlib
import os
import queue
import random
import threading
import time
from collections.abc import Callable
from functools import partial

import apsw
import structlog

from shopstream.domain.receivers import read_receivers
from shopstream.errors import DataDirError
from shopstream.heartbeats import remove_heartbeat, write_heartbeat
from shopstream.local.datadir import open_data_dir
from shopstream.local.feed import BUILDER, BuilderAlerts, Feed, ShardAlerts, Written
from shopstream.local.lanes import Lane, Try
from shopstream.local.notifier import open_notifier
from shopstream.local.outbox import Outbox, Outcome
from shopstream.local.tables import RocksTables
from shopstream.local.webhook import RETRY_AFTER_S_MAX
from shopstream.settings import Settings
from shopstream.stopping import stopped_by_signals

US = 1_000_000
POLL_S = 0.2
FORGOTTEN_MAX = 1_000
ENDING_S = 1.0
_TICK_US = US
_FORGET_US = 60 * US
_WAIT_US_MAX = int(2 * RETRY_AFTER_S_MAX) * US

_log = structlog.get_logger("shopstream.notifier")


class Delivery:
    """The notifier's loop, a step at a time. Opening it makes this process the notifier."""

    def __init__(
        self,
        settings: Settings,
        write: Callable[[str], None],
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
        chance: Callable[[], float] = random.random,
        poll_s: float = POLL_S,
    ) -> None:
        self._settings = settings
        self._now_us = now_us
        self._chance = chance
        self._tries: queue.SimpleQueue[Try] = queue.SimpleQueue()
        self._unrecorded: list[Outcome] = []
        self._feeds: dict[int, Feed] = {}
        self._unread: dict[int, str] = {}
        self._builds = settings.data_dir / "lake" / "builds.db"
        self._looked_us = self._beat_us = self._forgot_us = -_FORGET_US
        self._poll_s = poll_s
        self._polled_s = -poll_s
        self._full = False
        self._counted: tuple[int, int] | None = None
        self._counts: dict[str, int] = {}
        receivers = read_receivers(
            settings.notify, private_addresses=settings.notify_private_addresses
        )
        notifiers = [(r, open_notifier(r, settings, write)) for r in receivers]
        self.outbox = Outbox(settings.data_dir)
        self.lanes = {r.name: Lane(r, n, self._tries) for r, n in notifiers}

    def step(self, wait_s: float = POLL_S) -> bool:
        """Do what there is to do, waiting for outcomes at most `wait_s`.

        Returns whether anything is going on: False means that the outbox holds all of the feeds
        and that nothing is due, but to receivers that are down. A full disk stops nothing and
        loses nothing: what could not be written is written when there is room.
        """
        busy = True
        try:
            now_us = self._now_us()
            self._upkeep(now_us)
            polled, taken = self._poll()
            started = sum(self._start(lane, now_us) for lane in self.lanes.values())
            under_way = sum(lane.under_way for lane in self.lanes.values())
            busy = bool(not polled or taken or started or under_way)
            self._collect(0.0 if taken else wait_s)
            self._record()
            self._full = False
        except apsw.FullError:
            if not self._full:
                _log.error("the disk is full; alerts wait until there is room")
            self._full = True
            time.sleep(wait_s)
        return busy

    def _poll(self) -> tuple[bool, int]:
        """Look at the feeds if it is time to: whether it was, and how many alerts were read."""
        if time.monotonic() - self._polled_s < self._poll_s:
            return False, 0
        taken = sum(self._taken(shard) for shard in list(self._feeds))
        if not taken:
            self._polled_s = time.monotonic()
        return True, taken

    def _taken(self, shard: int) -> int:
        names = list(self.lanes)
        ttl_us = int(self._settings.alerts_ttl.total_seconds() * US)
        try:
            return self._feeds[shard].take(self.outbox, names, self._now_us(), ttl_us)
        except (apsw.Error, DataDirError):
            raise
        except Exception as e:  # noqa: BLE001 (all that RocksDB raises is Exception)
            _log.warning("alerts can't be read; opening their feed anew", shard=shard, error=str(e))
            self._feeds.pop(shard).close()
            return 0

    def _start(self, lane: Lane, now_us: int) -> int:
        room = lane.room(now_us)
        if room <= 0:
            return 0
        due = self.outbox.due(
            lane.name, now_us, rows_max=lane.rows_wanted, wait_us_max=_WAIT_US_MAX
        )
        return lane.start(due, room)

    def _collect(self, wait_s: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._judge(self._tries.get(block=wait_s > 0, timeout=wait_s))
            while True:
                self._judge(self._tries.get_nowait())

    def _judge(self, tried: Try) -> None:
        outcome = self.lanes[tried.receiver].judge(
            tried,
            tries_max=self._settings.notify_tries_max,
            now_us=self._now_us(),
            chance=self._chance(),
        )
        self._unrecorded.append(outcome)

    def _record(self) -> None:
        if not self._unrecorded:
            return
        self.outbox.record(self._unrecorded, self._now_us())
        for outcome in self._unrecorded:
            self.lanes[outcome.receiver].recorded(outcome.seq)
        self._unrecorded.clear()

    def _upkeep(self, now_us: int) -> None:
        if abs(now_us - self._looked_us) >= _TICK_US:
            self._looked_us = now_us
            self._open_feeds()
        if abs(now_us - self._beat_us) >= _TICK_US:
            self._beat_us = now_us
            self._beat(now_us)
        if abs(now_us - self._forgot_us) >= _FORGET_US:
            self.outbox.retire(list(self.lanes), now_us)
            ttl_us = int(self._settings.alerts_ttl.total_seconds() * US)
            gone = self.outbox.forget(now_us - ttl_us, rows_max=FORGOTTEN_MAX)
            self._forgot_us = now_us if gone < FORGOTTEN_MAX else 0

    def _open_feeds(self) -> None:
        # The data directory, or a processor's tables in it, may be yet to be made: they are looked
        # for again in a second.
        root = self._settings.data_dir
        if (root / "meta.json").exists():
            found = open_data_dir(root)
            for shard in range(found.shards):
                if shard not in self._feeds and RocksTables.are_in(found.tables(shard)):
                    self._open(shard, partial(ShardAlerts, shard, found.tables(shard)))
        if BUILDER not in self._feeds and self._builds.exists():
            self._open(BUILDER, partial(BuilderAlerts, root))

    def _open(self, shard: int, written: Callable[[], Written]) -> None:
        try:
            self._feeds[shard] = Feed(shard, written())
        except DataDirError as e:
            if self._unread.get(shard) != str(e):
                _log.error("alerts can't be read; trying again", shard=shard, error=str(e))
            self._unread[shard] = str(e)

    def _beat(self, now_us: int) -> None:
        if (version := self.outbox.version()) != self._counted:
            self._counted = version
            self._counts = self.outbox.counts()
        receivers = {lane.name: lane.error for lane in self.lanes.values()}
        write_heartbeat(
            self._settings.data_dir / "run",
            "notifier",
            {"pid": os.getpid(), "at_us": now_us, **self._counts, "receivers": receivers},
        )

    def close(self) -> None:
        """End within about a second: what is under way may end and is written down; what doesn't
        is delivered again next time.
        """
        for lane in self.lanes.values():
            lane.close()
        deadline = time.monotonic() + ENDING_S
        for lane in self.lanes.values():
            lane.join(deadline)
        self._collect(0.0)
        with contextlib.suppress(apsw.FullError):
            self._record()
        for feed in self._feeds.values():
            feed.close()
        self.outbox.close()
        remove_heartbeat(self._settings.data_dir / "run", "notifier")


def run_notifier(
    settings: Settings,
    *,
    until_idle: bool = False,
    write: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Take and deliver alerts until SIGTERM, SIGINT or `stop`, then end within 2 seconds.

    With `until_idle`, until all alerts are in the outbox and each has been tried that could be;
    what a receiver that is down didn't take waits in the outbox for the next notifier.
    `write` prints a line for `console://`. Raises Busy when another notifier runs on the data
    directory, ConfigError when a receiver is not usable, DataDirError when the disk fails or the
    data directory is not readable.
    """
    with stopped_by_signals(stop) as stop:
        delivery = Delivery(settings, write)
        try:
            while not stop.is_set():
                if not delivery.step() and until_idle:
                    return
        finally:
            delivery.close()
