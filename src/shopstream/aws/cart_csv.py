"""The CSV files about what was left in carts: the columns of the gold tables, written as `export`
writes them. Cells that a spreadsheet would run as a formula are made harmless.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import IO

from shopstream.domain.formulas import harmless
from shopstream.domain.left_in_carts import LeftProduct

_PRODUCTS = (
    *("place", "product_id", "name", "category", "carts", "users", "units", "value", "currency"),
    *("last_activity_at", "as_of"),
)
_PROMOTIONS = (
    *("customer_id", "place", "product_id", "name", "category", "carts", "units", "value"),
    *("currency", "last_activity_at", "as_of"),
)
Cell = str | int | Decimal | datetime | None


def write_products(out: IO[bytes], products: Iterable[LeftProduct], as_of: datetime) -> int:
    """Write the products in their order; returns how many."""
    rows: Iterator[Sequence[Cell]] = (
        (
            place,
            found.product_id,
            found.name,
            found.category,
            found.carts,
            found.users,
            found.units,
            found.value,
            found.currency,
            found.last_activity_at,
            as_of,
        )
        for place, found in enumerate(products, 1)
    )
    return _write(out, _PRODUCTS, rows)


def write_promotions(
    out: IO[bytes], customers: Iterable[tuple[str, Sequence[LeftProduct]]], as_of: str
) -> tuple[int, int]:
    """Write each customer's products in their order; returns how many customers and rows."""
    seen = 0

    def rows() -> Iterator[Sequence[Cell]]:
        nonlocal seen
        for customer, products in customers:
            seen += 1
            for place, found in enumerate(products, 1):
                yield (
                    customer,
                    place,
                    found.product_id,
                    found.name,
                    found.category,
                    found.carts,
                    found.units,
                    found.value,
                    found.currency,
                    found.last_activity_at,
                    as_of,
                )

    written = _write(out, _PROMOTIONS, rows())
    return seen, written


def _write(out: IO[bytes], names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
    out.write(_line(names))
    written = 0
    for row in rows:
        out.write(_line(row))
        written += 1
    return written


def _line(cells: Sequence[Cell]) -> bytes:
    return (",".join(map(_cell, cells)) + "\n").encode()


def _cell(value: Cell) -> str:
    match value:
        case None:
            return ""
        case str():
            text = harmless(value).replace('"', '""')
            return f'"{text}"'
        case datetime():
            return f'"{value:%Y-%m-%dT%H:%M:%S.%f}Z"'
        case Decimal():
            return f"{value:.4f}"
    return str(value)
