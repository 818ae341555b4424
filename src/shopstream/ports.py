"""The edges that an engine provides. Guarantees are in the docstrings; one contract suite
(`tests/engines/`) runs them against every engine.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from shopstream.events import Alert, Entry


class Row(NamedTuple):
    """One durable append as one shard sees it. Its events occupy positions [position, next)."""

    position: int
    next: int
    entries: list[Entry]
    watermark_us: int


class AppendLog(Protocol):
    """Where all that arrives goes first, as every engine has it: what a sender may rely on.

    Events of one partition key (`domain.partition`) come to whoever processes them in the order in
    which they were appended. What becomes of an event sent twice is the processor's: events are
    known by their ids.
    """

    def append(self, entries: Sequence[Entry], *, progress: Mapping[str, int] | None = None) -> int:
        """Make `entries` durable and return how many events this log has taken since it was opened
        (or, of a `Log`, the position after them).

        When this returns, the entries survive whatever happens to this machine (locally: all but
        the loss of its disk), and `progress`, how far each named source has been read, is stored.
        When it raises, some of the entries may have been taken and `progress` was not stored: the
        same append may be tried again, and twice is then once for events that have ids.
        Raises LogFull when there is no room now, LogBroken or AwsError when trying again is of no
        use.
        """
        ...

    def progress(self, source: str) -> int:
        """How far `source` has been read, 0 if never."""
        ...

    def close(self) -> None: ...


class Log(AppendLog, Protocol):
    """The durable order of all that arrived, on one machine. A position counts events since the
    first.

    More than an AppendLog: positions without gaps, appends of all or none, and everything that
    was ever appended can be read again. Streams and queues give none of these.
    """

    def append(self, entries: Sequence[Entry], *, progress: Mapping[str, int] | None = None) -> int:
        """Make `entries` durable, all or none, and return the position after them.

        When this returns the entries survive power loss. `progress` (how far each named source
        has been read) and the received counts are stored in the same transaction.
        Raises LogFull when there is no room, LogBroken when the disk failed.
        """
        ...

    def read(self, position: int, *, shard: int = 0, events_max: int = 10_000) -> list[Row]:
        """Rows from `position` on, in order, at least one if there is any, stopping once they
        hold `events_max` events. Entries hold only the events of `shard`; rows without any are
        still given, so that every shard sees the watermark. `position` must be a row's start.
        """
        ...

    def start(self) -> int:
        """The first position still kept."""
        ...

    def end(self) -> int:
        """The position after the last durable event."""
        ...

    def received(self) -> dict[tuple[str, str], int]:
        """Units received by (topic, source) since the beginning, trimmed rows included."""
        ...

    def trim(self, before: int) -> int:
        """Forget rows that end at or before `before`; returns the new start."""
        ...


class Key(NamedTuple):
    """Where an item lives, as in DynamoDB: a table, a partition, a place in its order."""

    table: str
    pk: str
    sk: str = ""


class Batch(Protocol):
    """Changes that are written together; `Tables.write` says what that means on which engine."""

    def put(self, table: str, pk: str, sk: str, item: bytes) -> None: ...

    def put_each(self, table: str, sk: str, items: Iterable[tuple[str, bytes]]) -> None:
        """Put each (pk, item) at the same sort key: one call for a whole micro-batch."""
        ...

    def delete(self, table: str, pk: str, sk: str) -> None: ...


class Tables(Protocol):
    """Keyed items. Within a partition items are ordered by the bytes of their sort key.

    Keys hold no NUL. An item is at most 400 KB on every engine (`domain.orders` fits them).
    """

    def get(self, table: str, pk: str, sk: str = "") -> bytes | None: ...

    def query(
        self,
        table: str,
        pk: str,
        *,
        after: str = "",
        before: str = "",
        reverse: bool = False,
        limit: int = 0,
    ) -> Iterator[tuple[str, bytes]]:
        """Items of one partition with `after` <= sk < `before`, in order or in `reverse`.

        An empty bound is open; `limit` 0 is no limit.
        """
        ...

    def scan(self, table: str) -> Iterator[tuple[str, str, bytes]]:
        """Every (pk, sk, item) of a table, in no order that holds on every engine."""
        ...

    def batch(self) -> Batch: ...

    def write(self, batch: Batch) -> None:
        """Apply a batch; what it changes is there for the next `get`, `query` and `scan`.

        Locally all of it or, after a crash, none; a prefix of writes survives power loss, and
        `sync` makes all of them do so. On AWS it is durable when this returns, and a crash may
        leave any part of a batch written: what needs more is written item by item, in order, by
        code that can be run again (`flows.records`).
        """
        ...

    def sync(self) -> None:
        """Return when everything written so far survives power loss."""
        ...

    def refresh(self) -> None:
        """Let a reader see what the writer has written since it opened."""
        ...

    def close(self) -> None: ...


class Items(Tables, Protocol):
    """Keyed items that many writers share, each of whom may be started twice or die half way.

    What `put`, `put_new` and `swap` have written, every later `get` and `query` sees. A batch is
    not atomic here: after a crash any part of it may have been written.
    """

    def put_new(self, table: str, pk: str, sk: str, item: bytes) -> bytes | None:
        """Put an item unless there is one: None when it was put, else what is there.

        Of writers that do so at once exactly one succeeds. One that was sent twice, because its
        answer got lost, may be told of its own item.
        """
        ...

    def swap(self, table: str, pk: str, sk: str, was: bytes, item: bytes) -> bool:
        """Replace an item if it is `was` by the byte; whether it now is `item`."""
        ...


class Notifier(Protocol):
    """Where alerts go."""

    def deliver(self, alert: Alert) -> None:
        """Return when the receiver has taken the alert; raise NotDelivered when it has not, or
        didn't say so: then it may be delivered again.

        So the same alert may come twice, as it may after a crash, with the same `alert_id`. Any
        alert can be delivered: what a receiver has no room for, or might be harmed by, is cut or
        escaped.
        """
        ...


class Lake(Protocol):
    """The lake's files: immutable, named once."""

    def put(self, name: str, body: bytes) -> None:
        """Store a file durably under `name`, whole or not at all. The same name and body may be
        put again after a crash.
        """
        ...

    def get(self, name: str) -> bytes: ...

    def delete(self, name: str) -> None:
        """Forget a file; one that is not there is no error."""
        ...

    def names(self, prefix: str) -> Iterable[str]: ...
