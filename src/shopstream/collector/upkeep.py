"""What the collector does besides answering, about once a second: its heartbeat, keys that were
added or revoked, a look at the processors, and forgetting what the log need not keep.
"""

import time
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import structlog

from shopstream.collector.access import Access
from shopstream.collector.watch import Watch
from shopstream.collector.writer import Writer
from shopstream.errors import ShopstreamError
from shopstream.heartbeats import remove_heartbeat, write_heartbeat
from shopstream.settings import Settings

BEAT_S = 1.0
TRIM_S = 60.0
_ROOM_WANTED = 0.9
_TRIM_CALLS_MAX = 1_000

if TYPE_CHECKING:
    from shopstream.local.log import SqliteLog

logger = structlog.get_logger()


class Upkeep:
    """A thread that wakes every second until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        *,
        log: "SqliteLog",
        writer: Writer,
        watch: Watch,
        access: Access,
        beat: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._settings = settings
        self._log = log
        self._writer = writer
        self._watch = watch
        self._access = access
        self._beat = beat
        self._run_dir = settings.data_dir / "run"
        self._stop = Event()
        self._trimmed_at = 0.0
        self._thread = Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        self.tick()
        self._thread.start()

    def stop(self) -> None:
        """End the thread and take the heartbeat away: this process ended of its own accord."""
        self._stop.set()
        self._thread.join()
        remove_heartbeat(self._run_dir, "collector")
        self._watch.close()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                self.tick()
            except Exception:
                # A second without a heartbeat is seen by others; a dead thread would be for good.
                logger.exception("upkeep_failed")

    def tick(self) -> None:
        self._access.refresh()
        self._watch.look()
        write_heartbeat(self._run_dir, "collector", self._beat())
        now = time.monotonic()
        full = self._writer.full is not None
        if full or now - self._trimmed_at >= TRIM_S:
            self._trimmed_at = now
            self._writer.run_job(self._trim)
        if full:
            self._writer.run_job(self._writer.probe)

    def _trim(self) -> None:
        try:
            trim(self._log, self._settings, synced=self._watch.synced(), now_us=_now_us())
        except ShopstreamError as e:
            logger.warning("trim_failed", error=str(e))


def trim(log: "SqliteLog", settings: Settings, *, synced: int, now_us: int) -> None:
    """Forget what is older than `log_ttl`, and then the oldest while the log is nearly as large as
    it may be; never what a processor doesn't have durably behind it (`synced`).
    """
    old = log.position_before(now_us - round(settings.log_ttl.total_seconds() * 1e6))
    _trim_to(log, min(synced, old))
    for _ in range(_TRIM_CALLS_MAX):
        if log.size_bytes <= settings.log_bytes_max * _ROOM_WANTED:
            return
        start = log.start()
        if log.trim(synced) == start:
            return


def _trim_to(log: "SqliteLog", before: int) -> None:
    for _ in range(_TRIM_CALLS_MAX):
        start = log.start()
        if start >= before or log.trim(before) == start:
            return


def _now_us() -> int:
    return time.time_ns() // 1000
