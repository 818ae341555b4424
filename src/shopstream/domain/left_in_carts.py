"""What was left in carts, summed up: the products most often left, and each customer's.

These are the sums and the order of the models `gold_abandoned_products` and
`gold_customer_abandoned_items`, for cart lines that come as one file.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from heapq import nsmallest
from itertools import groupby
from operator import attrgetter

from msgspec import Struct

IDLE_US = 30 * 60 * 1_000_000
"""So long before the newest line of all nothing was done with a cart that is abandoned."""
DAYS_US = 30 * 86_400 * 1_000_000
PRODUCTS_MAX, OF_CUSTOMER_MAX = 50, 10


class LeftItem(Struct, frozen=True, kw_only=True, gc=False):
    """One product left in one cart: the state after the last line about it. Times are UTC."""

    customer_id: str
    cart_id: str
    product_id: str
    name: str | None
    category: str | None
    quantity: int
    unit_price: Decimal | None
    currency: str | None
    last_activity_at: datetime

    @property
    def value(self) -> Decimal | None:
        return None if self.unit_price is None else self.quantity * self.unit_price


class LeftProduct(Struct, frozen=True, kw_only=True, gc=False):
    """All that was left of a product, by everybody or by one customer.

    `value` is empty where nothing had a price, or the prices are of several currencies.
    """

    product_id: str
    name: str | None
    category: str | None
    carts: int
    users: int
    units: int
    value: Decimal | None
    currency: str | None
    last_activity_at: datetime


def most_left(items: Iterable[LeftItem]) -> list[LeftProduct]:
    """The 50 products left most often, the first first. `items` of one product are together; those
    of one customer among them too.
    """
    found = (summed(group) for _, group in groupby(items, attrgetter("product_id")))
    return nsmallest(PRODUCTS_MAX, found, key=_by_frequency)


def left_by_customer(items: Iterable[LeftItem]) -> Iterator[tuple[str, Sequence[LeftProduct]]]:
    """Each customer with at most 10 products, the most valued first. `items` of one customer are
    together, and among them those of one product.
    """
    for customer, of_customer in groupby(items, attrgetter("customer_id")):
        products = (summed(group) for _, group in groupby(of_customer, attrgetter("product_id")))
        yield customer, nsmallest(OF_CUSTOMER_MAX, products, key=_by_value)


def summed(items: Iterable[LeftItem]) -> LeftProduct:
    """The items of a product as one; those of one customer are together. Held is a handful of
    sums, however many items there are. Raises ValueError without any.
    """
    carts = users = units = 0
    value = Decimal(0)
    valued = False
    customer: str | None = None
    name = category = low = high = last = None
    product = ""
    for item in items:
        product = item.product_id
        carts += 1
        users += item.customer_id != customer
        customer = item.customer_id
        units += item.quantity
        if item.value is not None:
            value, valued = value + item.value, True
        name = _greater(name, item.name)
        category = _greater(category, item.category)
        if item.currency is not None:
            low = item.currency if low is None else min(low, item.currency)
            high = _greater(high, item.currency)
        last = item.last_activity_at if last is None else max(last, item.last_activity_at)
    if last is None:
        raise ValueError("there is nothing to sum up")
    return LeftProduct(
        product_id=product,
        name=name,
        category=category,
        carts=carts,
        users=users,
        units=units,
        value=value if valued and low == high else None,
        currency=low if low == high else None,
        last_activity_at=last,
    )


def _greater(a: str | None, b: str | None) -> str | None:
    if a is None or b is None:
        return b if a is None else a
    return max(a, b)


def _by_frequency(found: LeftProduct) -> tuple[int, int, bool, Decimal, str]:
    value = found.value
    return (-found.carts, -found.units, value is None, -(value or Decimal(0)), found.product_id)


def _by_value(found: LeftProduct) -> tuple[bool, Decimal, int, int, str]:
    value, at = found.value, found.last_activity_at
    return (value is None, -(value or Decimal(0)), -found.units, -_us(at), found.product_id)


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
