"""Take one record, a sender's batch of events of one user or product, from a queue or stream that
may give it twice.

    take_record ─▶ deliver its lines (bronze) and alerts ─▶ settle_record

A process may die between any two writes. Whoever takes the record again decides as the first did,
writes what is missing, and returns the same lines and alerts: see
docs/decisions/0011-at-least-once-flows.md.
"""

from collections.abc import Callable, Iterator
from zlib import crc32

import msgspec
from msgspec import Struct

from shopstream.domain.landing import arrival_hour, land
from shopstream.domain.offers import RuleSet
from shopstream.domain.validation import units_of
from shopstream.errors import ShopstreamError
from shopstream.events import Alert, Entry
from shopstream.flows.clicks import Clicks
from shopstream.flows.entries import Entries, poison, singly
from shopstream.flows.history import Mark, first_number, mark_of, record_hash
from shopstream.flows.people import People
from shopstream.flows.taken import TakenTables, undisturbed
from shopstream.flows.timers import Timers
from shopstream.flows.work import FlowConfig, Ledger, Work
from shopstream.ports import Items, Lake

RECEIVED = "received"
LEDGER_BUCKETS = 8
"""Parts of the ledger's rows of one day, so that no part of its table is written by all."""
_NO_RULES = RuleSet(())
_SEPARATOR = "\x1f"
_NOT_POISON = (ShopstreamError, OSError, MemoryError)
"""What is the machine's fault, not the event's."""

_decode_counts = msgspec.json.Decoder(dict[str, int]).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Recorded(Struct):
    """What a record came to. `counts` are its cells of the ledger, "topic\\x1fsource\\x1foutcome";
    `lines` its lines of bronze by topic and `alerts` those that it raised: both are to be
    delivered by whoever took it, before it is settled. Of one that was settled before (`repeated`)
    there is nothing to deliver. `stamp_us` is the position of its first event in bronze, `day` the
    stamp's ('YYYY-MM-DD'), under which the ledger has it.
    """

    record_id: str
    stamp_us: int
    repeated: bool
    counts: dict[str, int]
    lines: dict[str, list[bytes]]
    alerts: list[Alert]
    day: str


class _NoBudget:
    def take(self, rule: str, day: int, limit: int) -> bool:  # noqa: ARG002  # a `Budget`
        return False


def take_record(
    entry: Entry,
    record_id: str,
    now_us: int,
    items: Items,
    lake: Lake,
    config: FlowConfig,
    *,
    decided: Callable[[], None] = lambda: None,
) -> Recorded:
    """Store what `entry` tells and is new: events of its users, orders, stock levels, rejections,
    alerts. An event that makes the code fail is quarantined as poison and its neighbours are not.
    `decided` is called when it is known what to write, before any of it is written.

    May be called again with the same record at any time. Records of one user, customer or product
    must not be taken out of order, nor at once if their events are to be seen in order.
    Raises what the tables and the lake raise; then, or after a crash, it must be called again.
    """
    taking = _Taking(record_id, now_us, items, lake, config, decided)
    try:
        return taking.whole(entry)
    except _NOT_POISON:
        raise
    except Exception:  # noqa: BLE001  # which event failed is found out one by one
        return taking.singly(entry)


def give_up_record(
    entry: Entry,
    record_id: str,
    now_us: int,
    items: Items,
    lake: Lake,
    config: FlowConfig,
    why: str,
) -> Recorded:
    """Quarantine all events of a record as poison, without looking at what they say: one at which
    processes end before anything of it is written. Guarantees are those of `take_record`, instead
    of which it must be called from now on.
    """
    taking = _Taking(record_id, now_us, items, lake, config)
    taking.unread = True
    return taking.singly(entry, why)


def settle_record(recorded: Recorded, items: Items) -> None:
    """Write the record's row of the ledger: all that it came to is stored and delivered."""
    items.put_new(*_ledger_key(recorded.day, recorded.record_id), _encode(recorded.counts))


def ledger_rows(items: Items, day: str) -> Iterator[tuple[str, dict[str, int]]]:
    """The records that arrived on a day ('YYYY-MM-DD') and were settled: (record id, counts)."""
    for bucket in range(LEDGER_BUCKETS):
        for record_id, item in items.query("ledger", f"{day}#{bucket}"):
            yield record_id, _decode_counts(item)


def write_counts(items: Items, day: str, row: str, counts: dict[str, int]) -> None:
    """Write a row of the ledger that is of no record."""
    items.put_new(*_ledger_key(day, row), _encode(counts))


def cell(topic: str, source: str, outcome: str) -> str:
    return _SEPARATOR.join((topic, source, outcome))


def history_watermark(items: Items) -> int:
    """How far event time has come in history, microseconds; 0 before there was any."""
    return max((int(item) for _, item in items.query("state", "history_watermark")), default=0)


def _ledger_key(day: str, record_id: str) -> tuple[str, str, str]:
    return "ledger", f"{day}#{crc32(record_id.encode()) % LEDGER_BUCKETS}", record_id


