"""`load`: files of somebody's history into the log, each row once, however often it is run.

What a file's rows become is decided by the file's bytes and the mapping alone, in one order. How
many of them are in the log is stored in the transaction that put them there. So a load that was
interrupted at any point goes on where it was, and loading the same file again adds nothing.
"""

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, NamedTuple

from shopstream.cells import Clock
from shopstream.domain.plurals import counted
from shopstream.errors import Busy
from shopstream.events import Entry
from shopstream.feed import Feed, open_feed
from shopstream.mapped_rows import Item, MappedRows
from shopstream.mapping import Mapping, find_mapping
from shopstream.records import CsvFile, ParquetFile, Record, json_records, raw_records
from shopstream.settings import Settings
from shopstream.source_files import SourceFile, examine, opened

BATCH_ITEMS = 10_000
BATCH_BYTES = 2 * 1024 * 1024

OnProgress = Callable[[int, int, int], None]
"""Told the bytes of the files read so far, the bytes of all files, and the events so far."""


def _untold(done_bytes: int, total_bytes: int, events: int) -> None:
    """Nobody wants to know."""


@dataclass
class LoadedFile:
    """What one file gave. `resumed_at`: how many of its events were in the log before."""

    name: str
    topic: str
    source: str
    events: int = 0
    units: int = 0
    rejected: int = 0
    resumed_at: int = 0
    already_loaded: bool = False

    def __str__(self) -> str:
        if self.already_loaded:
            return f"{self.name}: already loaded, nothing added"
        resumed = f" (went on after {self.resumed_at:,})" if self.resumed_at else ""
        lines = (
            f" of {counted(self.units, 'lines')}"
            if self.units > self.events + self.rejected
            else ""
        )
        unreadable = f", {self.rejected:,} unreadable to the quarantine" * bool(self.rejected)
        return f"{self.name}: {counted(self.events, self.topic)}{lines}{unreadable}{resumed}"


@dataclass
class LoadReport:
    """What a load has added to the log, which is durable now."""

    files: list[LoadedFile] = field(default_factory=list)
    direct: bool = True

    @property
    def events(self) -> int:
        return sum(f.events for f in self.files)

    @property
    def units(self) -> int:
        return sum(f.units for f in self.files)

    def __str__(self) -> str:
        return "\n".join(str(f) for f in self.files)


