"""The lander stage: follows the log and puts what arrived into files of the lake, accepted events
and rejected ones.

It holds nothing back in memory: what waits, waits in the log. When enough events wait, or the
oldest has waited long enough, or someone asks, what is there is cut into ranges, written down as
intended, landed and committed range by range. A backlog is landed by two processes.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

from shopstream.bronze import is_landed, look_at_bronze, read_files
from shopstream.domain.landing import Range, arrival_hour, cut
from shopstream.engine import Engine, open_engine
from shopstream.errors import DataDirError, LogFull
from shopstream.flow_settings import limits_of
from shopstream.flows.landing import Landing, land_range
from shopstream.heartbeats import write_heartbeat
from shopstream.landing_worker import Worker, WorkerFailed
from shopstream.settings import Settings
from shopstream.stopping import stopped_by_signals

if TYPE_CHECKING:
    from shopstream.local.landed import Landed
    from shopstream.local.log import SqliteLog

POLL_S = 0.1
BEAT_S = 1.0
SWEEP_S = 600.0
"""Between looks for files that `bronze_ttl` lets go."""
PAUSE_S_MAX = 10.0
"""Between tries while the disk takes nothing."""
LOCK_WAIT_S = 5.0
"""The second process of a lander that was killed ends within this."""
RANGE_BYTES_MAX = 64 * 1024 * 1024
"""Of one range's events as sent; its files, compressed, are in memory until they are written. Small
enough for two processes that share a backlog to end at about the same time.
"""
RANGES_MAX = 16
"""Landed together; so many at most are landed anew after a kill."""
ROWS_MAX = 100_000
"""Rows looked at for that."""
BACKLOG_EVENTS = 200_000
"""From here on a second process is worth its start."""

_log = structlog.get_logger("shopstream.lander")


def request_landing(run_dir: Path) -> None:
    """Ask the lander to land all that the log now holds, soon."""
    (run_dir / "land").touch()


def run_lander(
    settings: Settings, *, until_idle: bool = False, stop: threading.Event | None = None
) -> None:
    """Land the log; with `until_idle` until all there now is has been landed.

    Blocks; SIGTERM, SIGINT and `stop` end it after the range at hand. Raises Busy when another
    process lands, DataDirError when the log is not the one that was landed before; with
    `until_idle` also OSError when the disk takes nothing, where otherwise it tries again.
    """
    stop = stop or threading.Event()
    with stopped_by_signals(stop):
        _run(settings, stop, until_idle=until_idle, wait_s=LOCK_WAIT_S)


def land_here(settings: Settings) -> None:
    """Land all there now is. Signals are the caller's; ending anywhere is as good as a kill.

    Raises as `run_lander`, Busy at once.
    """
    _run(settings, threading.Event(), until_idle=True, wait_s=0.0)


def _run(settings: Settings, stop: threading.Event, *, until_idle: bool, wait_s: float) -> None:
    engine = open_engine(settings)
    with (
        engine.write_landed(wait_s=wait_s) as landed,
        _closing(engine.read_log()) as log,
        _closing(Lander(engine, log, landed)) as lander,
    ):
        _Follower(engine, lander, stop).follow(until_idle=until_idle)


class Lander:
    """Lands in steps, each of which may be the last: `plan`, then for each range `put`, `commit`.

    `land` does them all.
    """

    def __init__(self, engine: Engine, log: "SqliteLog", landed: "Landed") -> None:
        settings = engine.settings
        self._settings = settings
        self._log = log
        self._landed = landed
        self._lake = engine.lake()
        self._limits = limits_of(settings)
        self._events_max = settings.land_events_max
        self._worker: Worker | None = None
        self._alone = (os.cpu_count() or 1) < 2
        self._position = landed.position()
        self.files, self.bytes = landed.totals()
        self.rejected = 0

    def begin(self, stop: threading.Event | None = None, beat: "Beat | None" = None) -> None:
        """Make sure that the log goes on where landing ended; bronze itself says where that was if
        `lake/landed.db` was lost, or is an older copy. Ended by `stop` or a kill in the middle of
        that, it goes on there the next time.
        """
        if (
            self._landed.unsure()
            or self._position < self._log.start()
            or self._is_older_than_bronze()
        ):
            self._recover(stop or threading.Event(), beat)
        end = self._log.end()
        if self._position > end:
            raise DataDirError(
                f"{self._settings.data_dir}: the log ends at {end}, but events up to"
                f" {self._position} are landed: it is another log; restore the right one, or move"
                " bronze/ and lake/ away to begin anew"
            )

    def _is_older_than_bronze(self) -> bool:
        """Whether what comes next, after what is known to have been intended, was landed before."""
        return is_landed(self._settings.data_dir, self._log, self._landed.intended())

    def _recover(self, stop: threading.Event, beat: "Beat | None") -> None:
        """Take over what bronze alone still has, and see to it that the rest is landed again."""
        self._landed.doubt()
        root = self._settings.data_dir
        found = look_at_bronze(
            root,
            self._log,
            self._position,
            self._landed.names(),
            events_max=self._events_max,
            bytes_max=RANGE_BYTES_MAX,
        )
        if found.forgotten or found.ranges:
            _log.warning(
                "lake/landed.db was lost or is an older copy: bronze/ has files that it lacks",
                taken_over=sum(len(files) for _, files in found.forgotten),
                landed_again=len(found.ranges),
            )
        for one, files in found.forgotten:
            if stop.is_set():
                return
            landing = read_files(root, one, files, self._position)
            self._landed.take_over(one, landing.files, landing.tally)
            self._position = self._landed.position()
            self._count(landing)
            if beat:
                beat.tell(self)
        if self._position < found.position:
            if self._position:
                _log.warning(
                    "the log has forgotten events that were not landed, and bronze/ does not have"
                    " them: `lake` was off, or files are lost",
                    first=self._position,
                    after=found.position,
                )
            self._landed.skip(found.position)
            self._position = found.position
        self._landed.trust(found.ranges)

    def ensure_there(self) -> None:
        """Raises DataDirError when `lake/landed.db` is gone, or another one is there: what is
        committed from then on would count for nobody.
        """
        if not self._landed.is_there():
            raise DataDirError(
                f"{self._settings.data_dir}: lake/landed.db was taken away while it was used: the"
                " lander must start anew, and then makes it anew of bronze/ and the log"
            )

    @property
    def position(self) -> int:
        """Up to where all is landed."""
        return self._position

    def waiting(self) -> int:
        """Events that wait in the log."""
        return self._log.end() - self._position

    def waiting_since_us(self) -> int:
        """When the oldest of them was appended, 0 when none waits."""
        return self._log.appended_us(self._position)

    def plan(self) -> list[Range]:
        """The ranges to land next, written down; those that a killed lander had written down come
        first, as they were. Empty when nothing waits.
        """
        if unfinished := self._landed.intent(RANGES_MAX):
            return unfinished
        extents = self._log.extents(self._position, ROWS_MAX)
        ranges = cut(extents, self._events_max, RANGE_BYTES_MAX)[:RANGES_MAX]
        if ranges:
            self._landed.intend(ranges)
        return ranges

    def put(self, one: Range, progressed: Callable[[int], None] = lambda _: None) -> Landing:
        """Put the files of a range into the lake."""
        return land_range(one, self._log.rows(*one), self._lake, self._limits, progressed)

    def commit(self, one: Range, landing: Landing) -> None:
        """Make the files of a range count."""
        self._landed.commit(one, landing.files, landing.tally)
        self._position = one.after
        self._count(landing)

    def _count(self, landing: Landing) -> None:
        self.files += len(landing.files)
        self.bytes += sum(file.bytes for file in landing.files)
        self.rejected += sum(units for (*_, reason), units in landing.tally if reason)

    def land(self, stop: threading.Event, beat: "Beat | None" = None) -> bool:
        """Land what waits, a bounded number of ranges; returns whether there was anything."""
        ranges = self.plan()
        todo, done = deque(ranges), dict[Range, Landing]()
        self._ready_worker(ranges)

        def progressed(position: int) -> None:
            if beat:
                beat.come_to(position)
            self._share(todo, done, keep=0)

        for one in ranges:
            if stop.is_set():
                break
            while one not in done:
                self._share(todo, done, keep=1)
                if todo:
                    mine = todo.popleft()
                    done[mine] = self.put(mine, progressed)
                else:
                    self._collect(todo, done)
            self.commit(one, done.pop(one))
            if beat:
                beat.tell(self)
        return bool(ranges)

    def _ready_worker(self, ranges: list[Range]) -> None:
        backlog = len(ranges) > 1 and ranges[-1].after - ranges[0].first >= BACKLOG_EVENTS
        if backlog and self._worker is None and not self._alone:
            self._worker = Worker(self._settings, self._limits, self._landed.lock_fd)

    def _share(self, todo: "deque[Range]", done: dict[Range, Landing], *, keep: int) -> None:
        """Keep the second process at work, on what is to do but for the first `keep` of it."""
        if self._worker is None or (self._worker.busy and not self._worker.done()):
            return
        self._collect(todo, done)
        if self._worker is None or len(todo) <= keep:
            return
        one = todo[keep]
        try:
            self._worker.begin(one)
        except WorkerFailed as e:
            self._without_worker(e)
        else:
            del todo[keep]

    def _collect(self, todo: "deque[Range]", done: dict[Range, Landing]) -> None:
        """Take what the second process has landed, waiting for it."""
        if self._worker is None or self._worker.busy is None:
            return
        one = self._worker.busy
        try:
            done[one] = self._worker.end()
        except WorkerFailed as e:
            todo.appendleft(one)
            self._without_worker(e)

    def _without_worker(self, error: WorkerFailed) -> None:
        """Go on alone, from now on: it would fail again."""
        _log.warning("the lander goes on with one process", error=str(error))
        self._alone = True
        self.rest()

    def rest(self) -> None:
        """Nothing waits: let the second process go."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def forget(self, now_us: int) -> None:
        """Delete the files that arrived longer than `bronze_ttl` ago, whole hours of them."""
        ttl_us = _us(self._settings.bronze_ttl)
        if not ttl_us:
            return
        names = self._landed.expire(arrival_hour(max(0, now_us - ttl_us)))
        for name in names:
            self._lake.delete(name)
        if names:
            self._landed.forget(names)
            self.files, self.bytes = self._landed.totals()

    def close(self) -> None:
        self.rest()


