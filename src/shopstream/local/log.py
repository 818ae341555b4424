"""The log on one machine: SQLite in WAL mode, an fsync for every group commit.

A row is one append: its entries, cut by shard, each shard's part one zstd blob. So a reader
inflates only what is its own, and a commit costs one row however many events it holds.
See docs/decisions/0001-log-rows-are-group-commits.md for the measurements.
"""

import fcntl
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import apsw
import msgspec
import zstandard

from shopstream.domain.landing import Extent
from shopstream.domain.partition import split
from shopstream.errors import Busy, LogBroken, LogFull
from shopstream.events import Entry
from shopstream.local.datadir import sync_folder, take_lock
from shopstream.local.sqlite import transaction
from shopstream.ports import Row

READ_BYTES_MAX = 32 * 1024 * 1024
ROWS_BYTES_MAX, ROWS_MAX = 8 * 1024 * 1024, 10_000
INFLATED_BYTES_MAX = 1024 * 1024 * 1024
ROOM_SEEN_S = 0.5
"""How long what was seen of the free disk holds."""
_TRIM_ROWS = 2_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    position INTEGER PRIMARY KEY, next INTEGER NOT NULL, appended_us INTEGER NOT NULL,
    watermark_us INTEGER NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS received (
    topic TEXT, source TEXT, units INTEGER NOT NULL, PRIMARY KEY (topic, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (source TEXT PRIMARY KEY, done INTEGER NOT NULL) WITHOUT ROWID;
"""

_encode = msgspec.msgpack.Encoder().encode
_decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode
_decode_parts = msgspec.msgpack.Decoder(list[bytes]).decode
_DAMAGED = (msgspec.DecodeError, zstandard.ZstdError)
"""What a row raises whose bytes aren't those that were written: SQLite doesn't see that."""


class SqliteLog:
    """`ports.Log` in a folder. Opening it makes this process its one writer.

    Raises Busy when another process writes it. `SqliteLog.reader` opens it for reading only.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shards: int = 1,
        bytes_max: int = 1 << 62,
        disk_free_bytes_min: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock: IO[str] | None = take_lock(
            folder / "writer.lock", f"another process writes the log in {folder}"
        )
        self._shards = shards
        self._bytes_max = bytes_max
        self._disk_free_bytes_min = disk_free_bytes_min
        self._compress = zstandard.ZstdCompressor(level=1).compress
        self._inflate = zstandard.ZstdDecompressor().decompress
        try:
            with _translated():
                self._db = _create(folder)
                self._bytes = self._one("SELECT coalesce(sum(length(body)), 0) FROM rows")
                self._end = self.end()
        except BaseException:
            self._lock.close()
            raise
        self._room_seen_at = 0.0

    @classmethod
    def reader(cls, folder: Path, *, shards: int = 1) -> "SqliteLog":
        """The log as any other process may read it; `append` and `trim` are refused."""
        log = cls.__new__(cls)
        log._folder = folder
        log._shards = shards
        log._lock = None
        log._inflate = zstandard.ZstdDecompressor().decompress
        with _translated():
            if not (folder / "log.db").exists():
                _create(folder).close()
            log._db = _connect_reader(folder)
            if not _is_whole(log._db):  # another process makes it just now
                log._db.close()
                _create(folder).close()
                log._db = _connect_reader(folder)
        return log

    def append(self, entries: Sequence[Entry], *, progress: Mapping[str, int] | None = None) -> int:
        if self._lock is None:
            raise Busy(f"{self._folder} was opened for reading; another process writes it")
        entries = [e for e in entries if e.events]
        self._ensure_room()
        body = self._body(entries)
        start = self._end
        end = start + sum(len(e.events) for e in entries)
        received: dict[tuple[str, str], int] = {}
        for e in entries:
            received[e.topic, e.source] = received.get((e.topic, e.source), 0) + e.units
        with _translated(), transaction(self._db):
            if entries:
                self._db.execute(
                    "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        start,
                        end,
                        max(e.received_us for e in entries),
                        max(e.watermark_us for e in entries),
                        sum(len(raw) for e in entries for raw in e.events),
                        body,
                    ),
                )
            self._db.executemany(
                "INSERT INTO received VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET units = units + excluded.units",
                [(topic, source, units) for (topic, source), units in received.items()],
            )
            if progress:
                self._db.executemany(
                    "INSERT INTO progress VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET done = excluded.done",
                    list(progress.items()),
                )
        self._bytes += len(body)
        self._end = end
        return end

    def _body(self, entries: Sequence[Entry]) -> bytes:
        parts: list[list[Entry]] = [[] for _ in range(self._shards)]
        for entry in entries:
            for part, mine in zip(parts, split(entry, self._shards), strict=True):
                if mine is not None:
                    part.append(mine)
        return _encode([self._compress(_encode(part)) if part else b"" for part in parts])

    def _ensure_room(self) -> None:
        if self._bytes > self._bytes_max:
            raise LogFull(
                f"the log holds {self._bytes:,} bytes, its limit is {self._bytes_max:,};"
                " the processor must catch up, or raise log_bytes_max"
            )
        now = time.monotonic()
        if self._disk_free_bytes_min and now - self._room_seen_at >= ROOM_SEEN_S:
            disk = os.statvfs(self._folder)
            if disk.f_bavail * disk.f_frsize < self._disk_free_bytes_min:
                raise LogFull(
                    f"less than {self._disk_free_bytes_min:,} bytes are free on the disk of"
                    f" {self._folder}; free some, nothing acknowledged is lost"
                )
            self._room_seen_at = now

    def read(self, position: int, *, shard: int = 0, events_max: int = 10_000) -> list[Row]:
        rows: list[Row] = []
        events = size_read = 0
        found = self._select(
            "SELECT position, next, watermark_us, size, body FROM rows"
            " WHERE position >= ? ORDER BY position",
            position,
        )
        for start, end, watermark_us, size, body in found:
            parts = _parts(start, body)
            if len(parts) != self._shards:
                raise LogBroken(
                    f"the log's row at {start} is cut for {len(parts)} shards, the tables for"
                    f" {self._shards}: restore tables that were made after `shopstream reshard`"
                )
            entries = self._entries(start, parts[shard])
            rows.append(Row(start, end, entries, watermark_us))
            events += sum(len(e.events) for e in entries)
            size_read += size
            if events >= events_max or size_read >= READ_BYTES_MAX or len(rows) >= events_max:
                break
        found.close()
        return rows

    def rows(self, first: int, after: int) -> Iterator[Row]:
        """All rows in [first, after), both starts of rows, with the events of all shards, those of
        shard 0 first. A few at a time: nothing is held open in between.
        """
        while first < after:
            size_read = 0
            found = self._select(
                "SELECT position, next, watermark_us, size, body FROM rows"
                " WHERE position >= ? AND position < ? ORDER BY position",
                first,
                after,
            )
            rows = []
            for start, end, watermark_us, size, body in found:
                rows.append((start, end, watermark_us, body))
                size_read += size
                if size_read >= ROWS_BYTES_MAX or len(rows) >= ROWS_MAX:
                    break
            found.close()
            if not rows or rows[0][0] != first:
                raise LogBroken(f"the log lacks its row at {first}")
            for start, end, watermark_us, body in rows:
                entries = [e for part in _parts(start, body) for e in self._entries(start, part)]
                yield Row(start, end, entries, watermark_us)
            first = rows[-1][1]

    def _entries(self, start: int, part: bytes) -> list[Entry]:
        """Those of one shard, of the row at `start`."""
        if not part:
            return []
        try:
            return _decode_entries(self._inflate(part, max_output_size=INFLATED_BYTES_MAX))
        except _DAMAGED as e:
            raise _damaged(start, e) from e

    def extents(self, position: int, rows_max: int) -> list[Extent]:
        """Where rows from `position` on are, without what is in them."""
        found = self._select(
            "SELECT position, next, appended_us, size FROM rows WHERE position >= ?"
            " ORDER BY position LIMIT ?",
            position,
            rows_max,
        )
        return [Extent(*row) for row in found]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let everything read inside be of one moment, whatever is appended meanwhile."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def start(self) -> int:
        return self._one("SELECT coalesce(min(position), 0) FROM rows")

    def end(self) -> int:
        return self._one(
            "SELECT coalesce((SELECT next FROM rows ORDER BY position DESC LIMIT 1), 0)"
        )

    def appended_us(self, position: int) -> int:
        """When the event at `position` was appended (microseconds UTC), 0 if it isn't there."""
        return self._one(
            "SELECT coalesce((SELECT appended_us FROM rows WHERE next > ?"
            " ORDER BY position LIMIT 1), 0)",
            position,
        )

    def position_before(self, appended_us: int) -> int:
        """The end of the last row appended before that time, or the log's start."""
        return self._one(
            "SELECT coalesce((SELECT next FROM rows WHERE appended_us < ?"
            " ORDER BY position DESC LIMIT 1), (SELECT min(position) FROM rows), 0)",
            appended_us,
        )

    def progress(self, source: str) -> int:
        return self._one("SELECT coalesce((SELECT done FROM progress WHERE source = ?), 0)", source)

    def received(self) -> dict[tuple[str, str], int]:
        found = self._select("SELECT topic, source, units FROM received")
        return {(str(topic), str(source)): int(units) for topic, source, units in found}

    @property
    def size_bytes(self) -> int:
        """Bytes of all rows' bodies."""
        return self._one("SELECT coalesce(sum(length(body)), 0) FROM rows")

    def trim(self, before: int) -> int:
        """Forget rows that end at or before `before`, a bounded number a call, never the last."""
        if self._lock is None:
            raise Busy(f"{self._folder} was opened for reading; another process writes it")
        with _translated(), transaction(self._db):
            self._db.execute(
                "DELETE FROM rows WHERE position IN (SELECT position FROM rows WHERE next <= ?"
                " AND next < (SELECT max(next) FROM rows) ORDER BY position LIMIT ?)",
                (before, _TRIM_ROWS),
            )
        self._bytes = self.size_bytes
        return self.start()

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _one(self, sql: str, *values: Any) -> int:
        ((value,),) = self._select(sql, *values)
        return int(value)

    def _select(self, sql: str, *values: Any) -> Generator[tuple[Any, ...], None, None]:
        try:
            yield from self._db.execute(sql, values)
        except apsw.Error as e:
            raise LogBroken(f"the log can't be read: {e}") from e


def _create(folder: Path) -> apsw.Connection:
    """A connection that writes, to the log in `folder`, which is made when there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    made = not (folder / "log.db").exists()
    # Stages start together, and SQLite's switch to WAL doesn't wait for another's.
    with (folder / "create.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        db = apsw.Connection(str(folder / "log.db"))
        db.set_busy_timeout(10_000)
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.pragma("wal_autocheckpoint", 4_000)
        db.execute(_SCHEMA)
    if made:
        sync_folder(folder)
    return db


def _connect_reader(folder: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    db = apsw.Connection(str(folder / "log.db"), flags=flags)
    db.set_busy_timeout(10_000)
    return db


def _is_whole(db: apsw.Connection) -> bool:
    """Whether the last of the tables has been made."""
    return bool(db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'progress'").get)


def _parts(start: int, body: bytes) -> list[bytes]:
    """Each shard's, of the row at `start`."""
    try:
        return _decode_parts(body)
    except _DAMAGED as e:
        raise _damaged(start, e) from e


def _damaged(start: int, error: Exception) -> LogBroken:
    return LogBroken(f"the log's row at {start} is damaged: {error}")


@contextmanager
def _translated() -> Iterator[None]:
    """SQLite's errors as ours: a full disk heals, anything else means starting again."""
    try:
        yield
    except apsw.FullError as e:
        raise LogFull(f"the disk is full: {e}") from e
    except apsw.CantOpenError as e:
        raise LogBroken(f"the log can't be opened: {e}") from e
    except (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.ReadOnlyError) as e:
        raise LogBroken(f"the log's disk failed: {e}; nothing of this was acknowledged") from e
