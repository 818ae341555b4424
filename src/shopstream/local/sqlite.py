"""Transactions of SQLite through apsw."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


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
