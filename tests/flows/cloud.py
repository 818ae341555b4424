"""Records taken one by one, and offers made of them, as by many short-lived processes that share
tables; each may be killed before any of its writes, and is then started again on the same record.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec
from tests.flows.pipeline import NOW_US

from shopstream.domain.partition import split_by_key
from shopstream.domain.rules import parse_rules
from shopstream.domain.waiting import read_waiting
from shopstream.events import Alert, Entry, Offer, Order, Stock
from shopstream.flow_settings import flow_config
from shopstream.flows.history import lines_of
from shopstream.flows.offering import Offered, fire_timers, make_offers
from shopstream.flows.records import (
    Recorded,
    history_watermark,
    ledger_rows,
    settle_record,
    take_record,
)
from shopstream.flows.taken import unmarked
from shopstream.flows.work import QuarantineRecord
from shopstream.local.lake import FolderLake
from shopstream.local.tables import RocksTables
from shopstream.ports import Batch, Items, Lake
from shopstream.rules_file import default_rules_text
from shopstream.settings import Settings

T = TypeVar("T")


class Killed(BaseException):
    """Ends a test's process before one of its writes."""


class Mortal:
    """What a process writes through; it dies before its write number `deadly`, if that comes."""

    def __init__(self) -> None:
        self.deadly: int | None = None

    def write(self) -> None:
        if self.deadly is not None:
            if self.deadly == 0:
                raise Killed
            self.deadly -= 1


class MortalTables(RocksTables):
    """Tables that are shared: what is put into the users' history is told to `inserted`."""

    def __init__(self, folder: Path, life: Mortal) -> None:
        super().__init__(folder)
        self.life = life
        self.inserted: list[tuple[str, str, bytes]] = []
        self.reads = 0

    def get(self, table: str, pk: str, sk: str = "") -> bytes | None:
        self.reads += 1
        return super().get(table, pk, sk)

    def write(self, batch: Batch) -> None:
        self.life.write()
        super().write(batch)

    def put_new(self, table: str, pk: str, sk: str, item: bytes) -> bytes | None:
        # One that finds something writes nothing, but may be where a process dies all the same.
        if super().get(table, pk, sk) is not None:
            self.life.write()
        there = super().put_new(table, pk, sk, item)
        if there is None and table == "browsing_events":
            self.inserted.append((pk, sk, item))
        return there


class MortalLake(FolderLake):
    def __init__(self, root: Path, life: Mortal) -> None:
        super().__init__(root)
        self.life = life

    def put(self, name: str, body: bytes) -> None:
        self.life.write()
        super().put(name, body)


