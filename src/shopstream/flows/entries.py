"""Take entries of any dialect and topic: which flow reads what arrived."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from shopstream.domain.validation import units_of
from shopstream.events import Entry, Failure, Rejection
from shopstream.flows.carts import CartLines
from shopstream.flows.clicks import Clicks
from shopstream.flows.orders import Orders
from shopstream.flows.stock import StockLevels
from shopstream.flows.translate import translate
from shopstream.flows.work import RESOLVED, FlowConfig, QuarantineRecord, Work
from shopstream.ports import Lake, Tables

_encode = msgspec.json.Encoder().encode
_decode_record = msgspec.json.Decoder(QuarantineRecord).decode
_decode_rejection = msgspec.json.Decoder(Rejection).decode


class Entries:
    """The flows of one micro-batch: `take` entries, have `clicks` applied, then `finish`."""

    def __init__(self, tables: Tables, lake: Lake, clicks: Clicks, config: FlowConfig) -> None:
        self._tables = tables
        self._clicks = clicks
        self._orders = Orders(tables, lake, clicks, config)
        self._stock = StockLevels(tables, clicks, config)
        self._take: dict[str, Callable[[Entry, Work], None]] = {
            "clicks": clicks.take,
            "orders": self._orders.take,
            "stock": self._stock.take,
            "carts": CartLines(clicks, config).take,
        }

    def take(self, entry: Entry, work: Work) -> None:
        if entry.dialect == "rejected":
            self._refuse(entry, work)
        elif entry.dialect == "resolved":
            self._resolve(entry, work)
        elif entry.dialect == "shopstream":
            self._take[entry.topic](entry, work)
        else:
            for translated in translate(entry, work, self._clicks.quarantine):
                self._take[translated.topic](translated, work)

    def finish(self) -> None:
        self._orders.finish()
        self._stock.finish()

    def give_up(self, entry: Entry, why: str, work: Work) -> None:
        """Quarantine an entry's one event as poison, without looking at it."""
        units = units_of(entry.topic, entry.events[0], entry.on_bad_line)
        if entry.dialect == "resolved":
            units = 0
        rejection = poison(entry.topic, entry.events[0], why, units)
        self._clicks.quarantine(rejection, entry, 0, work)

    def _refuse(self, entry: Entry, work: Work) -> None:
        for n, raw in enumerate(entry.events):
            self._clicks.quarantine(_decode_rejection(raw), entry, n, work)

    def _resolve(self, entry: Entry, work: Work) -> None:
        """Mark rejections that were replayed. One that has expired meanwhile needs no mark."""
        for rejection_id in entry.events:
            sk = rejection_id.decode().partition("-")[2]
            if (item := self._tables.get("quarantine", entry.topic, sk)) is not None:
                record = _decode_record(item)
                record.resolved_us = entry.received_us
                work.put("quarantine", entry.topic, sk, _encode(record))
                work.count(entry.topic, record.source, RESOLVED, record.rejection.units)


def poison(topic: str, raw: bytes, why: str, units: int) -> Rejection:
    """The rejection of an event that makes the code fail."""
    wanted = f"an event that can be processed ({why})"[:500]
    failure = Failure("poison", "event", "this event", wanted)
    return Rejection(topic=topic, failures=[failure], raw=raw, units=units)


def singly(entries: Iterable[Entry]) -> Iterator[Entry]:
    """`entries` cut into entries of one event."""
    for entry in entries:
        for n, raw in enumerate(entry.events):
            lines = [entry.lines[n]] if entry.lines else []
            yield msgspec.structs.replace(entry, events=[raw], lines=lines, units=1)