class _Taking:
    """One record on its way into the tables."""

    def __init__(
        self,
        record_id: str,
        now_us: int,
        items: Items,
        lake: Lake,
        config: FlowConfig,
        decided: Callable[[], None] = lambda: None,
    ) -> None:
        self.unread = False
        """Whether nothing may look at what the events say."""
        self._decided = decided
        self._id = record_id
        self._now_us = now_us
        self._items = items
        self._lake = lake
        self._config = config

    def whole(self, entry: Entry) -> Recorded:
        return self._received(entry, self._part(entry))

    def singly(self, entry: Entry, why: str = "") -> Recorded:
        """Each event by itself, as a part of the record; given up, given why."""
        parts = []
        for n, one in enumerate(singly([entry]), 1):
            try:
                recorded = self._part(one, n, why)
            except _NOT_POISON:
                raise
            except Exception as e:  # noqa: BLE001  # poison: whatever it raises
                recorded = self._part(one, n, f"{type(e).__name__}: {e}")
            if recorded.repeated:
                return recorded
            parts.append(recorded)
        return self._received(entry, _together(parts))

    def _received(self, entry: Entry, recorded: Recorded) -> Recorded:
        if entry.units and not recorded.repeated:
            recorded.counts[cell(entry.topic, entry.source, RECEIVED)] = entry.units
        return recorded

    def _part(self, entry: Entry, part: int = 0, why: str = "") -> Recorded:
        """Take the entry, or give it up, given why."""
        return undisturbed(lambda: self._take(entry, part, why))

    def _take(self, entry: Entry, part: int, why: str) -> Recorded:
        record = record_hash(self._id, part)
        first = first_number(self._now_us, self._config.events_ttl_us)
        tables = TakenTables(self._items, self._lake, record, first)
        changes = tables.batch()
        key = f"{entry.received_us:020d}-{record}"
        work = Work(tables, Ledger(), self._config, key, changes)
        work.now_us = self._now_us
        watermark_us = self._decide(entry, why, tables, work)
        stamp_us, again = _stamp(entry, tables)
        day = arrival_hour(stamp_us)[:10]
        # Whether it was settled is only asked where it may have been: one read less for most.
        if again or not any(place.table == "browsing_events" for place in changes.items):
            settled = self._items.get(*_ledger_key(day, self._id))
            if settled is not None:
                return Recorded(self._id, stamp_us, True, _decode_counts(settled), {}, [], day)
        for alert in work.alerts.values():
            work.put("alerts", alert.alert_id, "", _encode(alert))
        lines = self._lines(entry, part, why, stamp_us)
        self._decided()
        tables.write_as(Mark(stamp_us, len(entry.events), record), changes, key)
        if watermark_us:
            self._raise_watermark(watermark_us)
        counts = {cell(*place): units for place, units in work.ledger.cells.items() if units}
        return Recorded(self._id, stamp_us, False, counts, lines, [*work.alerts.values()], day)

    def _lines(self, entry: Entry, part: int, why: str, stamp_us: int) -> dict[str, list[bytes]]:
        """What lands of the entry."""
        if self.unread:
            units = units_of(entry.topic, entry.events[0], entry.on_bad_line)
            refused = _encode(poison(entry.topic, entry.events[0], why, units))
            entry = msgspec.structs.replace(entry, dialect="rejected", events=[refused])
            stamp_us += part - 1  # equal events of a record are not the same line
        landing = land(entry, stamp_us, self._config.limits)
        return {topic: lines.each() for topic, lines in landing.lines.items()}

    def _decide(self, entry: Entry, why: str, tables: TakenTables, work: Work) -> int:
        """What the entry comes to, into `work`; the watermark of history that it tells of."""
        config = self._config
        people = People(tables, _NO_RULES, config.cached_events_max)
        clicks = Clicks(tables, people, Timers(()), _NO_RULES, config)
        entries = Entries(tables, self._lake, clicks, config)
        if why:
            entries.give_up(entry, why, work)
            return 0
        entries.take(entry, work)
        _, history_us = clicks.apply(work, _NoBudget())
        clicks.finish(work)
        return (entry.watermark_us or history_us) if entry.historical else 0

    def _raise_watermark(self, watermark_us: int) -> None:
        bucket = str(crc32(self._id.encode()) % LEDGER_BUCKETS)
        place = ("state", "history_watermark", bucket)
        new = b"%d" % watermark_us
        was = self._items.get(*place)
        while was is None or int(was) < watermark_us:
            if was is None:
                was = self._items.put_new(*place, new)
                if was is None:
                    return
            elif self._items.swap(*place, was, new):
                return
            else:
                was = self._items.get(*place)


def _stamp(entry: Entry, tables: TakenTables) -> tuple[int, bool]:
    """The position of the entry's first event in bronze, after all that its users' last records
    took; and whether this record was taken before, which then had decided it.
    """
    stamp_us = entry.received_us
    for known in tables.histories.values():
        if known.own is not None and (mark := mark_of(known.own.item)):
            return mark.stamp_us, True
        if known.chunks and (mark := mark_of(known.chunks[-1].item)):
            stamp_us = max(stamp_us, mark.stamp_us + mark.events)
    return stamp_us, False


def _together(parts: list[Recorded]) -> Recorded:
    whole = parts[0]
    for part in parts[1:]:
        for name, units in part.counts.items():
            whole.counts[name] = whole.counts.get(name, 0) + units
        for topic, lines in part.lines.items():
            whole.lines.setdefault(topic, []).extend(lines)
        whole.alerts += part.alerts
    return whole
