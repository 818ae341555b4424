"""What one micro-batch will write, and the counts that must add up."""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from shopstream.domain.failures import Limits
from shopstream.domain.shoppers import Timer
from shopstream.events import Alert, Offer, Rejection
from shopstream.ports import Batch, Tables

_encode = msgspec.json.Encoder(decimal_format="number").encode

ACCEPTED, DUPLICATE, QUARANTINED = "accepted", "duplicate", "quarantined"
ARCHIVED = "archived"
"""Topic under which the ledger counts offers in archive files."""
DERIVED = "derived"
"""Received from another event and not from a source: the order in a Segment message, say."""
STORED, EXPIRED, RESOLVED = "stored", "expired", "resolved"
FAILED = "failed"
"""Of timers, by rule: how often the code failed at one that was due."""


class TooMuch(Exception):
    """What arrived is made into more events than a micro-batch should hold."""


class ExpiryList(msgspec.Struct, array_like=True):
    """Keys (partition, sort) of items of one table that expire together, and what the ledger
    counts them as: topic -> units.
    """

    keys: list[tuple[str, str]]
    counts: dict[str, int]


encode_list = msgspec.msgpack.Encoder().encode
decode_list = msgspec.msgpack.Decoder(ExpiryList).decode


class FlowConfig(NamedTuple):
    """The settings that the flows depend on. Durations in microseconds."""

    shard: int
    shards: int
    limits: Limits
    session_gap_us: int
    events_ttl_us: int
    offers_ttl_us: int
    orders_ttl_us: int
    quarantine_ttl_us: int
    alerts_ttl_us: int
    archive_ttl_us: int
    order_alert_above: Decimal
    order_alert_above_by_currency: Mapping[str, Decimal]
    cached_events_max: int


class Ledger:
    """Cumulative counts of this shard: (topic, source, outcome) -> units.

    For each topic and source: received (the log counts it) + derived = accepted + duplicate +
    quarantined. Outcomes of quarantine carry their reason: `quarantined:price`. `stored` are the
    items that an earlier ledger wrote: (partition key, sort key, item).
    """

    def __init__(self, stored: Iterable[tuple[str, str, bytes]] = ()) -> None:
        self.cells: dict[tuple[str, str, str], int] = {}
        self._changed: set[tuple[str, str, str]] = set()
        for topic, sk, item in stored:
            source, outcome = sk.split("\x1f")
            self.cells[topic, source, outcome] = int(item)

    def count(self, topic: str, source: str, outcome: str, units: int = 1) -> None:
        cell = (topic, source, outcome)
        self.cells[cell] = self.cells.get(cell, 0) + units
        self._changed.add(cell)

    def write(self, batch: Batch) -> None:
        for topic, source, outcome in self._changed:
            count = self.cells[topic, source, outcome]
            batch.put("ledger", topic, f"{source}\x1f{outcome}", str(count).encode())
        self._changed.clear()

    def total(self, outcome: str) -> int:
        """Units over all topics and sources, reasons of quarantine added up."""
        return sum(
            units for (_, _, found), units in self.cells.items() if found.split(":")[0] == outcome
        )


class Feed:
    """A sequence of items that another stage takes away, written with the effects they tell of."""

    def __init__(self, tables: Tables, table: str, shard: int) -> None:
        self._table = table
        self._pk = str(shard)
        last = next(tables.query("state", table), None)
        self.next = int(last[1]) if last else 0

    def put(self, batch: Batch, item: bytes) -> str:
        """Append `item`; returns its sort key."""
        sk = f"{self.next:020d}"
        batch.put(self._table, self._pk, sk, item)
        self.next += 1
        batch.put("state", self._table, "", str(self.next).encode())
        return sk


