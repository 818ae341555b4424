"""Ingest orders: read, dedupe, fit, store; raise alerts; tell the rules what was bought.

An order is (source, order id, status). Where lines are judged one by one, a line is (order, line
number): lines that come later are added to the order, so a mended line can be replayed.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import cast

import msgspec

from shopstream.domain.canonical import (
    CART_ID,
    CART_LINE,
    FROM_ORDER,
    ORDER_ID,
    same_content,
    settle,
    settled_amount,
)
from shopstream.domain.failures import expected_amount, micros
from shopstream.domain.orders import fit, invalid_order, large_order, purchases
from shopstream.domain.validation import ReadLines, read_event, read_lines
from shopstream.events import Entry, Failure, Order, OrderLine, Rejection
from shopstream.flows.clicks import Clicks
from shopstream.flows.places import SIDE_BY_SIDE, own_place
from shopstream.flows.work import ACCEPTED, DUPLICATE, STORED, FlowConfig, Work
from shopstream.ports import Lake, Tables

ORDER_PURCHASES = "purchases of orders"
"""Topic under which the ledger counts the purchases that orders add to their customers' history."""
_decode_order = msgspec.json.Decoder(Order).decode


class StoredOrder(msgspec.Struct, gc=False):
    """What a stored order says about where the rest of it is."""

    archive: str = ""


class _StoredLines(msgspec.Struct, gc=False):
    lines: list[msgspec.Raw] = []
    lines_total: int = 0


_decode_stored = msgspec.json.Decoder(StoredOrder).decode
_decode_stored_lines = msgspec.json.Decoder(_StoredLines).decode


def line_count(item: bytes) -> int:
    """How many lines a stored order has, those that were trimmed off included."""
    stored = _decode_stored_lines(item)
    return stored.lines_total or len(stored.lines)


def archive_of(item: bytes) -> str:
    """The archived file that has all of a stored order, empty when the item is whole."""
    return _decode_stored(item).archive


class _Customer(msgspec.Struct, gc=False):
    order_id: str
    customer_id: str | None = None


_decode_customer = msgspec.json.Decoder(_Customer).decode


def customer_key(item: bytes) -> str:
    """What a stored order is sharded by."""
    return _key(_decode_customer(item))


def _key(order: Order | _Customer) -> str:
    return order.customer_id or order.order_id


class _Marked(msgspec.Struct, gc=False):
    event_id: str = ""
    extra: dict[str, msgspec.Raw] | None = None


_decode_marked = msgspec.json.Decoder(_Marked).decode


def made_from(line: bytes) -> str:
    """The topic of the event that a stored click was made from."""
    if b'"extra"' not in line:
        return "clicks"
    click = _decode_marked(line)
    extra = click.extra or {}
    if FROM_ORDER in extra and click.event_id.startswith(ORDER_ID):
        return ORDER_PURCHASES
    return "carts" if CART_LINE in extra and click.event_id.startswith(CART_ID) else "clicks"