class Beat:
    """The lander's heartbeat, about once a second."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._values: dict[str, object] = {}
        self._at = float("-inf")
        self._position = self._position_before = -1
        self.error = ""

    def tell(self, lander: Lander, *, last: bool = False) -> None:
        self._values = {
            "position": lander.position,
            "synced": lander.position,
            "files": lander.files,
            "bytes": lander.bytes,
            "rejected": lander.rejected,
        }
        self.come_to(lander.position, last=last)

    def come_to(self, position: int, *, last: bool = False) -> None:
        """Say that we live and have come to `position`, be it in the middle of a range."""
        now = time.monotonic()
        if not last and now - self._at < BEAT_S:
            return
        before = self._position if self._position >= 0 else position
        rate = max(0, position - before) / max(now - self._at, 1e-9)
        self._at, self._position = now, position
        moving = {"events_per_s": 0 if last else round(rate), "error": self.error, "ended": last}
        write_heartbeat(self._run_dir, "lander", self._values | moving)


class _Follower:
    """Decides when to land, and waits."""

    def __init__(self, engine: Engine, lander: Lander, stop: threading.Event) -> None:
        self._settings = engine.settings
        self._run_dir = engine.dir.run
        self._lander = lander
        self._stop = stop
        self._beat = Beat(engine.dir.run)
        self._waits_since = float("inf")
        self._wanted_to = 0
        self._swept_at = float("-inf")

    def follow(self, *, until_idle: bool) -> None:
        lander, beat = self._lander, self._beat
        lander.begin(self._stop, beat)
        beat.tell(lander)
        pause_s = POLL_S
        while not self._stop.is_set():
            lander.ensure_there()
            try:
                landed = self._due(until_idle=until_idle) and lander.land(self._stop, beat)
                self._sweep()
            except (OSError, DataDirError, LogFull) as e:
                if until_idle:
                    raise
                # What was intended stays so, and is landed when the disk takes files again.
                lander.rest()
                pause_s = min(PAUSE_S_MAX, pause_s * 2)
                if str(e) != beat.error:
                    _log.warning("the lander can't write; it tries again", error=str(e))
                beat.error = str(e)
                landed = False
            else:
                pause_s, beat.error = POLL_S, ""
            beat.tell(lander)
            if not landed:
                lander.rest()
                if until_idle:
                    break
                self._stop.wait(pause_s)
        beat.tell(lander, last=True)

    def _due(self, *, until_idle: bool) -> bool:
        """Whether to land what waits now."""
        lander = self._lander
        if self._requested():
            self._wanted_to = lander.position + lander.waiting()
        waiting = lander.waiting()
        if not waiting:
            self._waits_since = float("inf")
            return False
        now = time.monotonic()
        self._waits_since = min(self._waits_since, now)
        # By the clock too, for what waited before this process began; the clock alone may jump.
        every_s = self._settings.land_every.total_seconds()
        age_s = time.time() - lander.waiting_since_us() / 1e6
        due = (
            until_idle
            or waiting >= self._settings.land_events_max
            or lander.position < self._wanted_to
            or max(now - self._waits_since, age_s) >= every_s
        )
        if due:
            self._waits_since = float("inf")
        return due

    def _requested(self) -> bool:
        try:
            (self._run_dir / "land").unlink()
        except FileNotFoundError:
            return False
        return True

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_S:
            self._swept_at = now
            self._lander.forget(time.time_ns() // 1000)


_C = TypeVar("_C", bound="SqliteLog | Lander")


@contextmanager
def _closing(one: _C) -> Iterator[_C]:
    try:
        yield one
    finally:
        one.close()


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
