"""The outbox on one machine: SQLite in WAL mode, every change synced, one writer (the notifier).

An alert is taken from a shard's feed, given one row for each receiver, and the shard's cursor is
moved in one transaction: a kill between any two system calls loses no row and doubles none.
A row is `pending`, then `delivered` or `dead` (tried too often); alerts about history are
`historical` from the start and never delivered.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Literal, NamedTuple, TypeAlias

import apsw
import msgspec

from shopstream.errors import DataDirError
from shopstream.events import Alert
from shopstream.local.datadir import take_lock
from shopstream.local.sqlite import connect, disk_errors, open_database, transaction

State: TypeAlias = Literal["pending", "delivered", "dead", "historical"]
STATES: tuple[State, ...] = ("pending", "delivered", "dead", "historical")

_FILE_NAME = "outbox.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    seq INTEGER PRIMARY KEY, alert_id TEXT NOT NULL UNIQUE, taken_us INTEGER NOT NULL,
    body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS alerts_taken ON alerts (taken_us);
CREATE TABLE IF NOT EXISTS deliveries (
    seq INTEGER NOT NULL REFERENCES alerts, receiver TEXT NOT NULL, state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, next_try_us INTEGER NOT NULL, changed_us INTEGER NOT NULL,
    error TEXT NOT NULL DEFAULT '', PRIMARY KEY (seq, receiver)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (receiver, next_try_us, seq)
    WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_state ON deliveries (state, changed_us);
CREATE TABLE IF NOT EXISTS cursors (
    shard INTEGER PRIMARY KEY, sk TEXT NOT NULL, alert_id TEXT NOT NULL);
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Alert).decode


class Cursor(NamedTuple):
    """How far a shard's feed was taken: the last sort key and the alert that stood there."""

    sk: str = ""
    alert_id: str = ""


class Due(NamedTuple):
    """A row to deliver now; `tries` is how often it has been tried."""

    seq: int
    tries: int
    alert: Alert


class Outcome(NamedTuple):
    """What became of a try. `next_try_us` counts only for `pending`, `error` not for success."""

    seq: int
    receiver: str
    state: State
    tries: int
    next_try_us: int = 0
    error: str = ""


class Row(NamedTuple):
    """A row of the outbox, as a person sees it. Times are microseconds UTC."""

    alert: Alert
    receiver: str
    state: State
    tries: int
    next_try_us: int
    changed_us: int
    error: str