class Work:
    """One micro-batch: all that it changes. `key` orders its items after those before it."""

    def __init__(
        self,
        tables: Tables,
        ledger: Ledger,
        config: FlowConfig,
        key: str,
        batch: Batch | None = None,
    ) -> None:
        self._tables = tables
        self._config = config
        self.batch = tables.batch() if batch is None else batch
        self.put = self.batch.put
        self.delete = self.batch.delete
        self.ledger = ledger
        self.count = ledger.count
        self.key = key
        self.now_us = 0
        self.made_bytes_max = math.inf
        self._made_bytes = 0
        self.offers: dict[str, Offer] = {}
        self._made: list[tuple[str, str]] = []
        self._to_archive: list[bytes] = []
        self.alerts: dict[str, Alert] = {}
        self.files_gone: list[str] = []
        self.failed: list[tuple[Timer, Exception]] = []
        self._rejected = 0
        self._expiring: dict[tuple[str, int], list[tuple[str, str]]] = {}
        self._stored: dict[tuple[str, int], dict[str, int]] = {}

    def make(self, size: int) -> None:
        """Note that an event of so many bytes was made of a message. Raises TooMuch."""
        self._made_bytes += size
        if self._made_bytes > self.made_bytes_max:
            raise TooMuch

    def expire(self, table: str, ttl_us: int, pk: str, sk: str) -> None:
        """Forget an item `ttl_us` after this micro-batch."""
        self._expiring.setdefault((table, ttl_us), []).append((pk, sk))

    def expire_all(self, table: str, ttl_us: int, sk: str, pks: list[str]) -> None:
        """The same for the items at `sk` of many partitions."""
        if pks:
            self._expiring.setdefault((table, ttl_us), []).extend([(pk, sk) for pk in pks])

    def stored(self, table: str, ttl_us: int, topic: str, units: int = 1) -> None:
        """Count items of `topic` put into `table`: `check` compares them with what is there."""
        self.count(topic, "", STORED, units)
        counts = self._stored.setdefault((table, ttl_us), {})
        counts[topic] = counts.get(topic, 0) + units

    def offer(self, offer: Offer) -> None:
        """Record an offer made now, or an earlier one that has become moot."""
        if offer.moot:
            self.count("offers", offer.rule, "moot")
        else:
            self._made.append((offer.user_id, offer.offer_id))
            # As it was made: a purchase that makes it moot may come in this micro-batch or later.
            self._to_archive.append(_encode(offer))
            outcome = "held_out" if offer.held_out else "made"
            outcome = f"historical_{outcome}" if offer.historical else outcome
            self.count("offers", offer.rule, outcome)
        self.offers[offer.offer_id] = offer

    def alert(self, alert: Alert) -> None:
        """Raise an alert unless one with this id was raised before."""
        known = alert.alert_id in self.alerts or self._tables.get("alerts", alert.alert_id)
        if not known:
            self.alerts[alert.alert_id] = alert
            outcome = "historical_raised" if alert.historical else "raised"
            self.count("alerts", alert.kind, outcome)

    def fail(self, timer: Timer, error: Exception) -> None:
        """Note that the code failed at a timer."""
        self.failed.append((timer, error))
        self.count("timers", timer.rule, FAILED)

    def reject(self, rejection: Rejection, source: str, **facts: Any) -> None:
        """Put an event into the quarantine, with all that a replay needs."""
        ttl_us = self._config.quarantine_ttl_us
        sk = f"{self.key}-{self._rejected:06d}"
        self._rejected += 1
        record = QuarantineRecord(
            id=f"{self._config.shard}-{sk}",
            rejection=rejection,
            source=source,
            at_us=self.now_us,
            **facts,
        )
        self.put("quarantine", rejection.topic, sk, _encode(record))
        self.expire("quarantine", ttl_us, rejection.topic, sk)
        self.stored("quarantine", ttl_us, "quarantine")
        outcome = f"{QUARANTINED}:{rejection.reason}"
        self.count(rejection.topic, source, outcome, rejection.units)

    def finish(self, alert_feed: Feed, archive_feed: Feed) -> None:
        """Write what was gathered; after it the batch only lacks the checkpoint."""
        config = self._config
        for offer in self.offers.values():
            self.put("offers", offer.user_id, offer.offer_id, _encode(offer))
        if self._made:
            self._expiring.setdefault(("offers", config.offers_ttl_us), []).extend(self._made)
            self.stored("offers", config.offers_ttl_us, "offers", len(self._made))
            archive_feed.put(self.batch, b"\n".join(self._to_archive))
        for alert in self.alerts.values():
            sk = alert_feed.put(self.batch, _encode(alert))
            self.put("alerts", alert.alert_id, "", sk.encode())
            self.expire("alerts", config.alerts_ttl_us, alert.alert_id, "")
            self.expire("alert_feed", config.alerts_ttl_us, str(config.shard), sk)
        for (table, ttl_us), keys in self._expiring.items():
            counts = self._stored.get((table, ttl_us), {})
            due = f"{max(self.now_us + ttl_us, 0):020d}-{self.key}"
            self.put("expiry", table, due, encode_list(ExpiryList(keys, counts)))
        self.ledger.write(self.batch)


class QuarantineRecord(msgspec.Struct, gc=False, omit_defaults=True, kw_only=True):
    """A rejected event as it is kept: why, from where, and how it came, for the replay."""

    id: str
    rejection: Rejection
    source: str
    at_us: int
    received_us: int = 0
    dialect: str = "shopstream"
    context: bytes = b""
    identity: str = ""
    origin: str = ""
    on_bad_line: str = "reject_order"
    historical: bool = False
    resolved_us: int = 0
