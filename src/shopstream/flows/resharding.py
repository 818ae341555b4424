"""Cut what the processors know into another number of shards: nothing lost, nothing doubled.

The tables that are cut are only read, and those made of them are new. So a cut that was killed is
begun again, and whoever switches from the old tables to the new decides when it has happened.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, TypeAlias

import msgspec

from shopstream.domain.partition import shard_of_key
from shopstream.errors import DataDirError
from shopstream.flows.checkpoint import Checkpoint, read_checkpoint
from shopstream.flows.history import lines_of
from shopstream.flows.orders import customer_key, made_from
from shopstream.flows.places import SIDE_BY_SIDE, beside, own_place
from shopstream.flows.work import (
    ExpiryList,
    Feed,
    Ledger,
    QuarantineRecord,
    decode_list,
    encode_list,
)
from shopstream.ports import Batch, Tables

BATCH_BYTES = 1024 * 1024
"""Written together: of each shard so much waits in memory, and an item that may be larger."""

_encode = msgspec.json.Encoder().encode
_decode_record = msgspec.json.Decoder(QuarantineRecord).decode

_BY_PARTITION = ("users", "browsing_events", "offers", "timers", "stock_levels", "products")
"""Their partition keys are ids that events are sharded by: of a user, or of a product."""
_EVERYWHERE = ("alerts", "budgets")
"""Each shard has what any has."""
_COUNTED_AS = {"offers": "offers", "stock_levels": "stock", "orders": "orders"}
"""What the ledger counts an item as. Of browsing events it counts those in the item, by topic."""
_DIVIDED = ("browsing_events", *_COUNTED_AS)
"""Items of one shard may go to several, and so may what a list of those that expire counts."""
_FEEDS = ("alert_feed", "archive_feed")

_Found: TypeAlias = tuple[str, str, int, bytes]
"""An item: its partition key, its sort key, the shard it was found in, and what it is."""
OnMoved: TypeAlias = Callable[[int], None]
"""Is told how many items have been moved."""


class Moved(NamedTuple):
    """What a cut did: how many items it moved. `uncounted` are units that the lists of what expires
    count and that no item has: it finds none where the ledger is right.
    """

    items: int
    uncounted: int


def ensure_at_rest(old: Sequence[Tables], end: int) -> None:
    """Raises DataDirError unless each shard has processed the log up to `end` and all offers that
    they made are archived: then nothing that was noted down before the cut is read after it.
    """
    for shard, tables in enumerate(old):
        at = read_checkpoint(tables)
        if at.position != end or at.done:
            raise DataDirError(f"shard {shard} has processed {at.position} of {end} events")
        waiting = next(tables.scan("archive_feed"), None)
        if waiting is not None or tables.get("state", "archive_intent") is not None:
            raise DataDirError(f"shard {shard} has offers that are not archived yet")


def reshard(old: Sequence[Tables], new: Sequence[Tables], on_moved: OnMoved) -> Moved:
    """Write into `new`, which are empty, all that is in `old`, which are at rest. The caller syncs
    `new`.

    An item goes where the events of its id will go. Counts are sums, kept in shard 0. What alerts
    have been raised every shard knows, since an alert doesn't tell which id its event had. Feeds
    of alerts stay with their shard; those of shards that are no more end, so the notifier must
    have taken what is in them.
    """
    return _Cut(old, new, on_moved).run()


@dataclass
class _Expiring:
    """A list of what expires together, as it grows: no key is twice in it."""

    keys: dict[tuple[str, str], None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


class _Cut:
    def __init__(self, old: Sequence[Tables], new: Sequence[Tables], on_moved: OnMoved) -> None:
        self._old = old
        self._new = new
        self._on_moved = on_moved
        self._count = self._uncounted = 0
        self._waiting = [0] * len(new)
        self._batches: list[Batch] = [tables.batch() for tables in new]
        # Only of orders whose id another customer's has as well.
        self._renamed: dict[tuple[int, str, str], str] = {}

    def run(self) -> Moved:
        for shard, tables in enumerate(self._old):
            for table in _BY_PARTITION:
                for pk, sk, item in tables.scan(table):
                    self._put(self._of(pk), table, pk, sk, item)
            for topic, sk, item in tables.scan("quarantine"):
                self._put_rejection(shard, topic, sk, item)
            if shard < len(self._new):
                for pk, sk, item in tables.scan("alert_feed"):
                    self._put(shard, "alert_feed", pk, sk, item)
        for order_id, orders in groupby(self._all("orders"), itemgetter(0)):
            self._put_orders(order_id, orders)
        for alert_id, alerts in groupby(self._all("alerts"), itemgetter(0)):
            _, sk, _, item = next(alerts)
            for target in range(len(self._new)):
                self._put(target, "alerts", alert_id, sk, item)
        for (table, due), lists in groupby(self._all("expiry"), itemgetter(0, 1)):
            self._put_lists(table, due, lists)
        self._put_sums()
        for target in range(len(self._new)):
            self._write(target)
        return Moved(self._count, self._uncounted)

    def _all(self, table: str) -> Iterator[_Found]:
        """The items that all old shards have in `table`, in the order of their keys."""

        def found(shard: int, tables: Tables) -> Iterator[_Found]:
            for pk, sk, item in tables.scan(table):
                yield pk, sk, shard, item

        return merge(*(found(shard, tables) for shard, tables in enumerate(self._old)))

    def _of(self, key: str) -> int:
        return shard_of_key(key, len(self._new))

    def _put_orders(self, order_id: str, orders: Iterator[_Found]) -> None:
        """Two customers in two shards can have one order id, source and status, each accepted, as
        neither shard knew of the other's. In one shard, the second stands beside the first.
        """
        taken = Counter[tuple[int, str]]()
        for _, sk, shard, item in orders:
            target, place = self._of(customer_key(item)), own_place(sk)
            number = taken[target, place]
            taken[target, place] += 1
            if number:
                place = beside(place, number)
                self._put(target, "state", SIDE_BY_SIDE, "", b"1")
            if place != sk:
                self._renamed[shard, order_id, sk] = place
            self._put(target, "orders", order_id, place, item)

    def _put_rejection(self, shard: int, topic: str, sk: str, item: bytes) -> None:
        target, place = self._rejection_place(shard, sk)
        if place != sk:
            record = _decode_record(item)
            record.id = f"{target}-{place}"
            item = _encode(record)
        self._put(target, "quarantine", topic, place, item)

    def _rejection_place(self, shard: int, sk: str) -> tuple[int, str]:
        """Rejections stay with their shard, as their ids name it, or come to another's."""
        target = shard % len(self._new)
        return target, sk if target == shard else beside(sk, shard)

    def _put_lists(self, table: str, due: str, lists: Iterator[_Found]) -> None:
        """Cut the lists of what expires at one time as its items were cut."""
        parts = defaultdict[int, _Expiring](_Expiring)
        for _, _, shard, item in lists:
            self._divide(shard, table, decode_list(item), parts)
        for target, part in parts.items():
            found = ExpiryList(list(part.keys), dict(part.counts))
            self._put(target, "expiry", table, due, encode_list(found))

    def _divide(
        self, shard: int, table: str, found: ExpiryList, parts: dict[int, _Expiring]
    ) -> None:
        """Add what a list of an old shard has to those of the new; all that it counts as well."""
        left = Counter(found.counts)
        for pk, sk in found.keys:
            item = self._old[shard].get(table, pk, sk) if table in _DIVIDED else None
            counts = _counts(table, item)
            for target, place in self._places(shard, table, pk, sk, item):
                parts[target].keys[pk, place] = None
                parts[target].counts.update(counts)
                left.subtract(counts)
        if any(left.values()):
            parts[shard % len(self._new)].counts.update(left)
            if table in _DIVIDED:
                self._uncounted += sum(map(abs, left.values()))

    def _places(
        self, shard: int, table: str, pk: str, sk: str, item: bytes | None
    ) -> list[tuple[int, str]]:
        """Where an item of an old shard is now: in which shards, at which sort key."""
        if table in _EVERYWHERE:
            return [(target, sk) for target in range(len(self._new))]
        if table in _DIVIDED and item is None:
            return []
        if table == "orders" and item is not None:
            return [(self._of(customer_key(item)), self._renamed.get((shard, pk, sk), sk))]
        if table in _BY_PARTITION:
            return [(self._of(pk), sk)]
        if table == "quarantine":
            return [self._rejection_place(shard, sk)]
        if table == "alert_feed" and shard >= len(self._new):
            return []
        return [(shard % len(self._new), sk)]

    def _put_sums(self) -> None:
        """What a shard has one of: the ledger, budgets, feeds' numbers, how far it is."""
        cells = Ledger()
        spent: dict[tuple[str, str], int] = {}
        at = Checkpoint()
        numbers = dict.fromkeys(_FEEDS, 0)
        for tables in self._old:
            for (topic, source, outcome), units in Ledger(tables.scan("ledger")).cells.items():
                cells.count(topic, source, outcome, units)
            for rule, day, item in tables.scan("budgets"):
                spent[rule, day] = spent.get((rule, day), 0) + int(item)
            found = read_checkpoint(tables)
            at.position = found.position
            at.live_us = max(at.live_us, found.live_us)
            at.history_us = max(at.history_us, found.history_us)
            at.batches = max(at.batches, found.batches)
            for name in _FEEDS:
                numbers[name] = max(numbers[name], Feed(tables, name, 0).next)
        cells.write(self._batches[0])
        shards = len(self._new)
        for target, batch in enumerate(self._batches):
            for (rule, day), units in spent.items():
                # As a limit is split: so what is left of it is what was left.
                if share := units // shards + (target < units % shards):
                    batch.put("budgets", rule, day, str(share).encode())
            for name, number in numbers.items():
                batch.put("state", name, "", str(number).encode())
            batch.put("state", "checkpoint", "", _encode(at))

    def _put(self, target: int, table: str, pk: str, sk: str, item: bytes) -> None:
        self._batches[target].put(table, pk, sk, item)
        self._count += 1
        self._waiting[target] += len(pk) + len(sk) + len(item)
        if self._waiting[target] >= BATCH_BYTES:
            self._write(target)
            self._on_moved(self._count)

    def _write(self, target: int) -> None:
        self._new[target].write(self._batches[target])
        self._batches[target] = self._new[target].batch()
        self._waiting[target] = 0


def _counts(table: str, item: bytes | None) -> Counter[str]:
    """What the ledger counts an item as."""
    if item is None:
        return Counter()
    if table == "browsing_events":
        return Counter(made_from(line) for line in lines_of(item))
    return Counter((_COUNTED_AS[table],))