def load_files(
    settings: Settings,
    paths: Sequence[Path],
    mapping: str | Path | Mapping,
    *,
    live: bool = False,
    direct: bool = True,
    on_progress: OnProgress = _untold,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> LoadReport:
    """Append the events of `paths` to the engine's log; see `open_feed` for `direct`.

    Every file is read to its end before the first is loaded, so that a missing or damaged one
    adds nothing. What `on_progress` raises ends the load between two batches; it goes on there
    next time. Raises ConfigError for the mapping, SourceError for a file, Busy when another
    load of this data directory is running, and what `Feed.append` raises.
    """
    rules = mapping if isinstance(mapping, Mapping) else find_mapping(mapping)
    sources = [examine(path, rules.format.type) for path in paths]
    for source in sources:
        with opened(source) as (stream, _):
            _mapped(source, rules, stream, Clock(0), settings)
    report = LoadReport()
    done_bytes, total_bytes = 0, sum(s.size for s in sources)
    with open_feed(settings, direct=direct) as feed, _alone(settings):
        report.direct = feed.direct
        for source in sources:
            load = _Load(settings, feed, source, rules, live=live, now_us=now_us)
            report.files.append(load.loaded)
            for file_bytes in load.run():
                on_progress(done_bytes + file_bytes, total_bytes, report.events)
            done_bytes += source.size
            on_progress(done_bytes, total_bytes, report.events)
    return report


class _Load:
    """One file on its way into the log."""

    def __init__(
        self,
        settings: Settings,
        feed: Feed,
        source: SourceFile,
        mapping: Mapping,
        *,
        live: bool,
        now_us: Callable[[], int],
    ) -> None:
        self._settings, self._feed, self._file, self._mapping = settings, feed, source, mapping
        self._live, self._now_us = live, now_us
        self._key = f"load:{source.digest}:{mapping.fingerprint}"
        self._whole = f"{self._key}:whole"
        future_us = settings.future_max // timedelta(microseconds=1)
        self._clock = Clock(now_us() + future_us)
        self.loaded = LoadedFile(source.path.name, mapping.topic, mapping.source)

    def run(self) -> Iterator[int]:
        """Append batch after batch; gives the bytes of the file read so far after each."""
        if self._feed.progress(self._whole):
            self.loaded.already_loaded = True
            return
        done = self.loaded.resumed_at = self._feed.progress(self._key)
        with opened(self._file) as (stream, file):
            rows, records = _mapped(self._file, self._mapping, stream, self._clock, self._settings)
            waiting = _Batch([], 0)
            for batch in _batches(rows.items(records, skip=done), self._clock):
                # One batch is held back, so that the last one is known when it is appended.
                if waiting.items:
                    done += len(waiting.items)
                    self._append(waiting, {self._key: done})
                    yield file.tell()
                waiting = batch
            self._append(waiting, {self._key: done + len(waiting.items), self._whole: 1})

    def _append(self, batch: "_Batch", progress: dict[str, int]) -> None:
        items, at_us = batch
        events = [i for i in items if not i.rejected]
        rejected = [i for i in items if i.rejected]
        entries = [
            self._entry(events, "shopstream", at_us),
            self._entry(rejected, "rejected", at_us),
        ]
        self._feed.append([e for e in entries if e.events], progress)
        self.loaded.events += len(events)
        self.loaded.rejected += len(rejected)
        self.loaded.units += sum(i.units for i in items)

    def _entry(self, items: list[Item], dialect: str, watermark_us: int) -> Entry:
        return Entry(
            topic=self._mapping.topic,
            events=[i.raw for i in items],
            source=self._mapping.source,
            received_us=self._now_us(),
            units=sum(i.units for i in items),
            dialect=dialect,
            historical=not self._live,
            on_bad_line=self._mapping.on_bad_line,
            origin=self._file.path.name,
            lines=[i.line for i in items],
            watermark_us=watermark_us,
        )


def _mapped(
    source: SourceFile, mapping: Mapping, stream: IO[bytes], clock: Clock, settings: Settings
) -> tuple[MappedRows, Iterator[Record]]:
    """The file's rows and what the mapping makes of them; raises SourceError for its columns."""
    bytes_max = settings.order_bytes_max if mapping.topic == "orders" else settings.event_bytes_max
    columns: list[str] = []
    if source.type == "csv":
        csv_file = CsvFile(source.path, stream, mapping.format, tabbed=source.tabbed)
        columns, records = csv_file.columns, csv_file.records()
    elif source.type == "parquet":
        parquet_file = ParquetFile(source.path)
        columns, records = parquet_file.columns, parquet_file.records()
    else:
        records = raw_records(stream) if mapping.as_is else json_records(stream)
    return MappedRows(mapping, columns, clock, bytes_max, str(source.path)), records


class _Batch(NamedTuple):
    """What is appended together, and how far event time had come with it."""

    items: list[Item]
    watermark_us: int


def _batches(items: Iterable[Item], clock: Clock) -> Iterator[_Batch]:
    batch: list[Item] = []
    size = at_us = 0
    for item in items:
        if batch and (len(batch) >= BATCH_ITEMS or size + len(item.raw) > BATCH_BYTES):
            yield _Batch(batch, at_us)
            batch, size = [], 0
        batch.append(item)
        size += len(item.raw)
        at_us = clock.latest_us
    if batch:
        yield _Batch(batch, at_us)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two loads at once could each add a file that neither has seen the other add. On AWS nothing
    rules that out: the events are then known by their ids, unreadable rows are there twice.
    """
    if settings.engine == "aws":
        yield
        return
    with (settings.data_dir / "run" / "load.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(
                f"another `shopstream load` is running on {settings.data_dir}; wait for it"
            ) from None
        yield