class Orders:
    """Orders of one micro-batch, into the tables and the customers' history."""

    def __init__(self, tables: Tables, lake: Lake, clicks: Clicks, config: FlowConfig) -> None:
        self._tables = tables
        self._lake = lake
        self._clicks = clicks
        self._config = config
        self._pending: dict[tuple[str, str], Order] = {}
        # Only what changes the number of shards puts orders beside others: most shards have none,
        # and a new order costs them one read.
        self._side_by_side = tables.get("state", SIDE_BY_SIDE) is not None

    def take(self, entry: Entry, work: Work) -> None:
        for n, raw in enumerate(entry.events):
            if entry.on_bad_line == "quarantine_line":
                order, rejections, kept = read_lines(raw, entry.received_us, self._config.limits)
            else:
                order, rejections, kept = self._read(raw, entry.received_us)
            if order is not None:
                settle(order, kept)
                rejections += self._store(order, raw, entry, work)
            if rejections:
                self._reject(rejections, raw, entry, n, work)

    def _read(self, raw: bytes, received_us: int) -> ReadLines:
        found = read_event("orders", raw, received_us, self._config.limits)
        if isinstance(found, Order):
            return ReadLines(found, [], raw)
        return ReadLines(None, [cast(Rejection, found)], raw)

    def _reject(
        self, rejections: list[Rejection], raw: bytes, entry: Entry, n: int, work: Work
    ) -> None:
        for rejection in rejections:
            self._clicks.quarantine(rejection, entry, n, work)
        source = entry.identity or entry.source
        at = datetime.fromtimestamp(entry.received_us / 1e6, UTC)
        if rejections[0].reason != "conflict":
            historical = entry.historical
            work.alert(invalid_order(rejections, raw, source, at, historical=historical))

    def _store(self, order: Order, raw: bytes, entry: Entry, work: Work) -> list[Rejection]:
        """Store what is new of `order`; returns what contradicts what is there."""
        identity = entry.identity or entry.source
        by_line = entry.on_bad_line == "quarantine_line"
        known, sk = self._known(order, f"{identity}#{order.status}")
        fresh, conflicts = order.lines, list[OrderLine]()
        if known is not None:
            if not by_line or any(line.line is None for line in (*known.lines, *order.lines)):
                return self._repeats(known, order, raw, entry, work)
            fresh, repeated, conflicts = _compare_lines(known, order)
            work.count("orders", entry.source, DUPLICATE, repeated)
        if fresh:
            units = len(fresh) if by_line else 1
            work.count("orders", entry.source, ACCEPTED, units)
            if known is None:
                work.stored("orders", self._config.orders_ttl_us, "orders")
                work.expire("orders", self._config.orders_ttl_us, order.order_id, sk)
            else:
                order.lines = [*known.lines, *fresh]
                order.amount = settled_amount(expected_amount(order))
            work.count("order_lines", "", STORED, len(fresh))
            self._put(order, sk, identity, entry, work)
            self._tell_rules(order, entry, work)
        return [_conflict(order, raw, len(conflicts))] if conflicts else []

    def _repeats(
        self, known: Order, order: Order, raw: bytes, entry: Entry, work: Work
    ) -> list[Rejection]:
        units = len(order.lines) if entry.on_bad_line == "quarantine_line" else 1
        ignoring = frozenset({"timestamp"}) if entry.dialect == "translated" else frozenset[str]()
        if same_content(known, order, ignoring=ignoring):
            work.count("orders", entry.source, DUPLICATE, units)
            return []
        return [_conflict(order, raw, units)]

    def _put(self, order: Order, sk: str, identity: str, entry: Entry, work: Work) -> None:
        self._pending[order.order_id, sk] = order
        # A name for each number of lines: the file comes before the batch that points to it, so
        # after a kill the one that the tables still point to must be as it was. Another shard may
        # have another customer's order with this id.
        known_by = f"{sk}\0{order.order_id}\0{_key(order)}\0{len(order.lines)}"
        name = blake2b(known_by.encode(), digest_size=16).hexdigest()
        archive = f"archive/orders/dt={order.timestamp.date().isoformat()}/{name}.json"
        item, archived = fit(order, archive)
        if archived is not None:
            self._lake.put(archive, archived)
        work.put("orders", order.order_id, sk, item)
        config = self._config
        alert = large_order(
            order,
            identity,
            config.order_alert_above,
            config.order_alert_above_by_currency,
            historical=entry.historical,
        )
        if alert:
            work.alert(alert)

    def _tell_rules(self, order: Order, entry: Entry, work: Work) -> None:
        if entry.dialect == "translated" and order.status == "paid":
            return  # its message says so itself, as one purchase for each product
        at_us = micros(order.timestamp)
        for purchase in purchases(order):
            self._clicks.derive(purchase, at_us, ORDER_PURCHASES, work, historical=entry.historical)

    def _known(self, order: Order, place: str) -> tuple[Order | None, str]:
        """What is there with this id, source and status, and where it is. Since shards were made
        one, it may be of several customers: then this one's, or else the first.
        """
        known = []
        for sk in self._places(order.order_id, place):
            if (found := self._stored(order.order_id, sk)) is not None:
                if _key(found) == _key(order):
                    return found, sk
                known.append((found, sk))
        return known[0] if known else (None, place)

    def _places(self, order_id: str, place: str) -> list[str]:
        """`place`, and those beside it that there are: each expires in its own time."""
        if not self._side_by_side:
            return [place]
        stored = (sk for sk, _ in self._tables.query("orders", order_id))
        return [place, *(sk for sk in stored if sk != place and own_place(sk) == place)]

    def _stored(self, order_id: str, sk: str) -> Order | None:
        if pending := self._pending.get((order_id, sk)):
            return pending
        item = self._tables.get("orders", order_id, sk)
        if item is None:
            return None
        archive = archive_of(item)
        return _decode_order(self._lake.get(archive) if archive else item)

    def finish(self) -> None:
        self._pending.clear()


def _compare_lines(known: Order, order: Order) -> tuple[list[OrderLine], int, list[OrderLine]]:
    """Lines of `order` that are new, how many are known, and those that contradict a known one."""
    by_number: dict[int | None, list[OrderLine]] = {}
    for line in known.lines:
        by_number.setdefault(line.line, []).append(line)
    fresh, conflicts, repeated = [], [], 0
    for line in order.lines:
        before = by_number.get(line.line)
        if before is None:
            fresh.append(line)
        elif any(same_content(one, line, ignoring=frozenset()) for one in before):
            repeated += 1
        else:
            conflicts.append(line)
    return fresh, repeated, conflicts


def _conflict(order: Order, raw: bytes, units: int) -> Rejection:
    wanted = "an id of its own: another order with it came from this source"
    failure = Failure("conflict", "order_id", order.order_id, wanted)
    return Rejection(topic="orders", failures=[failure], raw=raw, units=units)
