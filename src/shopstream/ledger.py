"""`shopstream check`: prove that nothing was lost, from what is stored and not from what is said.

For each topic: received (counted by the log) + derived (made from another event) = accepted +
duplicate + quarantined + waiting (in the log, not processed yet). And what the tables hold is what
was stored less what has expired; and every offer made is archived once. Then the lake
(`shopstream.lake.verify`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal

import msgspec
from msgspec import Struct

from shopstream.domain.validation import units_of
from shopstream.engine import Engine, open_engine
from shopstream.errors import ShopstreamError
from shopstream.events import Order
from shopstream.flows.checkpoint import Checkpoint, read_checkpoint
from shopstream.flows.history import lines_of
from shopstream.flows.orders import ORDER_PURCHASES, StoredOrder, made_from
from shopstream.flows.work import (
    ACCEPTED,
    ARCHIVED,
    DERIVED,
    DUPLICATE,
    EXPIRED,
    QUARANTINED,
    STORED,
    Ledger,
)
from shopstream.lake.verify import LakeReport, Processed, verify
from shopstream.ports import Log, Tables
from shopstream.settings import Settings

Cells = Counter[tuple[str, str, str]]
TABLES = {
    "browsing_events": ("clicks", "carts", ORDER_PURCHASES),
    "orders": ("orders",),
    "order_lines": ("order_lines",),
    "stock_levels": ("stock",),
    "offers": ("offers",),
    "quarantine": ("quarantine",),
}


class TopicCounts(Struct):
    """One topic's units: events, or invoice lines where lines are judged one by one."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    waiting: int = 0

    @property
    def balanced(self) -> bool:
        return self.received == self.accepted + self.duplicate + self.quarantined + self.waiting


class Sold(Struct):
    """Orders of one status: how many, their lines, the worth of these by currency."""

    orders: int = 0
    lines: int = 0
    worth: dict[str, Decimal] = {}


class Held(Struct):
    """Items a table should hold (stored less expired) and those it does."""

    expected: int = 0
    found: int = 0


class CheckReport(Struct):
    """What `shopstream check` found. `differences` is empty when all adds up."""

    balanced: bool
    topics: dict[str, TopicCounts]
    sources: dict[str, dict[str, TopicCounts]]
    quarantine: dict[str, dict[str, int]]
    orders: dict[str, Sold]
    tables: dict[str, Held]
    lake: LakeReport | None
    differences: list[str]


def check(settings: Settings) -> CheckReport:
    """Count everything in the data directory; safe while stages run, and while the number of
    shards is changed: then it begins again. Raises DataDirError when there is none.
    """
    while True:
        engine = open_engine(settings, create=False)
        try:
            report = _check(engine)
        except (ShopstreamError, OSError):
            if engine.is_current():
                raise
        else:
            if engine.is_current():
                return report


def _check(engine: Engine) -> CheckReport:
    cells: Cells = Counter()
    found: Counter[str] = Counter()
    orders: dict[str, Sold] = {}
    checkpoints = []
    archived_to = []
    for shard in range(engine.shards):
        tables = engine.find_tables(shard)
        if tables is None:
            checkpoints.append(Checkpoint())
            continue
        try:
            checkpoints.append(read_checkpoint(tables))
            cells.update(Ledger(tables.scan("ledger")).cells)
            _count_tables(tables, found)
            _count_orders(tables, engine, orders)
            archived_to.append(_waiting_offers(tables))
        finally:
            tables.close()
    log = engine.read_log()
    waiting: Counter[tuple[str, str]] = Counter()
    with log.frozen():
        received = log.received()
        for shard, checkpoint in enumerate(checkpoints):
            _count_waiting(log, checkpoint, shard, waiting)
    log.close()
    found["order_lines"] = sum(sold.lines for sold in orders.values())
    topics, sources, differences = add_up(cells, received, waiting)
    held = _compare_tables(cells, found, differences)
    _compare_archive(engine, cells, sum(archived_to), differences)
    positions = [None if checkpoint.done else checkpoint.position for checkpoint in checkpoints]
    lake = verify(engine, Processed(cells, positions))
    differences += lake.differences if lake else []
    return CheckReport(
        balanced=not differences,
        topics=topics,
        sources=sources,
        quarantine=reasons(cells),
        orders=orders,
        tables=held,
        lake=lake,
        differences=differences,
    )


def _count_waiting(
    log: Log, checkpoint: Checkpoint, shard: int, waiting: Counter[tuple[str, str]]
) -> None:
    position, done = checkpoint.position, checkpoint.done
    while rows := log.read(position, shard=shard):
        for entry in (entry for row in rows for entry in row.entries):
            events = entry.events[done:]
            done = max(0, done - len(entry.events))
            if entry.dialect == "resolved":
                continue
            units = (
                sum(units_of(entry.topic, raw, entry.on_bad_line) for raw in events)
                if entry.dialect == "shopstream"
                else len(events)
            )
            waiting[entry.topic, entry.source] += units
        position = rows[-1].next


