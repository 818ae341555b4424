"""Transactions of SQLite through apsw."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from shopstream.errors import DataDirError


@contextmanager
def transaction(db: apsw.Connection) -> Iterator[None]:
    """All or none, by statements: `with connection` of apsw holds the GIL while COMMIT waits for
    the disk, so the collector's event loop would stand still during each fsync.
    One inside another is part of it.
    """
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite itself may have rolled back already, as it does when the disk is full.
        if not db.get_autocommit():
            db.execute("ROLLBACK")
        raise


def connect(path: Path, *, create: bool = False, readonly: bool = False) -> apsw.Connection:
    """A database that syncs each commit, and that waits for others that write it."""
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
    db = apsw.Connection(str(path), flags=flags | (apsw.SQLITE_OPEN_CREATE if create else 0))
    db.set_busy_timeout(10_000)
    db.pragma("synchronous", "full")
    return db


@contextmanager
def disk_errors(name: str, missing: str, *, full: bool = True) -> Iterator[None]:
    """SQLite's errors as DataDirError; `missing` says what to do when there is no such database.

    A full disk, with `full` only: elsewhere it heals, and who waits for that wants to know it.
    """
    try:
        yield
    except (apsw.CantOpenError, apsw.SQLError) as e:
        raise DataDirError(f"{name} can't be opened ({e}); {missing}") from e
    except apsw.FullError as e:
        if not full:
            raise
        raise DataDirError(f"no room for {name}: {e}; nothing of this was kept") from e
    except (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.ReadOnlyError) as e:
        raise DataDirError(f"{name}: {e}; nothing of this was kept") from e