class Outbox:
    """The outbox in `data_dir`. Opening it makes this process its one writer (else Busy).

    What a method has returned from survives power loss. Raises DataDirError when the disk fails
    (the process must end and recover); a full disk raises `apsw.FullError` and changes nothing.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] | None = take_lock(
            data_dir / "outbox.lock", f"another notifier runs on {data_dir}; end it first"
        )
        try:
            with _disk():
                self._db = open_database(data_dir / _FILE_NAME, lambda db: db.execute(_SCHEMA))
        except apsw.FullError as e:
            self._lock.close()
            raise DataDirError(f"no room for the outbox in {data_dir}: {e}") from e
        except BaseException:
            self._lock.close()
            raise

    @classmethod
    def reader(cls, data_dir: Path) -> "Outbox":
        """The outbox as any other process may read it. Raises DataDirError when there is none."""
        outbox = cls.__new__(cls)
        outbox._lock = None
        with _disk():
            outbox._db = connect(data_dir / _FILE_NAME, readonly=True)
        return outbox

    def cursor(self, shard: int) -> Cursor:
        found = self._db.execute("SELECT sk, alert_id FROM cursors WHERE shard = ?", (shard,)).get
        return Cursor(*found) if found else Cursor()

    def take(
        self,
        shard: int,
        alerts: Sequence[tuple[str, Alert]],
        receivers: Sequence[str],
        now_us: int,
    ) -> int:
        """Take `alerts` (sort key, alert) of a shard's feed, in order, and move its cursor.

        Returns how many were new; an alert id that is here already is not taken again.
        """
        new = 0
        with _disk(), transaction(self._db):
            for _, alert in alerts:
                self._db.execute(
                    "INSERT OR IGNORE INTO alerts (alert_id, taken_us, body) VALUES (?, ?, ?)",
                    (alert.alert_id, now_us, _encode(alert)),
                )
                if not self._db.changes():
                    continue
                new += 1
                seq, state = (
                    self._db.last_insert_rowid(),
                    "historical" if alert.historical else "pending",
                )
                self._db.executemany(
                    "INSERT INTO deliveries (seq, receiver, state, next_try_us, changed_us)"
                    " VALUES (?, ?, ?, ?, ?)",
                    [(seq, receiver, state, now_us, now_us) for receiver in receivers],
                )
            if alerts:
                sk, last = alerts[-1]
                self.move(shard, Cursor(sk, last.alert_id))
        return new

    def move(self, shard: int, cursor: Cursor) -> None:
        """Set a shard's cursor without taking anything."""
        with _disk(), transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (shard, *cursor))

    def forget_cursors(self, shard: int) -> None:
        """Forget the cursors of shards from this number on, which are no more: whoever has their
        numbers next has a feed of its own. Raises DataDirError also when the disk is full.
        """
        with _disk(full=True):
            self._db.execute("DELETE FROM cursors WHERE shard >= ?", (shard,))

    def due(self, receiver: str, now_us: int, *, rows_max: int, wait_us_max: int) -> list[Due]:
        """Rows of `receiver` whose time has come, longest due first.

        A row due later than any wait could make it was written before the clock was set back;
        it is due as well.
        """
        found = self._db.execute(
            "SELECT seq, tries, body FROM deliveries JOIN alerts USING (seq)"
            " WHERE receiver = ? AND state = 'pending' AND (next_try_us <= ? OR next_try_us > ?)"
            " ORDER BY next_try_us, seq LIMIT ?",
            (receiver, now_us, now_us + wait_us_max, rows_max),
        )
        return [Due(seq, tries, _decode(body)) for seq, tries, body in found]

    def record(self, outcomes: Sequence[Outcome], now_us: int) -> None:
        """Write down what became of tries, all of them or none."""
        with _disk(), transaction(self._db):
            self._db.executemany(
                "UPDATE deliveries SET state = ?, tries = ?, next_try_us = ?, changed_us = ?,"
                " error = ? WHERE seq = ? AND receiver = ? AND state = 'pending'",
                [
                    (o.state, o.tries, o.next_try_us, now_us, o.error, o.seq, o.receiver)
                    for o in outcomes
                ],
            )

    def retire(self, receivers: Sequence[str], now_us: int) -> int:
        """Make dead letters of what waits for receivers other than these; returns how many."""
        with _disk(), transaction(self._db):
            self._db.execute(
                "UPDATE deliveries SET state = 'dead', changed_us = ?,"
                " error = 'this receiver is not in the setting notify any more'"
                " WHERE state = 'pending' AND receiver NOT IN (SELECT value FROM json_each(?))",
                (now_us, _encode(list(receivers)).decode()),
            )
        return self._db.changes()

    def forget(self, before_us: int, *, rows_max: int) -> int:
        """Delete up to `rows_max` rows that ended before that time; returns how many went."""
        with _disk(), transaction(self._db):
            self._db.execute(
                "DELETE FROM deliveries WHERE (seq, receiver) IN (SELECT seq, receiver"
                " FROM deliveries WHERE state IN ('delivered', 'dead', 'historical')"
                " AND changed_us < ? LIMIT ?)",
                (before_us, rows_max),
            )
            gone = self._db.changes()
            self._db.execute(
                "DELETE FROM alerts WHERE seq IN (SELECT a.seq FROM alerts a WHERE taken_us < ?"
                " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = a.seq) LIMIT ?)",
                (before_us, rows_max),
            )
        return gone + self._db.changes()

    def counts(self) -> dict[str, int]:
        """How many rows are in each state."""
        found = self._db.execute("SELECT state, count(*) FROM deliveries GROUP BY state")
        return dict.fromkeys(STATES, 0) | dict(found)

    def version(self) -> tuple[int, int]:
        """Changes whenever the rows do, whoever changed them: cheaper to ask than `counts`."""
        return int(self._db.pragma("data_version")), self._db.total_changes()

    def rows(self, state: State, *, rows_max: int = 1_000) -> list[Row]:
        """Rows in a state, the last changed first."""
        found = self._db.execute(
            "SELECT body, receiver, state, tries, next_try_us, changed_us, error"
            " FROM deliveries JOIN alerts USING (seq) WHERE state = ?"
            " ORDER BY changed_us DESC, seq DESC LIMIT ?",
            (state, rows_max),
        )
        return [Row(_decode(body), *rest) for body, *rest in found]

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def retry_dead(data_dir: Path, now_us: int) -> int:
    """Put all dead letters back, to be tried from the beginning; returns how many.

    May run beside the notifier, which touches dead rows only to forget them: SQLite's own lock
    keeps the two apart for the moment that it takes.
    """
    with _disk():
        db = connect(data_dir / _FILE_NAME)
        try:
            with transaction(db):
                db.execute(
                    "UPDATE deliveries SET state = 'pending', tries = 0, next_try_us = ?,"
                    " changed_us = ? WHERE state = 'dead'",
                    (now_us, now_us),
                )
            found = db.changes()
        finally:
            db.close()
    return found


def _disk(*, full: bool = False) -> AbstractContextManager[None]:
    return disk_errors("outbox.db", "has the notifier ever run?", full=full)