def add_up(
    cells: Cells,
    received: Mapping[tuple[str, str], int],
    waiting: Mapping[tuple[str, str], int],
) -> tuple[dict[str, TopicCounts], dict[str, dict[str, TopicCounts]], list[str]]:
    """Counts by topic, by topic and source, and where these are not balanced."""
    topics: dict[str, TopicCounts] = {}
    sources: dict[str, dict[str, TopicCounts]] = {}
    differences = []
    judged = {
        (topic, source)
        for topic, source, outcome in cells
        if outcome in (ACCEPTED, DUPLICATE, DERIVED) or outcome.startswith(QUARANTINED)
    }
    for topic, source in sorted({*received, *judged, *waiting}):
        counts = TopicCounts(
            received=received.get((topic, source), 0) + cells[topic, source, DERIVED],
            accepted=cells[topic, source, ACCEPTED],
            duplicate=cells[topic, source, DUPLICATE],
            quarantined=sum(
                units
                for (t, s, outcome), units in cells.items()
                if (t, s) == (topic, source) and outcome.startswith(QUARANTINED)
            ),
            waiting=waiting.get((topic, source), 0),
        )
        if not counts.balanced:
            accounted = counts.accepted + counts.duplicate + counts.quarantined + counts.waiting
            differences.append(
                f"{topic} from {source}: {counts.received} received, {accounted} accounted for"
            )
        sources.setdefault(topic, {})[source] = counts
        total = topics.setdefault(topic, TopicCounts())
        for name in TopicCounts.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(counts, name))
    return topics, sources, differences


def reasons(cells: Cells) -> dict[str, dict[str, int]]:
    """Units in the quarantine by topic and reason."""
    found: dict[str, dict[str, int]] = {}
    for (topic, _, outcome), units in sorted(cells.items()):
        if outcome.startswith(QUARANTINED):
            of_topic = found.setdefault(topic, {})
            reason = outcome.partition(":")[2]
            of_topic[reason] = of_topic.get(reason, 0) + units
    return found


def _compare_tables(
    cells: Cells, found: Mapping[str, int], differences: list[str]
) -> dict[str, Held]:
    held = {}
    for kinds in TABLES.values():
        for kind in kinds:
            expected = cells[kind, "", STORED] - cells[kind, "", EXPIRED]
            if expected or found[kind]:
                held[kind] = Held(expected, found[kind])
            if expected != found[kind]:
                differences.append(
                    f"tables: {expected} {kind} were stored and have not expired,"
                    f" {found[kind]} are there"
                )
    return held


def _count_tables(tables: Tables, found: Counter[str]) -> None:
    for _, _, chunk in tables.scan("browsing_events"):
        for line in lines_of(chunk):
            found[made_from(line)] += 1
    for table in ("orders", "stock_levels", "offers", "quarantine"):
        found[TABLES[table][0]] += sum(1 for _ in tables.scan(table))


class _Lines(StoredOrder):
    lines_total: int = 0


def _count_orders(tables: Tables, engine: Engine, orders: dict[str, Sold]) -> None:
    lake = engine.lake()
    for _, _, item in tables.scan("orders"):
        archive = msgspec.json.decode(item, type=_Lines).archive
        order = msgspec.json.decode(lake.get(archive) if archive else item, type=Order)
        sold = orders.setdefault(order.status, Sold())
        sold.orders += 1
        sold.lines += len(order.lines)
        worth = sum((line.quantity * line.unit_price for line in order.lines), Decimal(0))
        sold.worth[order.currency] = sold.worth.get(order.currency, Decimal(0)) + worth


def _waiting_offers(tables: Tables) -> int:
    """Offers made whose archive file is not sure to be there yet."""
    return sum(item.count(b"\n") + 1 for _, _, item in tables.scan("archive_feed"))


def _compare_archive(engine: Engine, cells: Cells, waiting: int, differences: list[str]) -> None:
    """Each offer made is in exactly one archive file, or in the feed that makes the next one."""
    archived: set[str] = set()
    lines = 0
    for body in _archive_files(engine):
        for line in body.splitlines():
            archived.add(msgspec.json.decode(line, type=_OfferId).offer_id)
            lines += 1
    if lines != len(archived):
        differences.append(f"archive: {lines - len(archived)} offers are archived twice")
    made = sum(
        units
        for (topic, rule, outcome), units in cells.items()
        if topic == "offers" and rule and outcome != "moot"
    )
    made -= cells[ARCHIVED, "", EXPIRED]
    if not made - waiting <= lines <= made:
        differences.append(f"archive: {made} offers made, {lines} archived, {waiting} waiting")


class _OfferId(Struct, gc=False):
    offer_id: str


def _archive_files(engine: Engine) -> Iterator[bytes]:
    lake = engine.lake()
    for name in lake.names("archive/offers"):
        yield lake.get(name)
