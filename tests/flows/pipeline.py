"""A whole pipeline in one process, on a real log and real tables, with a clock that a test drives.

Rows are appended to the log and processed from it, so that `shopstream check` can be asked at any
time whether all adds up.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec

from shopstream.domain.rules import parse_rules
from shopstream.engine import open_engine
from shopstream.events import Alert, Click, Entry, Offer, Order, Stock
from shopstream.flow_settings import flow_config
from shopstream.flows.people import stored_clicks
from shopstream.flows.processor import Processor
from shopstream.flows.resharding import ensure_at_rest, reshard
from shopstream.flows.tries import Tries
from shopstream.flows.work import QuarantineRecord
from shopstream.ledger import CheckReport, check
from shopstream.local.tables import RocksTables
from shopstream.rules_file import default_rules_text
from shopstream.settings import Settings

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
NOW_US = 1_763_719_200 * SECOND_US  # 2025-11-21T10:00:00Z


def at(minutes: float = 0) -> str:
    """A time so many minutes after NOW_US."""
    time = datetime.fromtimestamp(NOW_US / 1e6, UTC) + timedelta(minutes=minutes)
    return time.isoformat().replace("+00:00", "Z")


def click(user_id: str = "u1", minutes: float = 0, **fields: Any) -> dict[str, Any]:
    return {"user_id": user_id, "event_type": "view", "timestamp": at(minutes)} | fields


def order(order_id: str = "o1", *prices: Any, minutes: float = 0, **fields: Any) -> dict[str, Any]:
    lines = [
        {"product_id": f"p{n}", "quantity": 1, "unit_price": price}
        for n, price in enumerate(prices or (10,), 1)
    ]
    known = {"order_id": order_id, "lines": lines, "currency": "EUR", "status": "placed"}
    return known | {"timestamp": at(minutes)} | fields


def stock(product_id: str, on_hand: int, minutes: float = 0, **fields: Any) -> dict[str, Any]:
    known = {"product_id": product_id, "stock_on_hand": on_hand, "reorder_level": 5}
    return known | {"timestamp": at(minutes)} | fields


def cart_line(user_id: str, product_id: str, quantity: int, minutes: float = 0) -> dict[str, Any]:
    known = {"user_id": user_id, "product_id": product_id, "quantity": quantity}
    return known | {"timestamp": at(minutes)}


def entry(*events: dict[str, Any] | bytes, topic: str = "clicks", **facts: Any) -> Entry:
    """Events as they would have arrived together at NOW_US over HTTP."""
    raws = [e if isinstance(e, bytes) else json.dumps(e).encode() for e in events]
    known: dict[str, Any] = {"source": "http", "received_us": NOW_US, "units": len(raws)}
    return Entry(topic=topic, events=raws, **known | facts)


class Pipeline:
    """`give` and `take_all` are one arrival, processed at once; `append` and `process` apart."""

    def __init__(self, folder: Path, *, rules: str | None = None, **settings: Any) -> None:
        self.settings = Settings(data_dir=folder, **settings)
        self.engine = open_engine(self.settings)
        self.log = self.engine.write_log()
        self.rules = parse_rules(default_rules_text() if rules is None else rules, "rules.toml")
        self.now_us = NOW_US
        self.tables: list[RocksTables] = []
        self.processors: list[Processor] = []
        self.notes: dict[int, bytes] = {}
        self.start()

    def start(self) -> None:
        self.tables = [self.engine.write_tables(n) for n in range(self.engine.shards)]
        self.processors = [
            Processor(
                tables,
                self.engine.lake(),
                self.rules,
                flow_config(self.settings, shard, self.engine.shards),
                Tries(self.notes.get(shard, b""), partial(self.notes.__setitem__, shard)),
            )
            for shard, tables in enumerate(self.tables)
        ]
        for processor in self.processors:
            processor.begin()

    def restart(self) -> None:
        """As after a kill: nothing is known but what the tables say."""
        for tables in self.tables:
            tables.close()
        self.start()

    def reshard(self, shards: int) -> None:
        """Go on with another number of shards, as `shopstream reshard` does it."""
        self.idle(last=True)
        ensure_at_rest(self.tables, self.log.end())
        wanted = self.engine.prepare(shards)
        new = [wanted.make_tables(n) for n in range(shards)]
        assert reshard(self.tables, new, lambda _: None).uncounted == 0
        wanted.switch()
        for tables in (*self.tables, *new):
            tables.close()
        self.engine.forget_other_tables()
        self.log.close()
        self.settings = replace(self.settings, shards=shards)
        self.engine = open_engine(self.settings)
        self.log = self.engine.write_log()
        self.notes = {}
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for tables in self.tables:
            tables.close()
        self.log.close()

    def append(self, *entries: Entry) -> None:
        """One row of the log."""
        self.log.append(entries)

    def process(self, *, events_max: int = 10_000) -> bool:
        """One micro-batch of each shard; whether there was any."""
        busy = False
        for shard, processor in enumerate(self.processors):
            position = processor.checkpoint.position
            rows = self.log.read(position, shard=shard, events_max=events_max)
            processor.process(rows, self.now_us)
            busy = busy or bool(rows)
        return busy

    def process_all(self) -> None:
        while self.process():
            pass

    def give(self, *events: dict[str, Any] | bytes, **facts: Any) -> None:
        self.take_all(entry(*events, **facts))

    def take_all(self, *entries: Entry) -> None:
        self.append(*entries)
        self.process_all()

    def idle(self, *, minutes: float = 0, last: bool = False) -> None:
        """Let the clock move on and the processors do what there is to do in a silence."""
        self.now_us += int(minutes * MINUTE_US)
        for processor in self.processors:
            while processor.idle(self.now_us, last=last):
                pass

    def items(self, table: str) -> list[tuple[str, str, bytes]]:
        return [item for tables in self.tables for item in tables.scan(table)]

    def decoded(self, table: str, kind: Any) -> list[Any]:
        return [msgspec.json.decode(item, type=kind) for _, _, item in self.items(table)]

    def offers(self, rule: str = "") -> list[Offer]:
        found: list[Offer] = self.decoded("offers", Offer)
        return sorted(
            (o for o in found if not rule or o.rule == rule), key=lambda o: (o.made_at, o.offer_id)
        )

    def orders(self) -> dict[tuple[str, str], Order]:
        return {
            (pk, sk): msgspec.json.decode(item, type=Order) for pk, sk, item in self.items("orders")
        }

    def alerts(self) -> list[Alert]:
        return sorted(self.decoded("alert_feed", Alert), key=lambda a: (a.kind, a.alert_id))

    def products(self) -> dict[str, Stock]:
        return {s.product_id: s for s in self.decoded("products", Stock)}

    def rejections(self) -> list[QuarantineRecord]:
        found: list[QuarantineRecord] = self.decoded("quarantine", QuarantineRecord)
        return found

    def reasons(self) -> list[str]:
        return sorted(record.rejection.reason for record in self.rejections())

    def clicks_of(self, user_id: str) -> list[Click]:
        return [c for tables in self.tables for _, c in stored_clicks(tables, user_id)]

    def archived(self) -> set[bytes]:
        """Offers in archive files or in the feed that makes the next one."""
        lake = self.engine.lake()
        files = [lake.get(name) for name in lake.names("archive/offers")]
        feed = [item for _, _, item in self.items("archive_feed")]
        return {line for body in (*files, *feed) for line in body.splitlines()}

    def counts(self, topic: str = "clicks", source: str = "http") -> dict[str, int]:
        """The ledger's cells of one topic and source, over all shards."""
        found: dict[str, int] = {}
        for processor in self.processors:
            for (t, s, outcome), units in processor.ledger.cells.items():
                if (t, s) == (topic, source) and units:
                    found[outcome] = found.get(outcome, 0) + units
        return found

    def check(self) -> CheckReport:
        return check(self.settings)

    def snapshot(self) -> dict[str, Any]:
        """All that must not depend on how rows fell into micro-batches or on restarts."""
        plain = ("offers", "orders", "stock_levels", "products", "timers", "budgets", "users")
        found: dict[str, Any] = {name: sorted(self.items(name)) for name in plain}
        # How many files the archive has depends on when they were rolled.
        found["ledger"] = sorted(cell for cell in self.items("ledger") if cell[0] != "archived")
        users = sorted({pk for pk, _, _ in self.items("browsing_events")})
        found["browsing_events"] = {
            user: [
                line
                for tables in self.tables
                for _, chunk in tables.query("browsing_events", user)
                for line in chunk.split(b"\n")
            ]
            for user in users
        }
        found["quarantine"] = sorted(
            (pk, msgspec.json.encode(record | {"id": "", "at_us": 0}))
            for (pk, _, item) in self.items("quarantine")
            for record in [msgspec.json.decode(item)]
        )
        found["alerts"] = [item for _, _, item in sorted(self.items("alert_feed"))]
        found["archived"] = sorted(self.archived())
        return found


Opener = Callable[..., Pipeline]