class Spending:
    """A budget that all processes share."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, int], int] = {}

    def take(self, rule: str, day: int, limit: int) -> bool:
        spent = self.spent.get((rule, day), 0)
        self.spent[rule, day] = spent + (spent < limit)
        return spent < limit


class Cloud:
    """`give` is one arrival, taken at once record by record; `deaths` says how many writes each
    process gets before it is killed, one process after the other: those after them live.
    """

    def __init__(self, folder: Path, *, rules: str | None = None, **settings: Any) -> None:
        self.life = Mortal()
        self.tables = MortalTables(folder / "tables", self.life)
        self.lake = MortalLake(folder / "lake", self.life)
        self.items: Items = self.tables
        self.any_lake: Lake = self.lake
        self.rules = parse_rules(default_rules_text() if rules is None else rules, "rules.toml")
        self.config = flow_config(Settings(data_dir=folder, **settings), 0, 1)
        self.budget = Spending()
        self.now_us = NOW_US
        self.deaths: Iterator[int] | None = None
        self.taken = 0
        self.bronze: dict[tuple[str, str], list[bytes]] = {}
        self.delivered: dict[str, Alert] = {}
        self.counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.tables.close()

    def until_done(self, process: Callable[[], T]) -> T:
        """Start a process again and again until one does not die."""
        while True:
            self.life.deadly = None if self.deaths is None else next(self.deaths, None)
            try:
                return process()
            except Killed:
                continue
            finally:
                self.life.deadly = None

    def each_death(self, process: Callable[[], T]) -> T:
        """Have a process die before its first write, the next before its second, and so on until
        one gets through; then do it all once more.
        """
        died = 0
        while True:
            self.life.deadly = died
            try:
                process()
            except Killed:
                died += 1
                continue
            finally:
                self.life.deadly = None
            return process()

    # --- arrivals -----------------------------------------------------------------------------

    def give(self, entry: Entry) -> None:
        for _, part in split_by_key(entry):
            self.take(part)

    def take(self, entry: Entry, record_id: str = "") -> Recorded:
        """One record: taken, delivered, settled; then the rules see what it added."""
        self.taken += 1
        record_id = record_id or f"record {self.taken}"
        recorded = self.until_done(lambda: self.ingest(entry, record_id))
        self.look()
        return recorded

    def ingest(self, entry: Entry, record_id: str) -> Recorded:
        recorded = take_record(
            entry, record_id, self.now_us, self.items, self.any_lake, self.config
        )
        self.deliver(recorded)
        settle_record(recorded, self.items)
        return recorded

    def deliver(self, recorded: Recorded) -> None:
        """Lines and alerts, which come again when a process died after delivering them."""
        for topic, lines in recorded.lines.items():
            self.life.write()
            place = (recorded.record_id, topic)
            assert self.bronze.setdefault(place, lines) == lines, "the same lines when they repeat"
        for alert in recorded.alerts:
            self.life.write()
            known = self.delivered.setdefault(alert.alert_id, alert)
            assert msgspec.json.encode(known) == msgspec.json.encode(alert)

    def look(self) -> None:
        """Have the rules see what was added to histories, in the order in which it was."""
        while self.tables.inserted:
            user_id, sk, item = self.tables.inserted[0]
            self.until_done(lambda u=user_id, c=(sk, item): self.make_offers(u, c))  # type: ignore[misc]  # bound now
            self.tables.inserted.pop(0)

    def make_offers(self, user_id: str, *chunks: tuple[str, bytes]) -> Offered:
        return make_offers(
            user_id,
            chunks,
            self.rules,
            self.config,
            self.budget,
            self.now_us,
            self.items,
            self.any_lake,
        )

    def due(self, until_us: int, *, historical: bool) -> list[str]:
        """Users with timers that are due, by when their first is."""
        rows = [read_waiting(item) for _, _, item in self.tables.scan("timers")]
        timers = sorted(t for row in rows for t in row.timers)
        due = [t for t in timers if t.historical == historical and t.due_us <= until_us]
        return list(dict.fromkeys(timer.user_id for timer in due))

    def watch(self) -> None:
        """The clock comes by: live timers at its time, those of history at history's."""
        for historical in (False, True):
            until_us = history_watermark(self.items) if historical else self.now_us
            self.until_done(lambda u=until_us, h=historical: self.fire(u, h))  # type: ignore[misc]  # bound now

    def fire(self, until_us: int, historical: bool) -> None:
        for user_id in self.due(until_us, historical=historical):
            fire_timers(
                user_id,
                until_us,
                historical,
                self.rules,
                self.config,
                self.budget,
                self.now_us,
                self.items,
                self.any_lake,
            )

    # --- what came of it ----------------------------------------------------------------------

    def decoded(self, table: str, kind: Any) -> list[Any]:
        return [msgspec.json.decode(item, type=kind) for _, _, item in self.tables.scan(table)]

    def offers(self, rule: str = "") -> list[Offer]:
        found: list[Offer] = self.decoded("offers", Offer)
        return sorted(
            (o for o in found if not rule or o.rule == rule), key=lambda o: (o.made_at, o.offer_id)
        )

    def orders(self) -> dict[tuple[str, str], Order]:
        return {
            (pk, sk): msgspec.json.decode(item, type=Order)
            for pk, sk, item in self.tables.scan("orders")
        }

    def products(self) -> dict[str, Stock]:
        return {s.product_id: s for s in self.decoded("products", Stock)}

    def alerts(self) -> list[Alert]:
        return sorted(self.decoded("alerts", Alert), key=lambda a: (a.kind, a.alert_id))

    def rejections(self) -> list[QuarantineRecord]:
        found: list[QuarantineRecord] = self.decoded("quarantine", QuarantineRecord)
        return found

    def lines_by_user(self) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for user_id, _, item in self.tables.scan("browsing_events"):
            found.setdefault(user_id, []).extend(lines_of(item))
        return found

    def archived(self) -> set[bytes]:
        files = [self.lake.get(name) for name in self.lake.names("archive/offers")]
        assert all(body.count(b"\n") == 1 for body in files), "one offer a file"
        return {body.strip() for body in files}

    def cells(self) -> dict[tuple[str, str, str], int]:
        """The ledger's rows added up."""
        days = {pk.partition("#")[0] for pk, _, _ in self.tables.scan("ledger")}
        found: dict[tuple[str, str, str], int] = {}
        for day in days:
            for _, counts in ledger_rows(self.items, day):
                for name, units in counts.items():
                    topic, source, outcome = name.split("\x1f")
                    place = (topic, source, outcome)
                    found[place] = found.get(place, 0) + units
        return found

    def snapshot(self) -> dict[str, Any]:
        """All that must not depend on what died when."""
        found: dict[str, Any] = {
            name: sorted((pk, sk, unmarked(item)) for pk, sk, item in self.tables.scan(name))
            for name in ("orders", "stock_levels", "products", "timers", "alerts")
        }
        found["offers"] = [msgspec.json.encode(offer) for offer in self.offers()]
        found["browsing_events"] = self.lines_by_user()
        found["quarantine"] = sorted(
            repr(msgspec.structs.replace(record, at_us=0)) for record in self.rejections()
        )
        found["ledger"] = self.cells()
        found["archived"] = sorted(self.archived())
        found["bronze"] = self.bronze
        found["delivered"] = {k: msgspec.json.encode(a) for k, a in self.delivered.items()}
        return found
