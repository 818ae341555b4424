"""A map of numbers that may have more keys than memory holds: on disk, in a file of its own."""

import sqlite3
from collections.abc import Iterator
from typing import Self

CACHE_KIB = 16 * 1024
"""So much of it is in memory."""


class LargeMap:
    """Numbers of 64 bits by key. A key is known by its hash: of ten million two are taken for one
    once in some 100,000 times.
    """

    def __init__(self) -> None:
        # Without a name SQLite makes a temporary file, and takes it away when it is closed.
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE map (key INTEGER PRIMARY KEY, value INTEGER)")
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._db.close()

    def put(self, key: str | bytes, value: int = 0) -> bool:
        """Put a number unless the key has one; whether it had none."""
        done = self._db.execute("INSERT OR IGNORE INTO map VALUES (?, ?)", (hash(key), value))
        return done.rowcount == 1

    def pop(self, key: str | bytes) -> int | None:
        """Take the key's number out; None when it has none."""
        (value,) = self._db.execute(
            "SELECT value FROM map WHERE key = ?", (hash(key),)
        ).fetchone() or (None,)
        if value is not None:
            self._db.execute("DELETE FROM map WHERE key = ?", (hash(key),))
        return value

    def __contains__(self, key: str | bytes) -> bool:
        found = self._db.execute("SELECT 1 FROM map WHERE key = ?", (hash(key),))
        return found.fetchone() is not None

    def __len__(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM map").fetchone()
        return int(count)

    def values(self) -> Iterator[int]:
        """All numbers, in no order."""
        return (value for (value,) in self._db.execute("SELECT value FROM map"))
