"""What has been landed: SQLite in WAL mode, every change synced, one writer, the lander.

A range of log positions is landed in three steps: the range is written down (`intend`), its files
are put into the lake, and one transaction takes the files in and moves the position (`commit`).
Files are named by their range and the same range makes the same bytes, so a lander that was killed
repeats the ranges that it had written down, and nothing is there twice or missing.

Tables remember the id up to which they have read files. So a database that is made where one was
lost, or put back from an older copy, numbers its files from above all ids that were ever given:
these tables read all of them. It is `unsure` then, until bronze was asked what it should know.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import apsw

from shopstream.domain.landing import NewFile, Range
from shopstream.errors import DataDirError
from shopstream.lake.current import read_current
from shopstream.local.datadir import make_folder, take_lock
from shopstream.local.sqlite import connect, disk_errors, open_database, transaction

_FILE_NAME = "landed.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (
    one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS intent (
    first INTEGER PRIMARY KEY, after INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, topic TEXT NOT NULL,
    first INTEGER NOT NULL, after INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL, days TEXT NOT NULL, arrived TEXT NOT NULL,
    expired INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS files_of_topic ON files (topic, id);
CREATE TABLE IF NOT EXISTS tally (
    day TEXT NOT NULL, topic TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    events INTEGER NOT NULL, PRIMARY KEY (day, topic, source, reason)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (first INTEGER PRIMARY KEY, after INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS origin (
    one INTEGER PRIMARY KEY CHECK (one = 1), id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS unsure (one INTEGER PRIMARY KEY CHECK (one = 1));
"""
_MADE_OF_IT = ("bronze", "lake/current.json", "lake/catalog.db")
"""Where one of these is in a data directory, files were landed before."""


class File(NamedTuple):
    """A landed file. Ids grow with each commit; positions [first, after) are those of its range."""

    id: int
    name: str
    topic: str
    first: int
    after: int
    rows: int
    bytes: int
    sha256: str
    days: list[str]


class Tally(NamedTuple):
    """How many units (as the ledger counts them) of a topic arrived on a day from a source;
    `reason` is empty for accepted ones. Duplicates are counted as accepted.
    """

    day: str
    topic: str
    source: str
    reason: str
    events: int


TallyKey = tuple[str, str, str, str]
"""(day, topic, source, reason)"""
_FILE = "id, name, topic, first, after, rows, bytes, sha256, days"


