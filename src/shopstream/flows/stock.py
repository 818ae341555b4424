"""Ingest stock levels: dedupe, keep the newest of each product, alert when it runs low."""

import msgspec

from shopstream.domain.canonical import content_id, encode, same_content, settle
from shopstream.domain.orders import low_stock
from shopstream.domain.validation import read_event
from shopstream.events import Entry, Failure, Rejection, Stock
from shopstream.flows.clicks import Clicks
from shopstream.flows.work import ACCEPTED, DUPLICATE, FlowConfig, Work
from shopstream.ports import Tables

_decode = msgspec.json.Decoder(Stock).decode


class StockLevels:
    """Stock levels of one micro-batch. `products` holds the newest level of each product."""

    def __init__(self, tables: Tables, clicks: Clicks, config: FlowConfig) -> None:
        self._tables = tables
        self._clicks = clicks
        self._config = config
        self._levels: dict[tuple[str, str], Stock] = {}
        self._products: dict[str, Stock] = {}

    def take(self, entry: Entry, work: Work) -> None:
        for n, raw in enumerate(entry.events):
            stock = read_event("stock", raw, entry.received_us, self._config.limits)
            if isinstance(stock, Stock):
                settle(stock, raw)
                rejection = self._store(stock, raw, entry, work)
            else:
                rejection = stock if isinstance(stock, Rejection) else None
            if rejection:
                self._clicks.quarantine(rejection, entry, n, work)

    def _store(self, stock: Stock, raw: bytes, entry: Entry, work: Work) -> Rejection | None:
        event_id = stock.event_id = stock.event_id or content_id(stock)
        place = (stock.product_id, event_id)
        known = self._levels.get(place) or self._read("stock_levels", *place)
        if known is not None:
            if same_content(known, stock, ignoring=frozenset()):
                work.count("stock", entry.source, DUPLICATE)
                return None
            wanted = "an id of its own: another stock level of this product came with it"
            failure = Failure("conflict", "event_id", event_id, wanted)
            return Rejection(topic="stock", failures=[failure], raw=raw)
        ttl_us = self._config.events_ttl_us
        self._levels[place] = stock
        work.put("stock_levels", stock.product_id, event_id, encode(stock))
        work.expire("stock_levels", ttl_us, stock.product_id, event_id)
        work.stored("stock_levels", ttl_us, "stock")
        work.count("stock", entry.source, ACCEPTED)
        self._renew_product(stock, entry, work)
        return None

    def _renew_product(self, stock: Stock, entry: Entry, work: Work) -> None:
        product_id = stock.product_id
        before = self._products.get(product_id) or self._read("products", product_id, "")
        if before is not None and before.timestamp > stock.timestamp:
            return
        self._products[product_id] = stock
        work.put("products", product_id, "", encode(stock))
        if alert := low_stock(stock, before, historical=entry.historical):
            work.alert(alert)

    def _read(self, table: str, pk: str, sk: str) -> Stock | None:
        item = self._tables.get(table, pk, sk)
        return _decode(item) if item is not None else None

    def finish(self) -> None:
        self._levels.clear()
        self._products.clear()
