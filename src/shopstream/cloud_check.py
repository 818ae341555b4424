"""`shopstream check` on AWS: prove that nothing was lost, from what is stored there.

Each record that was taken has a row in the ledger, which is written last. For each topic and
source received + derived = accepted + duplicate + quarantined. The tables hold what the rows say
was stored, bronze in S3 their lines; every offer is archived; no queue holds anything that was
given up. What is still on its way is told apart from what is missing: see FRESH_US.

Of the records, lines and offers compared only their hashes are kept, on disk: memory doesn't grow
with how many there are.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from shopstream.cloud_bronze import Lines, judged
from shopstream.engine import open_aws_engine
from shopstream.errors import ConfigError, DataDirError
from shopstream.events import TOPICS
from shopstream.flows.history import NUMBER_CHARS, lines_of, mark_of, record_hash
from shopstream.flows.orders import line_count, made_from
from shopstream.flows.records import RECEIVED, ledger_rows
from shopstream.flows.work import QUARANTINED, STORED
from shopstream.large_maps import LargeMap
from shopstream.ledger import Cells, Held, TopicCounts, add_up, reasons
from shopstream.ports import Items
from shopstream.settings import Settings

if TYPE_CHECKING:
    from shopstream.aws.engine import AwsEngine
    from shopstream.aws.queues import Queue

DAYS = 7
"""How far back `check` looks when it isn't told."""
FRESH_US = 20 * 60_000_000
"""What arrived so recently may be on its way: a record that is taken again, lines that Firehose
holds (up to 15 minutes). It counts as a difference only when nothing arrived for so long.
"""
LATE_US = 15 * 86_400_000_000
"""So long after it was received a record may be taken: a day longer than a dead letter may wait."""
_OFFERS = "offers/"
"""How the ledger's rows begin that are of no record, but of an event at which the rules failed."""
_SEPARATOR = "\x1f"
SECOND_US = 1_000_000


class CloudCheck(Struct):
    """What was found of all that arrived on `since` (UTC) or later. `differences` is empty when
    all adds up; `on_the_way` says what can't be told yet, and why.
    """

    balanced: bool
    since: date
    records: int
    topics: dict[str, TopicCounts]
    sources: dict[str, dict[str, TopicCounts]]
    quarantine: dict[str, dict[str, int]]
    tables: dict[str, Held]
    bronze: dict[str, Held]
    offers: Held
    queues: "list[Queue]"
    on_the_way: list[str]
    differences: list[str]


class _Ledger:
    """The ledger's rows of a range of days. `settled` gets the hashes of their records."""

    def __init__(self, items: Items, days: Iterable[str], settled: LargeMap) -> None:
        self.cells: Cells = Counter()
        self.by_day: dict[str, Cells] = {}
        self.settled = settled
        self.records = 0
        for day in days:
            for record_id, counts in ledger_rows(items, day):
                self._add(day, record_id, counts)

    def _add(self, day: str, record_id: str, counts: dict[str, int]) -> None:
        self.records += 1
        of_day = self.by_day.setdefault(day, Counter())
        parts = 0
        for name, units in counts.items():
            topic, source, outcome = name.split(_SEPARATOR)
            self.cells[topic, source, outcome] += units
            if not record_id.startswith(_OFFERS):
                of_day[topic, source, outcome] += units
            parts = max(parts, units) if outcome == RECEIVED else parts
        self.settled.put(record_hash(record_id))
        if any(name.endswith(f"{QUARANTINED}:poison") for name in counts):
            # Its events were taken one by one, each as a part of the record.
            for n in range(parts):
                self.settled.put(record_hash(f"{record_id}/{n}"))


class _Own(Struct, gc=False):
    """The record that put an item: its stamp (microseconds, 20 digits) and hash."""

    record: str = ""


class _OwnOrder(_Own, gc=False):
    """`before`: how many lines there were before each record (by hash) that added some."""

    before: dict[str, int] | None = None


class _Offer(Struct, gc=False):
    offer_id: str


_decode_own = msgspec.json.Decoder(_Own).decode
_decode_order = msgspec.json.Decoder(_OwnOrder).decode
_decode_offer = msgspec.json.Decoder(_Offer).decode


class _Unsettled:
    """Stored events of records without a row in the ledger."""

    def __init__(self, records: LargeMap) -> None:
        self._records = records
        self.events = 0

    def add(self, record: str, events: int) -> None:
        self._records.put(record)
        self.events += events

    def __str__(self) -> str:
        return f"{self.events:,} events of {len(self._records):,} records"


