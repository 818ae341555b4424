"""What the builder remembers beside its tables: SQLite in WAL mode, every change synced.

The SHA-256 of each data file, what was built when, which tests fail, the alerts that came of it,
and which files nobody needs any more. Whoever opens it for writing is the builder: it holds the
lake's lock, and may write the catalog and the warehouse too. One that is made where another was
lost takes the files that readers read for what was written, as far as they can be read.

A failed test and its alert are written in one transaction, so a test that begins to fail makes one
alert, however often the builder is killed; while it stays failed it makes no other.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple, Self

import apsw
import msgspec

from shopstream.errors import DataDirError
from shopstream.events import Alert
from shopstream.lake.current import read_current
from shopstream.lake.files import DataFile, files_of
from shopstream.lake.quality import TestFailure, alert_of
from shopstream.local.datadir import make_folder, take_lock
from shopstream.local.sqlite import connect, disk_errors, open_database, transaction

BUILDS_KEPT = 1_000
ALERTS_KEPT = 10_000

_FILE_NAME = "builds.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, rows INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unneeded (
    name TEXT PRIMARY KEY, since_us INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS builds (
    build INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, started_us INTEGER NOT NULL,
    ended_us INTEGER, report BLOB);
CREATE TABLE IF NOT EXISTS failing (
    model TEXT NOT NULL, test TEXT NOT NULL, build INTEGER NOT NULL, PRIMARY KEY (model, test))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts (seq INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
"""

_encode = msgspec.json.Encoder().encode


class BuildRow(NamedTuple):
    """A build or maintenance. Times are microseconds UTC; `ended_us` None: it runs or was killed.
    `report` is what it said of itself, as JSON.
    """

    build: int
    kind: str
    started_us: int
    ended_us: int | None
    report: bytes


