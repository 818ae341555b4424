"""Databases of SQLite and their transactions, through apsw."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from shopstream.errors import DataDirError
from shopstream.local.datadir import sync_folder


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


def connect(path: Path, *, readonly: bool = False) -> apsw.Connection:
    """A database that is there: it syncs each commit, and waits for others that write it."""
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE
    db = apsw.Connection(str(path), flags=flags)
    db.set_busy_timeout(10_000)
    db.pragma("synchronous", "full")
    return db


def open_database(path: Path, make: Callable[[apsw.Connection], object]) -> apsw.Connection:
    """The database as its one writer has it, in WAL mode, every commit synced.

    `make` makes what is missing in it, in one transaction. A new one is made beside its place, so
    a reader, and who comes after a kill, finds it whole or finds none.
    """
    if not os.path.lexists(path):
        _make_new(path, make)
    db = connect(path)
    db.pragma("journal_mode", "wal")
    with transaction(db):
        make(db)
    return db


def _make_new(path: Path, make: Callable[[apsw.Connection], object]) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    # A journal that a lost database left would be taken for the new one's.
    for file in (unfinished, path):
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
    apsw.Connection(str(unfinished)).close()
    with closing(connect(unfinished)) as db:  # which leaves one file
        db.pragma("journal_mode", "wal")
        with transaction(db):
            make(db)
    unfinished.rename(path)
    sync_folder(path.parent)


@contextmanager
def disk_errors(name: str, missing: str, *, damaged: str = "", full: bool = True) -> Iterator[None]:
    """SQLite's errors as DataDirError; `missing` says what to do when there is no such database,
    `damaged` when it is none, if anything can be done.

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
    except (apsw.CorruptError, apsw.NotADBError) as e:
        if damaged:
            raise DataDirError(f"{name} is damaged ({e}): {damaged}") from e
        raise DataDirError(f"{name}: {e}; nothing of this was kept") from e
    except (apsw.IOError, apsw.ReadOnlyError) as e:
        raise DataDirError(f"{name}: {e}; nothing of this was kept") from e