class _Checking:
    """One check, as it goes on."""

    def __init__(self, engine: "AwsEngine", since: date, now_us: int, files: ExitStack) -> None:
        self._engine = engine
        self._items = engine.tables()
        self._since = since
        self._now_us = now_us
        self._today = datetime.fromtimestamp(now_us / 1e6, UTC).date()
        self._begin_us = _midnight_us(since)
        self._newest_us = 0
        self._files = files
        self._ledger = _Ledger(self._items, _days(since, self._today), self._new_map())
        self._being_taken = _Unsettled(self._new_map())
        self._never_settled = _Unsettled(self._new_map())
        self.differences: list[str] = []
        self.on_the_way: list[str] = []

    def _new_map(self) -> LargeMap:
        return self._files.enter_context(LargeMap())

    def check(self) -> CloudCheck:
        queues = self._queues()
        cells = self._ledger.cells
        received = {(t, s): n for (t, s, outcome), n in cells.items() if outcome == RECEIVED}
        topics, sources, unbalanced = add_up(cells, received, {})
        self.differences += unbalanced
        tables = self._tables()
        bronze = self._bronze()
        offers = self._offers()
        return CloudCheck(
            balanced=not self.differences,
            since=self._since,
            records=self._ledger.records,
            topics=topics,
            sources=sources,
            quarantine=reasons(cells),
            tables=tables,
            bronze=bronze,
            offers=offers,
            queues=queues,
            on_the_way=self.on_the_way,
            differences=self.differences,
        )

    # --- queues -------------------------------------------------------------------------------

    def _queues(self) -> "list[Queue]":
        found = self._engine.queues()
        for queue in found:
            count = queue.waiting + queue.in_flight
            if count and queue.dead:
                self.differences.append(
                    f"{queue.name}: {count:,} given up; docs/runbook.md says how to look at them"
                    " and send them again"
                )
            elif count:
                self.on_the_way.append(f"{queue.name}: {count:,} messages wait to be processed")
        return found

    # --- tables -------------------------------------------------------------------------------

    def _tables(self) -> dict[str, Held]:
        found: Counter[str] = Counter()
        for _, _, item in self._items.scan("browsing_events"):
            if (mark := mark_of(item)) is not None:
                lines = lines_of(item)
                if self._knows(mark.record, mark.stamp_us, len(lines)):
                    found.update(map(made_from, lines))
        for _, _, item in self._items.scan("orders"):
            order = _decode_order(item)
            found["orders"] += self._knows(*_mark(order.record), 1)
            found["order_lines"] += self._lines_of(order, line_count(item))
        for _, _, item in self._items.scan("stock_levels"):
            found["stock"] += self._knows(*_mark(_decode_own(item).record), 1)
        for item in self._rejected():
            # One without a mark is of an event that is stored, and at which the rules failed.
            if record := _decode_own(item).record:
                found["quarantine"] += self._knows(*_mark(record), 1)
        self._judge_unsettled()
        return self._held(found)

    def _rejected(self) -> Iterator[bytes]:
        """The items of the quarantine that records in the ledger's range can have put: their keys
        begin with when it was that the record was received.
        """
        after = f"{self._begin_us - LATE_US:020d}"
        for topic in TOPICS:
            for _, item in self._items.query("quarantine", topic, after=after):
                yield item

    def _knows(self, record: str, stamp_us: int, events: int) -> bool:
        """Whether an item is of a record in the ledger's range; one that should be and isn't is
        put down as unsettled.
        """
        self._newest_us = max(self._newest_us, stamp_us)
        if record in self._ledger.settled:
            return True
        if stamp_us >= self._begin_us:
            fresh = self._fresh(stamp_us)
            (self._being_taken if fresh else self._never_settled).add(record, events)
        return False

    def _lines_of(self, order: _OwnOrder, lines: int) -> int:
        """Those of an order's lines that came with records in the ledger's range."""
        befores = sorted((order.before or {}).items(), key=lambda one: one[1])
        afters = [count for _, count in befores[1:]] + [lines]
        return sum(
            after - before
            for (record, before), after in zip(befores, afters, strict=True)
            if record in self._ledger.settled
        )

    def _held(self, found: Counter[str]) -> dict[str, Held]:
        expected: Counter[str] = Counter()
        for (topic, _, outcome), units in self._ledger.cells.items():
            if outcome == STORED:
                expected[topic] += units
        held = {}
        for topic in sorted({*expected, *found}):
            held[topic] = Held(expected[topic], found[topic])
            if expected[topic] != found[topic]:
                self.differences.append(
                    f"tables: {expected[topic]:,} {topic} were stored, {found[topic]:,} are there"
                )
        return held

    def _judge_unsettled(self) -> None:
        """A record's row is written last."""
        if self._being_taken.events:
            self.on_the_way.append(f"{self._being_taken} are being taken")
        if self._never_settled.events:
            self.differences.append(
                f"ledger: {self._never_settled} are stored and were never settled: look for these"
                " records in the dead letters"
            )

    def _fresh(self, at_us: int) -> bool:
        return self._now_us - at_us < FRESH_US

    # --- bronze -------------------------------------------------------------------------------

    def _bronze(self) -> dict[str, Held]:
        landed = self._engine.landed()
        found = Lines()
        for topic in (*TOPICS, "quarantine"):
            seen = self._new_map()
            try:
                for line in landed.lines(topic, self._since):
                    # Firehose delivers at least once: the same line again is the same line.
                    if seen.put(line):
                        found.add(topic, line)
            except (DataDirError, msgspec.MsgspecError) as e:
                self.differences.append(f"bronze: {topic}: {e}")
        held: dict[str, Held] = {}
        for day in _days(self._since, self._today):
            for topic in TOPICS:
                self._compare_day(topic, day, found, held)
        return {topic: one for topic, one in held.items() if one.expected or one.found}

    def _compare_day(self, topic: str, day: str, found: Lines, held: dict[str, Held]) -> None:
        """The lines of a day with the ledger's."""
        counted = found.of(topic, day, judged(self._ledger.by_day.get(day, Counter()), topic))
        total = held.setdefault(topic, Held())
        total.expected += counted.expected
        total.found += counted.found
        if counted.adds_up:
            return
        missing = counted.expected - counted.found
        if missing > 0 and day == self._today.isoformat() and self._fresh(self._newest_us):
            self.on_the_way.append(f"bronze: {missing:,} {topic} of today are not in S3 yet")
        else:
            self.differences.append(f"bronze: {topic} of {day}: {counted}")

    # --- offers -------------------------------------------------------------------------------

    def _offers(self) -> Held:
        """Each offer is in the archive, which is written first."""
        kept_us = int(self._engine.settings.offers_ttl.total_seconds() * 1e6)
        archived = self._new_map()
        for one in self._engine.landed().offers():
            archived.put(one.offer_id, one.put_us)
        made = 0
        missing = 0
        for _, _, item in self._items.scan("offers"):
            made += 1
            missing += archived.pop(_decode_offer(item).offer_id) is None
        if missing:
            self.differences.append(f"archive: {missing:,} offers made are not in the archive")
        fresh = sum(self._fresh(put_us) for put_us in archived.values())
        # DynamoDB deletes what has expired within some days.
        lost = sum(FRESH_US <= self._now_us - put_us < kept_us for put_us in archived.values())
        if fresh:
            self.on_the_way.append(f"{fresh:,} offers are archived and being made")
        if lost:
            self.differences.append(f"archive: {lost:,} archived offers are not among the offers")
        return Held(len(archived) + made - missing, made)


