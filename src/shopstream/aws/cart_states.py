"""The cart lines of a file on their way to what was left in the carts: on disk, not in memory.

A file may have more carts than memory holds. The last state of each is kept in a database of its
own in a temporary folder, which also puts them in order.
"""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Self

from shopstream.domain.left_in_carts import DAYS_US, IDLE_US, LeftItem
from shopstream.events import CartLine

CACHE_KIB = 64 * 1024
_PAGE_BYTES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_DAY_US = 86_400_000_000
_TABLES = """
CREATE TABLE seen (
    user TEXT, event TEXT, day INTEGER, PRIMARY KEY (user, event, day)
) WITHOUT ROWID;
CREATE TABLE states (
    user TEXT, product TEXT, cart TEXT, at_us INTEGER, event TEXT, quantity INTEGER, price TEXT,
    currency TEXT, name TEXT, category TEXT, PRIMARY KEY (user, product, cart)
) WITHOUT ROWID;
"""
_LAST = """
INSERT INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    at_us = excluded.at_us, event = excluded.event, quantity = excluded.quantity,
    price = excluded.price, currency = excluded.currency, name = excluded.name,
    category = excluded.category
WHERE (excluded.at_us, excluded.event) > (at_us, event)
"""
_LEFT = """
SELECT user, cart, product, name, category, quantity, price, currency, at_us FROM states
WHERE quantity > 0 AND at_us <= ? AND at_us >= ?
"""


class CartStates:
    """What each cart holds of each product after the lines taken so far.

    Keeps at most `bytes_max` in `folder`, sorting apart. More is SQLite's error that the disk is
    full.
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._db = sqlite3.connect(folder / "carts.db", isolation_level=None)
        for pragma in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "temp_store = FILE",
            f"page_size = {_PAGE_BYTES}",
            f"max_page_count = {max(1, bytes_max // _PAGE_BYTES)}",
            f"cache_size = -{CACHE_KIB}",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")
        self.latest_us = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._db.close()

    @property
    def as_of(self) -> datetime:
        """The time of the newest line."""
        return _EPOCH + self.latest_us * _US

    def take(self, line: CartLine) -> None:
        """A canonical cart line, which has an id. Of lines of a user with one id on one day the
        first that came counts.
        """
        at_us = (line.timestamp - _EPOCH) // _US
        known = self._db.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?, ?)",
            (line.user_id, line.event_id, at_us // _DAY_US),
        )
        if not known.rowcount:
            return
        self.latest_us = max(self.latest_us, at_us)
        priced = line.unit_price is not None
        self._db.execute(
            _LAST,
            (
                line.user_id,
                line.product_id,
                line.cart_id or "",
                at_us,
                line.event_id,
                line.quantity,
                str(line.unit_price) if priced else None,
                line.currency if priced else None,
                line.name,
                line.category,
            ),
        )

    def by_product(self) -> Iterator[LeftItem]:
        """What was left, product by product, in each customer by customer."""
        return self._left("ORDER BY product, user, cart")

    def by_customer(self) -> Iterator[LeftItem]:
        """What was left, customer by customer, in each product by product."""
        return self._left("ORDER BY user, product, cart")

    def _left(self, order: str) -> Iterator[LeftItem]:
        idle_since = self.latest_us - IDLE_US
        first = (self.latest_us - DAYS_US) // _DAY_US * _DAY_US
        rows = self._db.execute(f"{_LEFT} {order}", (idle_since, first))
        for user, cart, product, name, category, quantity, price, currency, at_us in rows:
            yield LeftItem(
                customer_id=user,
                cart_id=cart,
                product_id=product,
                name=name,
                category=category,
                quantity=quantity,
                unit_price=None if price is None else Decimal(price),
                currency=currency,
                last_activity_at=_EPOCH + at_us * _US,
            )