class Builds:
    """`lake/builds.db` in a data directory.

    What a method has returned from survives power loss. Raises DataDirError when the disk fails or
    is full; nothing of the change was kept then.
    """

    def __init__(self, data_dir: Path, *, wait_s: float = 0.0) -> None:
        """Become the builder, waiting up to `wait_s` for another one; else Busy."""
        folder = data_dir / "lake"
        make_folder(folder)
        self._lock: IO[str] | None = take_lock(
            folder / "builds.lock",
            f"a build or maintenance runs on {data_dir} just now; try again when it ended",
            wait_s,
        )
        try:
            with _disk():
                self._db = open_database(folder / _FILE_NAME, lambda db: _make(db, data_dir))
            self._end_what_was_shown(data_dir)
        except BaseException:
            self._lock.close()
            raise

    @classmethod
    def reader(cls, data_dir: Path) -> "Builds":
        """The same as any process may read it. Raises DataDirError when there is none."""
        builds = cls.__new__(cls)
        builds._lock = None
        with _disk():
            builds._db = connect(data_dir / "lake" / _FILE_NAME, readonly=True)
            builds._db.execute("SELECT seq FROM alerts LIMIT 0")  # is it one?
        return builds

    def _end_what_was_shown(self, data_dir: Path) -> None:
        """A build that was killed when readers saw its tables already has ended when they first
        did: without that nobody knew what they saw at a time (`published_by`).
        """
        try:
            shown = read_current(data_dir)
        except DataDirError:
            return  # they see nothing
        with self._changing():
            self._db.execute(
                "UPDATE builds SET ended_us = ? WHERE build = ? AND kind = 'build'"
                " AND ended_us IS NULL",
                (round(shown.built_at.timestamp() * 1_000_000), shown.build),
            )

    # --- builds -----------------------------------------------------------------------------

    def begin(self, kind: str, at_us: int, after: int = 0) -> int:
        """The number of the build (or maintenance) that now begins: above `after` and all before.

        Of builds longer ago than BUILDS_KEPT nothing is known any more.
        """
        with self._changing():
            self._db.execute("DELETE FROM builds WHERE build <= ?", (self.last() - BUILDS_KEPT,))
            self._db.execute(
                "INSERT INTO builds (build, kind, started_us) VALUES (?, ?, ?)",
                (max(after, self.last()) + 1, kind, at_us),
            )
            return self._db.last_insert_rowid()

    def end(self, build: int, at_us: int, report: bytes = b"{}") -> None:
        with self._changing():
            self._db.execute(
                "UPDATE builds SET ended_us = ?, report = ? WHERE build = ?",
                (at_us, report, build),
            )

    def last(self, kind: str = "") -> int:
        """The number of the last build, or of the last of that kind; 0 when there was none."""
        found = self._db.execute(
            "SELECT coalesce(max(build), 0) FROM builds WHERE kind = ? OR ? = ''", (kind, kind)
        )
        return int(found.get)

    def have_published(self) -> bool:
        """Whether a build is known to have ended, which shows its tables first."""
        found = self._db.execute(
            "SELECT EXISTS (SELECT 1 FROM builds WHERE kind = 'build' AND ended_us IS NOT NULL)"
        )
        return bool(found.get)

    def history(self, rows_max: int = 100) -> list[BuildRow]:
        """The last builds, the newest first."""
        found = self._db.execute(
            "SELECT build, kind, started_us, ended_us, coalesce(report, x'7b7d') FROM builds"
            " ORDER BY build DESC LIMIT ?",
            (rows_max,),
        )
        return [BuildRow(*row) for row in found]

    def published_by(self, at_us: int) -> int:
        """When the last build had ended that readers saw at `at_us`: tables are committed one after
        the other, and only at its end shown together. `at_us` itself where it is not known, since
        that was before all builds that are remembered.
        """
        found = self._db.execute(
            "SELECT coalesce(max(ended_us) FILTER (WHERE ended_us <= ?1),"
            " min(?1, min(started_us)), ?1) FROM builds WHERE kind = 'build'",
            (at_us,),
        )
        return int(found.get)

    # --- data files -------------------------------------------------------------------------

    def record_files(self, files: Iterable[DataFile]) -> None:
        """Remember data files, before the commit that makes them part of a table."""
        with self._changing():
            _record(self._db, files)

    def files(self) -> dict[str, DataFile]:
        """Every data file that is remembered, by name."""
        found = self._db.execute("SELECT name, bytes, sha256, rows FROM files")
        return {row[0]: DataFile(*row) for row in found}

    def unneeded(self) -> dict[str, int]:
        """Files that nobody needs, by name: since when, as microseconds UTC."""
        return dict(self._db.execute("SELECT name, since_us FROM unneeded"))

    def set_unneeded(self, names: Collection[str], now_us: int) -> None:
        """Say which files nobody needs now; those that were so already keep their time."""
        known = self.unneeded()
        with self._changing():
            self._db.executemany(
                "DELETE FROM unneeded WHERE name = ?", [(n,) for n in known if n not in names]
            )
            self._db.executemany(
                "INSERT INTO unneeded VALUES (?, ?)",
                [(name, now_us) for name in names if name not in known],
            )

    def forget_files(self, names: Collection[str]) -> None:
        """Forget files that are no longer on disk."""
        with self._changing():
            for table in ("files", "unneeded"):
                self._db.executemany(
                    f"DELETE FROM {table} WHERE name = ?",  # noqa: S608 (one of two words)
                    [(name,) for name in names],
                )

    # --- failed tests -----------------------------------------------------------------------

    def audited(
        self, model: str, failures: Sequence[TestFailure], build: int, at: datetime
    ) -> Alert | None:
        """Remember which tests a model fails now ([] for none); returns the alert raised, if any.

        An alert is raised when a test fails that did not fail the last time the model was audited.
        """
        with self._changing():
            known = {
                test
                for (test,) in self._db.execute(
                    "SELECT test FROM failing WHERE model = ?", (model,)
                )
            }
            failing = {failure.key: failure for failure in failures}
            new = [failure for key, failure in failing.items() if key not in known]
            self._db.executemany(
                "DELETE FROM failing WHERE model = ? AND test = ?",
                [(model, test) for test in known if test not in failing],
            )
            self._db.executemany(
                "INSERT INTO failing VALUES (?, ?, ?)",
                [(model, failure.key, build) for failure in new],
            )
            if not new:
                return None
            alert = alert_of(model, new, build, at.astimezone(UTC))
            self._db.execute("INSERT INTO alerts (body) VALUES (?)", (_encode(alert),))
            self._db.execute(
                "DELETE FROM alerts WHERE seq <= ?", (self._db.last_insert_rowid() - ALERTS_KEPT,)
            )
        return alert

    def failing(self) -> dict[str, list[str]]:
        """The tests that each model fails, by model; a model that fails none isn't there."""
        found: dict[str, list[str]] = {}
        for model, test in self._db.execute("SELECT model, test FROM failing ORDER BY 1, 2"):
            found.setdefault(model, []).append(test)
        return found

    def alerts(self, after: int = 0, rows_max: int = 1_000) -> list[tuple[int, bytes]]:
        """Alerts raised (number, JSON) with a number above `after`, in order."""
        return list(
            self._db.execute(
                "SELECT seq, body FROM alerts WHERE seq > ? ORDER BY seq LIMIT ?", (after, rows_max)
            )
        )

    # --- ------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with _disk(), transaction(self._db):
            yield

    def close(self) -> None:
        """Let another be the builder."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make(db: apsw.Connection, data_dir: Path) -> None:
    """Make what is missing; of the files that readers read, where another was lost."""
    new = not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'files'").get
    db.execute(_SCHEMA)
    with suppress(DataDirError):  # nothing is shown
        for now in read_current(data_dir).tables.values() if new else ():
            _record(db, files_of(data_dir / "lake", now.files, now.rows))


def _record(db: apsw.Connection, files: Iterable[DataFile]) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO files (name, bytes, sha256, rows) VALUES (?, ?, ?, ?)",
        [tuple(file) for file in files],
    )


def _disk() -> AbstractContextManager[None]:
    return disk_errors(
        "lake/builds.db",
        "run `shopstream build`",
        damaged="move it away and run `shopstream build`, which makes it anew of what readers read",
    )