def check_cloud(settings: Settings, since: date | None = None) -> CloudCheck:
    """Count all that arrived on `since` (UTC; by default a week ago) or later, everywhere. Safe
    while functions run. Raises ConfigError for a day whose events have expired, AwsError when AWS
    can't be asked.

    Reads every event, order, stock level and offer in the tables, whatever `since` is: their keys
    don't say when they came. Of the ledger, the quarantine and bronze it reads these days. On a
    large shop that takes time and costs what reading costs.
    """
    now_us = time.time_ns() // 1_000
    today = datetime.fromtimestamp(now_us / 1e6, UTC).date()
    oldest = today - settings.events_ttl + timedelta(days=1)
    since = since or today - timedelta(days=DAYS - 1)
    if since < oldest:
        raise ConfigError(f"--since {since}: wanted {oldest} or later; `events_ttl` keeps no more")
    return check_engine(open_aws_engine(settings).deployed(), since, now_us)


def check_engine(engine: "AwsEngine", since: date, now_us: int) -> CloudCheck:
    """The same for a deployment at hand, at a time."""
    with ExitStack() as files:
        return _Checking(engine, since, now_us, files).check()


def _days(since: date, until: date) -> Iterator[str]:
    while since <= until:
        yield since.isoformat()
        since += timedelta(days=1)


def _mark(record: str) -> tuple[str, int]:
    """The hash and the stamp in an item's mark."""
    return record[NUMBER_CHARS:], int(record[:NUMBER_CHARS] or 0)


def _midnight_us(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp()) * SECOND_US