class Landed:
    """`lake/landed.db` in a data directory.

    What a method has returned from survives power loss. Raises DataDirError when the disk fails or
    is full; nothing of the change was kept then.
    """

    def __init__(self, data_dir: Path, *, wait_s: float = 0.0) -> None:
        """Become the lander, waiting up to `wait_s` for another one; else Busy."""
        folder = data_dir / "lake"
        make_folder(folder)
        self._lock: IO[str] | None = take_lock(
            folder / "landed.lock",
            f"another process lands the log of {data_dir}",
            wait_s,
        )
        try:
            with _disk():
                self._path = folder / _FILE_NAME
                self._db = open_database(self._path, lambda db: _make(db, data_dir))
                self._file = _file_at(self._path)
        except BaseException:
            self._lock.close()
            raise

    @classmethod
    def reader(cls, data_dir: Path) -> "Landed":
        """The same as any process may read it. Raises DataDirError when there is none."""
        landed = cls.__new__(cls)
        landed._lock = None
        with _disk():
            landed._db = connect(data_dir / "lake" / _FILE_NAME, readonly=True)
            landed._db.execute("SELECT count(*) FROM state").get  # noqa: B018  # is it one?
        return landed

    # --- what is there ----------------------------------------------------------------------

    def since(self, id: int, topic: str, until: int = 0) -> list[File]:
        """The files of `topic` with an id above `id`, and at most `until` if given, in order."""
        found = self._db.execute(
            f"SELECT {_FILE} FROM files WHERE topic = ? AND id > ? AND (? = 0 OR id <= ?)"  # noqa: S608  # our own columns
            " AND NOT expired ORDER BY id",
            (topic, id, until, until),
        )
        return [_file(row) for row in found]

    def unread(self, topic: str, read: int, until: int) -> list[File]:
        """The files of `topic` up to id `until` that a table which has read up to `read` has not:
        all where that isn't an id of this database.
        """
        return self.since(read if self.knows(read) else 0, topic, until)

    def last(self) -> int:
        """The newest id, `origin` when nothing was landed; it never falls."""
        return _last(self._db)

    def origin(self) -> int:
        """Ids that are given now are above this one: 0, unless a database was lost here."""
        if not _has(self._db, "origin"):
            return 0  # it was made before there was any
        return self._one("SELECT coalesce((SELECT id FROM origin), 0)")

    def knows(self, id: int) -> bool:
        """Whether a table that has read up to `id` has read what this database says, and not what
        one that was lost, or a newer copy, said. One that has read nothing (0) has.
        """
        return not id or self.origin() <= id <= self.last()

    def begun(self) -> bool:
        """Whether landing has ever come to a position, be it 0."""
        return bool(self._one("SELECT count(*) FROM state") or self.intent(1))

    def unsure(self) -> bool:
        """Whether bronze may have files that should be known here."""
        return not self.begun() or bool(self._one("SELECT count(*) FROM unsure"))

    def names(self) -> set[str]:
        """All files that are known, also those about to be deleted."""
        return {name for (name,) in self._db.execute("SELECT name FROM files")}

    def is_there(self) -> bool:
        """Whether this database is still the one in the data directory."""
        return _file_at(self._path) == self._file

    def position(self) -> int:
        """The log position up to which everything is landed."""
        return self._one("SELECT coalesce((SELECT position FROM state), 0)")

    def tally(self) -> list[Tally]:
        """What arrived, by arrival day."""
        found = self._db.execute("SELECT day, topic, source, reason, events FROM tally")
        return [Tally(*row) for row in found]

    def gaps(self) -> list[Range]:
        """Positions that the log had forgotten before they could be landed: what came before
        landing began, and while `lake` was off. Also those of which but files of bronze are known,
        a database having been lost: of others nobody knows whether they have expired.
        """
        return [Range(*row) for row in self._db.execute("SELECT first, after FROM gaps")]

    def totals(self) -> tuple[int, int]:
        """How many files there are, and their bytes."""
        found = self._db.execute(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM files WHERE NOT expired"
        )
        files, size = next(iter(found))
        return int(files), int(size)

    # --- landing ----------------------------------------------------------------------------

    def intent(self, ranges_max: int) -> list[Range]:
        """Ranges that were written down and not committed: the first ones, in order."""
        found = self._db.execute(
            "SELECT first, after FROM intent ORDER BY first LIMIT ?", (ranges_max,)
        )
        return [Range(*row) for row in found]

    def intended(self) -> int:
        """The log position up to which everything is landed or written down."""
        return max(self.position(), self._one("SELECT coalesce(max(after), 0) FROM intent"))

    def intend(self, ranges: Sequence[Range]) -> None:
        """Write down what will be landed next: ranges that follow the position without a gap."""
        at = ranges[0].first
        for one in ranges:
            if one.first != at or one.after <= one.first:
                raise ValueError(f"{one} doesn't follow {at}")
            at = one.after
        with self._changing():
            if self.intent(1) or ranges[0].first != self.position():
                raise ValueError("landed or intended already")
            self._db.executemany("INSERT INTO intent VALUES (?, ?)", ranges)

    def commit(
        self, landed: Range, files: Sequence[NewFile], tally: Iterable[tuple[TallyKey, int]]
    ) -> None:
        """Take in the files of the first range intended, whose names are on disk for good, and
        add its units to the tally.
        """
        with self._changing():
            if landed.first != self.position() or self.intent(1) != [landed]:
                raise ValueError(f"{landed} is not what comes next")
            self._add(landed, files)
            self._count(tally)
            self._db.execute("DELETE FROM intent WHERE first = ?", (landed.first,))
            self._move(landed.after)

    def _add(self, one: Range, files: Sequence[NewFile]) -> None:
        self._db.executemany(
            "INSERT INTO files (name, topic, first, after, rows, bytes, sha256, days, arrived)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (f.name, f.topic, *one, f.rows, f.bytes, f.sha256, " ".join(f.days), f.arrived)
                for f in files
            ],
        )

    def _count(self, tally: Iterable[tuple[TallyKey, int]]) -> None:
        self._db.executemany(
            "INSERT INTO tally VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET events = events + excluded.events",
            [(*key, units) for key, units in tally],
        )

    def skip(self, to: int) -> None:
        """Go on at `to`, where the log begins: what came before it is gone, which is kept as a
        gap. What was intended before it is given up.
        """
        with self._changing():
            self._db.execute("DELETE FROM intent")
            self._leave(to)

    def _leave(self, to: int) -> None:
        """Have what is between the position and `to` be a gap."""
        at = self.position()
        self._db.execute("UPDATE gaps SET after = ? WHERE after = ?", (to, at))
        if not self._db.changes():
            self._db.execute("INSERT INTO gaps VALUES (?, ?)", (at, to))
        self._move(to)

    # --- what was lost ----------------------------------------------------------------------

    def doubt(self) -> None:
        """Be unsure, until `trust`."""
        with self._changing():
            self._db.execute("INSERT OR REPLACE INTO unsure VALUES (1)")

    def take_over(
        self, one: Range, files: Sequence[NewFile], tally: Iterable[tuple[TallyKey, int]]
    ) -> None:
        """Take in files of a range that was landed when another database was here, and of which the
        log has nothing any more. Up to its end all else that there was is a gap.
        """
        with self._changing():
            self._add(one, files)
            self._count(tally)
            if one.after > self.position():
                self._db.execute("DELETE FROM intent")
                self._leave(one.after)

    def trust(self, ranges: Sequence[Range]) -> None:
        """Be sure again: bronze has nothing else but what these ranges, to be landed next, make."""
        with self._changing():
            self._db.execute("DELETE FROM intent")
            if ranges:
                self.intend(ranges)
            self._db.execute("DELETE FROM unsure")

    def _move(self, position: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (position,))

    # --- retention --------------------------------------------------------------------------

    def expire(self, arrived_before: str) -> list[str]:
        """Take files out that arrived before that hour ('YYYY-MM-DDTHH'); returns the names to
        delete, also of those taken out before that were not forgotten.
        """
        with self._changing():
            self._db.execute("UPDATE files SET expired = 1 WHERE arrived < ?", (arrived_before,))
        return [name for (name,) in self._db.execute("SELECT name FROM files WHERE expired")]

    def forget(self, names: Collection[str]) -> None:
        """Forget files that are no longer on disk."""
        with self._changing():
            self._db.executemany(
                "DELETE FROM files WHERE name = ? AND expired", [(name,) for name in names]
            )

    # --- ------------------------------------------------------------------------------------

    @property
    def lock_fd(self) -> int:
        """The lock's file: processes that inherit it keep other landers away until they end."""
        if self._lock is None:
            raise ValueError("opened for reading")
        return self._lock.fileno()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with _disk(), transaction(self._db):
            yield

    def _one(self, sql: str) -> int:
        return int(self._db.execute(sql).get)

    def close(self) -> None:
        """Let another be the lander."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _file(row: tuple[Any, ...]) -> File:
    return File._make((*row[:-1], row[-1].split()))


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, whatever it is called elsewhere."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _make(db: apsw.Connection, data_dir: Path) -> None:
    """Make what is missing. Where another database was lost, or this is an older copy, no file is
    given an id that one was given before.
    """
    lost = any((data_dir / name).exists() for name in _MADE_OF_IT)
    read = _read_up_to(data_dir)
    new = not _has(db, "files")
    db.execute(_SCHEMA)
    if (new and lost) or read > _last(db):
        # No lander gives a million ids a second.
        origin = max(time.time_ns() // 1_000, read, _last(db))
        db.execute("INSERT OR REPLACE INTO origin VALUES (1, ?)", (origin,))
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'files'")
        db.execute("INSERT INTO sqlite_sequence VALUES ('files', ?)", (origin,))
        db.execute("INSERT OR REPLACE INTO unsure VALUES (1)")


def _has(db: apsw.Connection, table: str) -> bool:
    found = db.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
    )
    return bool(found.get)


def _last(db: apsw.Connection) -> int:
    found = db.execute("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name='files'), 0)")
    return int(found.get)


def _read_up_to(data_dir: Path) -> int:
    """The highest id that a published table has read, 0 when there is none."""
    try:
        tables = read_current(data_dir).tables.values()
    except DataDirError:
        return 0
    return max((int(now.landed) for now in tables if now.landed.isdecimal()), default=0)


def _disk() -> AbstractContextManager[None]:
    return disk_errors(
        "lake/landed.db",
        "nothing was landed yet; run `shopstream build`",
        damaged="move it away and run `shopstream build`, which makes it anew of bronze/ and the"
        " log",
    )
