"""A lake built by the real builder of what the real lander landed of a real log."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import zstandard
from tests.flows.pipeline import NOW_US

from shopstream import stages
from shopstream.domain.landing import NewFile, Range
from shopstream.engine import open_engine
from shopstream.events import Entry
from shopstream.lake.build import build
from shopstream.lake.current import Current, read_current, view_sql
from shopstream.lake.model import load_models
from shopstream.lake.plan import Wanted
from shopstream.lake.report import BuildReport
from shopstream.local.landed import Landed
from shopstream.settings import Settings

Event = dict[str, Any]
ARRIVAL = ("position", "n", "received_at")
"""Columns that say how a row arrived, and not what it says."""


def entry(topic: str, *events: Event, **facts: Any) -> Entry:
    """Events that arrive together at NOW_US."""
    raws = [json.dumps(event).encode() for event in events]
    known: dict[str, Any] = {"source": "http", "received_us": NOW_US, "units": len(raws)}
    return Entry(topic=topic, events=raws, **known | facts)


class RealLake:
    """The lake in a data directory that nothing runs on."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.settings = Settings(data_dir=data_dir, **settings)
        self.engine = open_engine(self.settings)
        self.folder = data_dir / "lake"

    # --- what comes in ----------------------------------------------------------------------

    def append(self, *entries: Entry) -> None:
        """Have each arrive as a message of its own."""
        log = self.engine.write_log()
        try:
            for each in entries:
                log.append([each])
        finally:
            log.close()

    def arrive(self, topic: str, *events: Event, **facts: Any) -> None:
        """Events of one message, landed at once."""
        self.append(entry(topic, *events, **facts))
        self.land()

    def land(self) -> None:
        stages.land(self.settings)

    def put(self, events: Iterable[tuple[int, str, Event]]) -> None:
        """Land canonical events with positions of one's own choice, as one range of the lander's;
        offers go to the archive.
        """
        events = list(events)
        with self.engine.write_landed() as landed:
            first = landed.position()
            whole = Range(first, first + 1)
            landed.intend([whole])
            landed.commit(whole, list(self._put(events, first)), [])
        self._put_offers([event for _, topic, event in events if topic == "offers"], first)

    def _put(self, events: list[tuple[int, str, Event]], first: int) -> Iterator[NewFile]:
        for topic in sorted({topic for _, topic, _ in events} - {"offers"}):
            mine = [(at, event) for at, of, event in events if of == topic]
            lines = [
                {"position": at, "n": 0, "received_at": "2025-11-21T10:00:00Z", "source": "http"}
                | {"historical": False}
                | event
                for at, event in mine
            ]
            body = zstandard.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
            name = f"bronze/{topic}/dt=2025-11-21/hour=10/{first:020d}-{first:020d}.json.zst"
            self.engine.lake().put(name, body)
            days = sorted({event["timestamp"][:10] for _, event in mine})
            digest = sha256(body).hexdigest()
            yield NewFile(name, topic, len(mine), len(body), digest, days, "2025-11-21T10")

    def _put_offers(self, offers: list[Event], number: int) -> None:
        for day in sorted({offer["made_at"][:10] for offer in offers}):
            lines = [json.dumps(o) + "\n" for o in offers if o["made_at"].startswith(day)]
            name = f"archive/offers/dt={day}/0-{number:020d}-{number:020d}.json"
            self.engine.lake().put(name, "".join(lines).encode())

    def landed(self) -> Landed:
        return self.engine.read_landed()

    # --- builds -----------------------------------------------------------------------------

    def build(self, **wanted: Any) -> BuildReport:
        """Build, which must not fail."""
        report = build(self.settings, Wanted(**wanted))
        assert report.failed == [], report.tables
        return report

    # --- what readers see -------------------------------------------------------------------

    @property
    def current(self) -> Current:
        return read_current(self.settings.data_dir)

    def snapshots(self) -> dict[str, int]:
        return {name: now.snapshot for name, now in self.current.tables.items()}

    def files(self, table: str) -> dict[str, list[str]]:
        """A table's data files by day ('' for one without days)."""
        found: dict[str, list[str]] = {}
        for name in self.current.tables[table].files:
            days = [part[4:] for part in Path(name).parts if part.startswith("day=")]
            found.setdefault(days[0] if days else "", []).append(name)
        return found

    def rows(self, table: str, *without: str) -> list[dict[str, Any]]:
        """What readers read of a table, in an order of its own."""
        model, now = load_models()[table], self.current.tables[table]
        paths = [str((self.folder / name).resolve()) for name in now.files]
        with duckdb.connect(config={"threads": 1}) as con:
            con.execute("SET TimeZone = 'UTC'")
            cursor = con.execute(view_sql(model, paths))
            names = [column[0] for column in cursor.description or ()]
            found = [
                {n: v for n, v in zip(names, row, strict=True) if n not in without}
                for row in cursor.fetchall()
            ]
        assert len(found) == now.rows, f"{table}: {len(found)} rows, {now.rows} said"
        return sorted(found, key=repr)

    def all_rows(self, *without: str) -> dict[str, list[dict[str, Any]]]:
        return {name: self.rows(name, *without) for name in sorted(load_models())}


def instant(day: int, minute: int) -> str:
    """A time in November 2025; the day's minute may be of any day."""
    at = datetime(2025, 11, day, minute // 60 % 24, minute % 60, tzinfo=UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def click(event_id: str, day: int, user_id: str = "u", minute: int = 600, **more: Any) -> Event:
    known = {"event_id": event_id, "user_id": user_id, "event_type": "view"}
    return known | {"timestamp": instant(day, minute)} | more


def order(order_id: str, day: int, status: str = "paid", minute: int = 600, **more: Any) -> Event:
    line = {"product_id": "p", "quantity": 2, "unit_price": "1.5"}
    known = {"order_id": order_id, "status": status, "currency": "EUR", "lines": [line]}
    return known | {"timestamp": instant(day, minute)} | more


def stock(product_id: str, on_hand: int, day: int, minute: int = 600) -> Event:
    known = {"product_id": product_id, "stock_on_hand": on_hand, "reorder_level": 5}
    return known | {"event_id": f"{product_id}-{day}-{minute}", "timestamp": instant(day, minute)}


def cart(user_id: str, product_id: str, day: int, minute: int = 600, **more: Any) -> Event:
    known = {"user_id": user_id, "product_id": product_id, "quantity": 1, "cart_id": user_id}
    known |= {"event_id": f"{user_id}-{product_id}-{day}-{minute}"}
    return known | {"timestamp": instant(day, minute)} | more


def offer(offer_id: str, day: int, minute: int = 600, **more: Any) -> Event:
    known = {"offer_id": offer_id, "rule": "r", "user_id": "u", "product_id": "p"}
    known |= {"made_at": instant(day, minute), "expires_at": instant(day + 1, minute)}
    known |= {"version": "1", "key": "p", "trigger": "view", "reason": "viewed"}
    return known | {"delivered": True} | more
