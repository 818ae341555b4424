"""The one thread that writes the log: takes all that waits, appends it once, answers all.

Requests of the same kind become one entry, so a commit of a hundred single events costs what a
batch of a hundred does. Nobody is told yes before `Log.append` has returned.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple, TypeAlias

import structlog

from shopstream.collector.refusal import Refusal
from shopstream.errors import LogBroken, LogFull
from shopstream.events import Entry
from shopstream.ports import AppendLog

MIB = 1024 * 1024
GROUP_EVENTS_MAX = 50_000
GROUP_BYTES_MAX = 32 * MIB
QUEUE_BYTES_MAX = 256 * MIB

Outcome: TypeAlias = int | LogFull | LogBroken
"""The log's end after the append, or why there was none."""
_Job: TypeAlias = Callable[[], None]


class Kind(NamedTuple):
    """What events must share to become one entry."""

    topic: str
    dialect: str = "shopstream"
    context: bytes = b""


_Waiting: TypeAlias = tuple[
    "asyncio.Future[Outcome]",
    int,
    int,
    Kind | None,
    list[bytes],
    list[Entry],
    Mapping[str, int],
]
"""Who waits, how many events and bytes, and what: events of a kind, or entries and progress."""
_NO_EVENTS: list[bytes] = []
_NO_ENTRIES: list[Entry] = []
_NO_PROGRESS: Mapping[str, int] = {}


class Writer:
    """Group commit. All methods but `run_job` are called on the event loop's thread. `end` is the
    position after what the log holds, where it has positions.
    """

    def __init__(
        self,
        log: AppendLog,
        *,
        end: int = 0,
        queue_events_max: int,
        make_entry: Callable[[Kind, list[bytes], int], Entry],
        on_broken: Callable[[LogBroken], None],
    ) -> None:
        self._log = log
        self._queue: SimpleQueue[_Waiting | _Job | None] = SimpleQueue()
        self._put = self._queue.put
        self._queue_events_max = queue_events_max
        self._make_entry = make_entry
        self._on_broken = on_broken
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self.waiting_events = 0
        self.waiting_bytes = 0
        self.appends = 0
        self.appended_events = 0
        self.append_s = 0.0
        self.end = end
        self.full: LogFull | None = None
        self.broken: LogBroken | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._make_future: Callable[[], asyncio.Future[Outcome]] = self._loop.create_future
        self._thread.start()

    def stop(self) -> None:
        """Append all that waits, then end the thread. Nothing may be submitted afterwards."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def run_job(self, job: _Job) -> None:
        """Run `job` between two appends on the thread that owns the log."""
        self._queue.put(job)

    def probe(self) -> None:
        """See whether a full log has room again, without waiting for a client to try. A job."""
        if self.full is None:
            return
        try:
            self._log.append([])
        except LogFull as e:
            self.full = e
        except LogBroken as e:
            self.broken = e
        else:
            self.full = None

    def submit(
        self, kind: Kind, events: list[bytes], count: int, size: int
    ) -> "asyncio.Future[Outcome]":
        """Queue `count` events of `size` bytes; the future gives the outcome. Raises Refusal."""
        if (
            self.waiting_events + count > self._queue_events_max
            or self.waiting_bytes + size > QUEUE_BYTES_MAX
        ):
            self._ensure_room(count, size)
        self.waiting_events += count
        self.waiting_bytes += size
        done = self._make_future()
        self._put((done, count, size, kind, events, _NO_ENTRIES, _NO_PROGRESS))
        return done

    def submit_entries(
        self, entries: list[Entry], progress: Mapping[str, int], size: int
    ) -> "asyncio.Future[Outcome]":
        """Queue whole entries, which stay together in one append. Raises Refusal 503."""
        count = sum(len(e.events) for e in entries)
        self._ensure_room(count, size)
        self.waiting_events += count
        self.waiting_bytes += size
        done = self._make_future()
        self._put((done, count, size, None, _NO_EVENTS, entries, progress))
        return done

    def _ensure_room(self, count: int, size: int) -> None:
        if self.broken is not None:
            raise broken()
        if self.waiting_events and (
            self.waiting_events + count > self._queue_events_max
            or self.waiting_bytes + size > QUEUE_BYTES_MAX
        ):
            raise Refusal(
                503,
                "busy",
                f"{self.waiting_events:,} events wait for the disk; try again",
                retry_after_s=1,
            )

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            group: list[_Waiting] = []
            count = size = 0
            while type(item) is tuple:
                group.append(item)
                count += item[1]
                size += item[2]
                if count >= GROUP_EVENTS_MAX or size >= GROUP_BYTES_MAX:
                    break
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
            if group:
                self._commit(group)
            if item is None:
                return
            if callable(item):
                item()

    def _commit(self, group: list[_Waiting]) -> None:
        progress: dict[str, int] = {}
        for *_, more in group:
            if more:
                progress.update(more)
        outcome = self._append(self._entries(group), progress)
        assert self._loop is not None  # noqa: S101 - `submit` refuses before `start`
        self._loop.call_soon_threadsafe(self._settle, group, outcome)

    def _entries(self, group: list[_Waiting]) -> list[Entry]:
        now_us = time.time_ns() // 1000
        merged: dict[Kind, list[bytes]] = {}
        entries: list[Entry] = []
        for _, _, _, kind, events, whole, _ in group:
            if kind is None:
                entries += whole
            elif (together := merged.get(kind)) is None:
                merged[kind] = list(events)
            else:
                together += events
        made = [self._make_entry(kind, events, now_us) for kind, events in merged.items()]
        return made + entries

    def _append(self, entries: list[Entry], progress: Mapping[str, int]) -> Outcome:
        if self.broken is not None:
            return self.broken
        began = time.perf_counter()
        try:
            end = self._log.append(entries, progress=progress)
        except LogFull as e:
            if self.full is None:
                structlog.get_logger().warning("log_full", error=str(e))
            self.full = e
            return e
        except Exception as e:  # noqa: BLE001 - whatever it was, nothing may be acknowledged after it
            self.broken = e if isinstance(e, LogBroken) else LogBroken(f"the log failed: {e!r}")
            structlog.get_logger().error("log_broken", error=str(self.broken))
            return self.broken
        self.append_s += time.perf_counter() - began
        self.appends += 1
        self.appended_events += end - self.end
        self.end = end
        self.full = None
        return end

    def _settle(self, group: list[_Waiting], outcome: Outcome) -> None:
        for done, count, size, *_ in group:
            self.waiting_events -= count
            self.waiting_bytes -= size
            if not done.done():
                done.set_result(outcome)
        if isinstance(outcome, LogBroken):
            self._on_broken(outcome)


def settled(outcome: Outcome, *, why: bool = False) -> int:
    """The log's end, or the refusal that the client gets. What fills the log names folders, queues
    and settings: `why` says it, to processes of the operator's own.
    """
    if isinstance(outcome, int):
        return outcome
    if isinstance(outcome, LogFull):
        message = str(outcome) if why else "the log takes no more events now; try again later"
        raise Refusal(503, "log_full", message, retry_after_s=outcome.retry_after_s)
    raise broken()


def broken() -> Refusal:
    return Refusal(
        503, "log_broken", "the log failed and is restarting; try again", retry_after_s=2
    )
