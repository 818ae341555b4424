"""The tables as a record finds them that may have been taken before: without its own work.

Each item that a record makes says so, and what it changes says what was there before. So a record
that is taken again, by whoever, decides as it did, and what it had already written stays as it is.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from shopstream.errors import Busy
from shopstream.events import Order
from shopstream.flows.history import PAST, Mark, Recent, marked, recent, sort_key
from shopstream.flows.orders import archive_of, line_count
from shopstream.ports import Batch, Items, Key, Lake

TRIES_MAX = 20
"""Times that something is decided because other writers were faster."""
_NULL = b"null"
_STAMP_CHARS = 20
_ORDER = (
    "browsing_events", "orders", "stock_levels", "products", "alerts", "quarantine",
)  # fmt: skip
"""What is written first tells a later try the most."""

_T = TypeVar("_T")


class _Marks(Struct, gc=False):
    """What an item says of the record that put it: `record` is its stamp and hash. `before` is, of
    an order, how many lines it had before each record that added some; of a stock level, what was
    known of the product.
    """

    record: str = ""
    before: Raw = Raw(_NULL)

    def are_of(self, record: str) -> bool:
        return self.record[_STAMP_CHARS:] == record


_decode_marks = msgspec.json.Decoder(_Marks).decode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_counts = msgspec.json.Decoder(dict[str, int] | None).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Overtaken(Busy):
    """Another writer was faster: what was decided may be wrong now. Nothing of it was written, or
    what was is recognised when it is decided again.
    """


def undisturbed(attempt: Callable[[], _T]) -> _T:
    """What `attempt` returns once no other writer gets in its way. Raises Busy after TRIES_MAX."""
    for _ in range(TRIES_MAX - 1):
        try:
            return attempt()
        except Overtaken:
            continue
    return attempt()


def unmarked(item: bytes) -> bytes:
    """A JSON item without what is said in it of the record that put it."""
    if b'"record":' not in item:
        return item
    fields = _decode_fields(item)
    for name in _Marks.__struct_fields__:
        fields.pop(name, None)
    return _encode(fields)


def _with_marks(item: bytes, record: str, before: bytes = _NULL) -> bytes:
    return b'%b,"record":"%b","before":%b}' % (item[:-1], record.encode(), before)


class Changes:
    """`ports.Batch` that remembers: the last item for each key. Not who is a user: their history
    says it, and whoever takes records reads that.
    """

    def __init__(self) -> None:
        self.items: dict[Key, bytes] = {}

    def put(self, table: str, pk: str, sk: str, item: bytes) -> None:
        if table != "users":
            self.items[Key(table, pk, sk)] = item

    def put_each(self, table: str, sk: str, items: Iterable[tuple[str, bytes]]) -> None:
        for pk, item in items:
            self.put(table, pk, sk, item)

    def delete(self, table: str, pk: str, sk: str) -> None:
        self.items.pop(Key(table, pk, sk), None)


class TakenTables:
    """`ports.Tables` without what the record with this hash has written, as far as flows that take
    records read them; what they change, `write_as` gives to the tables. `first_number` is that of a
    new user's first chunk.
    """

    def __init__(self, items: Items, lake: Lake, record: str, first_number: int) -> None:
        self._items = items
        self._first_number = first_number
        self._lake = lake
        self._record = record
        self._found: dict[Key, bytes | None] = {}
        self._own: set[Key] = set()
        self._products: dict[str, bytes | None] = {}
        self._chunks: dict[tuple[str, str], bytes] = {}
        self.histories: dict[str, Recent] = {}

    def history(self, user_id: str) -> Recent:
        """What there is of a user before this record, read once."""
        found = self.histories.get(user_id)
        if found is None:
            found = self.histories[user_id] = recent(self._items, user_id, record=self._record)
            self._chunks.update(((user_id, c.sk), c.item) for c in found.chunks)
        return found

    # --- as the flows see it ------------------------------------------------------------------

    def get(self, table: str, pk: str, sk: str = "") -> bytes | None:
        if table == "users":
            return b"" if self.history(pk).chunks else None
        if table == "browsing_events":
            return self._chunks.get((pk, sk))
        if table == "products" and pk in self._products:
            return self._products[pk]
        item = self._items.get(table, pk, sk)
        self._found[Key(table, pk, sk)] = item
        if item is None or table == "products":
            return item
        if table == "orders":
            return self._order_before(Key(table, pk, sk), item)
        if table in ("stock_levels", "alerts"):
            return self._others(Key(table, pk, sk), item)
        return item

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
        if table == "browsing_events":
            return iter(self.history(pk).chunks)
        if table == "offers":
            return iter(())  # nobody makes any here
        return self._items.query(
            table, pk, after=after, before=before, reverse=reverse, limit=limit
        )

    def scan(self, table: str) -> Iterator[tuple[str, str, bytes]]:
        return self._items.scan(table)

    def batch(self) -> Changes:
        return Changes()

    def write(self, batch: Batch) -> None:
        raise NotImplementedError("what a record changes is written with its stamp")

    def refresh(self) -> None:
        """Nothing is kept that may get old."""

    def sync(self) -> None:
        self._items.sync()

    def close(self) -> None:
        """The tables are another's."""

    def _order_before(self, key: Key, item: bytes) -> bytes | None:
        """An order with the lines that it had before: lines are only ever added."""
        counts = _decode_counts(_decode_marks(item).before) or {}
        count = counts.get(self._record)
        if count is None:
            return unmarked(item)
        self._own.add(key)
        if count == 0:
            return None
        archive = archive_of(item)
        order = _decode_order(self._lake.get(archive) if archive else item)
        order.lines = order.lines[:count]
        return _encode(order)

    def _others(self, key: Key, item: bytes) -> bytes | None:
        """An item unless it is of this record."""
        marks = _decode_marks(item)
        if not marks.are_of(self._record):
            return unmarked(item)
        self._own.add(key)
        if key.table == "stock_levels":
            before = bytes(marks.before)
            self._products.setdefault(key.pk, None if before == _NULL else before)
        return None

    # --- what changes -------------------------------------------------------------------------

    def write_as(self, mark: Mark, changes: Changes, key: str) -> None:
        """Write what is new as the record's. `key` is how the sort keys of its own rejections
        begin. Raises Overtaken.
        """
        record = f"{mark.stamp_us:0{_STAMP_CHARS}d}{mark.record}"
        in_order = sorted(changes.items.items(), key=lambda change: _ORDER.index(change[0].table))
        for place, item in in_order:
            if place.table == "browsing_events":
                self._put_chunk(place, item, mark)
            elif place.table == "orders":
                self._put_order(place, item, record)
            elif place.table == "products":
                self._put_product(place, item)
            elif place.table in ("stock_levels", "alerts"):
                self._put_new(place, _with_marks(item, record, self._product_before(place)))
            elif place.table == "quarantine":
                self._put_rejection(place, item, record, own=place.sk.startswith(key))
            else:
                self._put(place, item)

    def _put_chunk(self, place: Key, body: bytes, mark: Mark) -> None:
        known = self.history(place.pk)
        if known.own is None:
            sk = sort_key(known.next_number or self._first_number)
            mark = mark._replace(historical=place.sk.endswith(PAST))
            self._put_new(place._replace(sk=sk), marked(body, mark))

    def _put_order(self, place: Key, item: bytes, record: str) -> None:
        if place in self._own:
            return
        found = self._found[place]
        if found is None:
            before = _encode({record[_STAMP_CHARS:]: 0})
            self._put_new(place, _with_marks(item, record, before))
            return
        marks = _decode_marks(found)
        counts = (_decode_counts(marks.before) or {}) | {record[_STAMP_CHARS:]: line_count(found)}
        self._swap(place, found, _with_marks(item, marks.record, _encode(counts)))

    def _product_before(self, place: Key) -> bytes:
        """What was known of a stock level's product."""
        if place.table != "stock_levels":
            return _NULL
        if place.pk in self._products:
            return self._products[place.pk] or _NULL
        return self._found.get(Key("products", place.pk)) or _NULL

    def _put_product(self, place: Key, item: bytes) -> None:
        found = self._found.get(place)
        if place.pk in self._products:
            found = self._items.get(*place)
            if found != self._products[place.pk]:
                return  # it was written; or it was, and changed since
        if found is None:
            self._put_new(place, item)
        else:
            self._swap(place, found, item)

    def _put_rejection(self, place: Key, item: bytes, record: str, *, own: bool) -> None:
        """Put a rejection of this record, which stays as it is when it is there; or one of an
        earlier record that this one says is resolved.
        """
        if own:
            self._items.put_new(*place, _with_marks(item, record))
        else:
            found = self._found[place]
            self._put(place, _with_marks(item, _decode_marks(found or b"{}").record))

    def _put_new(self, place: Key, item: bytes) -> None:
        if place not in self._own and self._items.put_new(*place, item) not in (None, item):
            raise Overtaken(f"{place.table}: another writer was faster with {place.pk!r}")

    def _swap(self, place: Key, found: bytes, item: bytes) -> None:
        if not self._items.swap(*place, found, item):
            raise Overtaken(f"{place.table}: another writer changed {place.pk!r} meanwhile")

    def _put(self, place: Key, item: bytes) -> None:
        batch = self._items.batch()
        batch.put(*place, item)
        self._items.write(batch)
