"""The live tables: `live.offers`, `live.orders` and `live.events`, as the processors see them now.

Each is read from the tables of all shards, and only when a query names it. What DuckDB gets is a
stream of JSON lines: a query with a LIMIT reads no more than it needs, and nothing is kept. Lines
come in no order that means anything. A writer at work is not disturbed: these are its readers.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice

from msgspec import Struct

from shopstream.domain.canonical import encode, read_stored
from shopstream.engine import open_engine
from shopstream.errors import ShopstreamError
from shopstream.flows.history import PAST, lines_of
from shopstream.flows.orders import line_count
from shopstream.lake.model import Column
from shopstream.ports import Tables
from shopstream.schemas import FIELDS
from shopstream.settings import MIB, Settings

LINES = 1_000
"""Lines that are compressed at once."""
OBJECT_BYTES_MAX = 4 * MIB
"""No item is larger; DuckDB reads in pieces of this size."""


class LiveTable(Struct):
    """A live table: what it holds, and how its lines are read from the tables of one shard."""

    name: str
    description: str
    grain: list[str]
    columns: list[Column]
    lines: Callable[[Tables], Iterator[bytes]]


class LiveStream(io.RawIOBase):
    """The lines of a live table as a file that zstd has compressed.

    DuckDB reads compressed files from front to end, once, without knowing their size. `failed` is
    told what went wrong before it is raised.
    """

    def __init__(
        self, settings: Settings, table: LiveTable, failed: Callable[[ShopstreamError], None]
    ) -> None:
        import zstandard

        super().__init__()
        self._failed = failed
        self._open = ExitStack()
        self._lines = self._read(settings, table)
        self._zstd = zstandard.ZstdCompressor(level=1).compressobj()
        self._ready = bytearray()
        self._ended = False

    def _read(self, settings: Settings, table: LiveTable) -> Iterator[bytes]:
        engine = open_engine(settings, create=False)
        for shard in range(engine.shards):
            tables = engine.read_tables(shard)
            self._open.callback(tables.close)
            yield from table.lines(tables)

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """DuckDB goes to the start before it reads; there is nowhere else to go."""
        if offset or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("a live table is read from front to end")
        return 0

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._ready) < size):
            try:
                part = b"".join(line + b"\n" for line in islice(self._lines, LINES))
            except ShopstreamError as e:
                self._failed(e)
                raise
            self._ready += self._zstd.compress(part) if part else self._zstd.flush()
            self._ended = not part
        taken = bytes(self._ready[:size] if size >= 0 else self._ready)
        del self._ready[: len(taken)]
        return taken

    def close(self) -> None:
        if not self.closed:
            self._open.close()
        super().close()


def view_sql(table: LiveTable, url: str) -> str:
    """The SELECT over the table's lines: every column with its type, flags false where absent."""
    kinds = ", ".join(f"'{c.name}': '{c.type}'" for c in table.columns)
    wanted = ", ".join(
        f"coalesce({c.name}, false) AS {c.name}" if c.type == "BOOLEAN" else f'"{c.name}"'
        for c in table.columns
    )
    # All names are ours.
    source = (
        f"read_json(['{url}'], format = 'newline_delimited', compression = 'zstd',"
        f" maximum_object_size = {OBJECT_BYTES_MAX}, columns = {{{kinds}}})"
    )
    return f"SELECT {wanted} FROM {source}"


def _offers(tables: Tables) -> Iterator[bytes]:
    for _, _, item in tables.scan("offers"):
        yield item


def _orders(tables: Tables) -> Iterator[bytes]:
    for _, sk, item in tables.scan("orders"):
        source = encode(_Source(sk.rpartition("#")[0], line_count(item)))
        yield source[:-1] + b"," + item[1:]


class _Source(Struct):
    source: str
    lines_total: int


def _events(tables: Tables) -> Iterator[bytes]:
    for _, sk, chunk in tables.scan("browsing_events"):
        past = b',"historical":true}' if sk.endswith(PAST) else b"}"
        for line in lines_of(chunk):
            yield encode(read_stored(line))[:-1] + past


_MEANINGS = {
    "source": "Where it came from: `http`, `load:rees46`, …",
    "lines_total": "How many lines the order has.",
    "timestamp": "When it happened, UTC.",
    "lines": "The lines as JSON; of a very large order the first ones.",
    "extra": "Unknown fields, as JSON.",
    "consent": "What the visitor agreed to, as JSON.",
    "historical": "Whether it was loaded as history: no news, nothing was delivered.",
    "archive": "The file that has the whole of a very large order.",
}
_OF_OFFERS = {
    "offer_id": "The offer's id: the same decision has the same id.",
    "rule": "The rule that made it.",
    "version": "The version of that rule.",
    "user_id": "Who it is for.",
    "key": "What the rule counted over: a product, a category, a cart.",
    "trigger": "The id of the event that set it off.",
    "percent": "The discount in percent, if it is one.",
    "amount": "The discount as an amount of `currency`, if it is one.",
    "reason": "Why it was made, in words.",
    "made_at": "When it was made, in event time, UTC.",
    "expires_at": "Until when it holds, UTC.",
    "delivered": "Whether the user is to see it.",
    "held_out": "Whether the user is in the rule's control group.",
    "moot": "Whether the product was bought before the offer was used.",
}


def _columns(text: str, meanings: Mapping[str, str]) -> list[Column]:
    """Columns written as `name` (text) or `name:TYPE`."""
    found = []
    for word in text.split():
        name, _, kind = word.partition(":")
        meaning = meanings.get(name) or _MEANINGS.get(name) or FIELDS[name]
        found.append(Column(name=name, type=kind or "VARCHAR", description=meaning))
    return found


LIVE_TABLES: dict[str, LiveTable] = {
    table.name: table
    for table in (
        LiveTable(
            "live.offers",
            "Offers as they stand now: those held out, moot and historical too.",
            ["offer_id"],
            _columns(
                "offer_id rule version:BIGINT user_id key trigger product_id category cart_id"
                " session_id percent:DECIMAL(18,4) amount:DECIMAL(18,4) currency reason"
                " made_at:TIMESTAMP expires_at:TIMESTAMP delivered:BOOLEAN held_out:BOOLEAN"
                " historical:BOOLEAN moot:BOOLEAN",
                _OF_OFFERS,
            ),
            _offers,
        ),
        LiveTable(
            "live.orders",
            "Orders as they stand now, one row for each order, source and status.",
            ["source", "order_id", "status"],
            _columns(
                "order_id source status customer_id timestamp:TIMESTAMP currency"
                " amount:DECIMAL(18,4) shipping:DECIMAL(18,4) tax:DECIMAL(18,4)"
                " discount:DECIMAL(18,4) payment_method lines_total:BIGINT lines extra archive",
                {},
            ),
            _orders,
        ),
        LiveTable(
            "live.events",
            "What visitors did, as the rules see it, for as long as `events_ttl` says;"
            " purchases made of orders and cart lines are among them.",
            ["user_id", "event_id"],
            _columns(
                "event_id user_id session_id event_type timestamp:TIMESTAMP page product_id"
                " device_type referrer_url location browser user_type price:DECIMAL(18,4)"
                " quantity:BIGINT currency category cart_id order_id consent extra"
                " historical:BOOLEAN",
                {},
            ),
            _events,
        ),
    )
}
