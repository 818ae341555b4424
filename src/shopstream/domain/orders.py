"""Orders: which deserve an alert, and how one too large for the table is made to fit."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from shopstream.domain.canonical import FROM_ORDER, ORDER_ID, encode
from shopstream.domain.plurals import counted
from shopstream.events import Alert, AlertKind, Click, Order, Rejection, Stock

ITEM_BYTES_MAX = 400 * 1024
"""DynamoDB's limit for one item, names and values together."""
BOUGHT = ("placed", "paid")
_SURELY_FITS_BYTES = ITEM_BYTES_MAX // 2
"""JSON of this size never counts more than ITEM_BYTES_MAX: no value counts twice its JSON."""


def alert_id(kind: AlertKind, *parts: str) -> str:
    """The idempotency key of an alert: the same facts give the same id."""
    return blake2b(msgspec.json.encode([kind, *parts]), digest_size=16).hexdigest()


def threshold(currency: str, above: Decimal, by_currency: Mapping[str, Decimal]) -> Decimal:
    return by_currency.get(currency, above)


def large_order(
    order: Order,
    source: str,
    above: Decimal,
    by_currency: Mapping[str, Decimal],
    *,
    historical: bool,
) -> Alert | None:
    """The alert about an order placed or paid for strictly more than the threshold."""
    limit = threshold(order.currency, above, by_currency)
    amount = order.amount or Decimal(0)
    if order.status not in BOUGHT or amount <= limit:
        return None
    who = order.customer_id or "a guest"
    return Alert(
        alert_id=alert_id("large_order", source, order.order_id),
        kind="large_order",
        subject=f"Order {order.order_id} of {amount:f} {order.currency}",
        body=f"Order {order.order_id} of {who}: {amount:f} {order.currency} in"
        f" {counted(len(order.lines), 'lines')}, above {limit:f}.",
        at=order.timestamp,
        historical=historical,
        data={"order_id": order.order_id, "amount": str(amount), "currency": order.currency},
    )


def invalid_order(
    rejections: list[Rejection], raw: bytes, source: str, at: datetime, *, historical: bool
) -> Alert:
    """The alert about an order, or some lines of it, that went to the quarantine: of a wrong total
    if that is among its faults, which then comes first.
    """
    order_id = _order_id_in(raw)
    failures = [f for rejection in rejections for f in rejection.failures]
    failures.sort(key=lambda f: f.reason != "total")
    mismatch = failures[0].reason == "total"
    kind: AlertKind = "total_mismatch" if mismatch else "invalid_order"
    name = order_id or "without an id"
    shown = "; ".join(f.message for f in failures[:5])
    more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
    return Alert(
        alert_id=alert_id(kind, source, order_id or blake2b(raw, digest_size=16).hexdigest()),
        kind=kind,
        subject=f"Order {name}: {'its total does not match' if mismatch else 'not valid'}",
        body=f"Order {name} is in the quarantine: {shown}{more}.",
        at=at,
        historical=historical,
        data={"order_id": order_id, "reasons": sorted({f.reason for f in failures})},
    )


def low_stock(stock: Stock, before: Stock | None, *, historical: bool) -> Alert | None:
    """The alert when a product comes to or below its reorder level, once until it recovers."""
    if not is_low(stock) or (before is not None and is_low(before)):
        return None
    name = stock.name or stock.product_id
    known_as = f"{name} ({stock.product_id})" if name != stock.product_id else name
    return Alert(
        alert_id=alert_id("low_stock", stock.product_id, stock.event_id or ""),
        kind="low_stock",
        subject=f"Low stock: {name}",
        body=f"{known_as}: {stock.stock_on_hand} on hand, reorder level {stock.reorder_level}.",
        at=stock.timestamp,
        historical=historical,
        data={"product_id": stock.product_id, "stock_on_hand": stock.stock_on_hand},
    )


def is_low(stock: Stock) -> bool:
    return not stock.discontinued and stock.stock_on_hand <= stock.reorder_level


def purchases(order: Order) -> list[Click]:
    """What an order tells the rules: its customer bought these products. None for a guest."""
    if order.customer_id is None or order.status not in BOUGHT:
        return []
    return [
        Click(
            event_id=f"{ORDER_ID}{order.order_id}:{n}",
            user_id=order.customer_id,
            event_type="purchase",
            product_id=line.product_id,
            category=line.category,
            quantity=line.quantity,
            price=line.unit_price,
            currency=order.currency,
            order_id=order.order_id,
            timestamp=order.timestamp,
            extra={FROM_ORDER: order.order_id},
        )
        for n, line in enumerate(order.lines)
    ]


class Fitted(NamedTuple):
    """An order as its table holds it, and what must be archived first, if anything."""

    item: bytes
    archived: bytes | None


def fit(order: Order, archive_name: str) -> Fitted:
    """`order` as an item of at most ITEM_BYTES_MAX, counted as DynamoDB counts.

    Trimmed as far as needed, in this order: payload, unknown fields, lines from the end. A
    trimmed item names what is missing and the archived file that has everything.
    """
    whole = encode(order)
    if len(whole) <= _SURELY_FITS_BYTES or item_bytes(msgspec.json.decode(whole)) <= ITEM_BYTES_MAX:
        return Fitted(whole, None)
    item: dict[str, Any] = msgspec.json.decode(whole)
    item["archive"] = archive_name
    trimmed: list[str] = []
    item["trimmed"] = trimmed
    for name in ("payload", "extra"):
        if name in item:
            del item[name]
            trimmed.append(name)
            if item_bytes(item) <= ITEM_BYTES_MAX:
                return Fitted(_item(item), whole)
    trimmed.append("lines")
    room = ITEM_BYTES_MAX - item_bytes(item | {"lines": [], "lines_total": len(order.lines)})
    kept = 0
    for line in item["lines"]:
        room -= 1 + _value_bytes(line)
        if room < 0:
            break
        kept += 1
    item["lines_total"] = len(order.lines)
    item["lines"] = item["lines"][:kept]
    return Fitted(_item(item), whole)


def _item(item: dict[str, Any]) -> bytes:
    return msgspec.json.encode(item)


def item_bytes(item: Mapping[str, Any]) -> int:
    """Size of an item by DynamoDB's arithmetic: attribute names and values in UTF-8, numbers at
    one byte for two digits and one more (at most 21), 3 bytes for a list or map and one for each
    member, 1 for true, false and null.
    Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats".
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Any) -> int:
    match value:
        case str():
            return len(value.encode())
        case bool() | None:
            return 1
        case int() | float() | Decimal():
            digits = len(str(value).replace("-", "").replace(".", "").strip("0"))
            return min(21, (digits + 1) // 2 + 1 + (value < 0))
        case Mapping():
            return 3 + len(value) + item_bytes(value)
        case _:
            return 3 + len(value) + sum(map(_value_bytes, value))


class _Named(msgspec.Struct, gc=False):
    order_id: str


_decode_named = msgspec.json.Decoder(_Named).decode


def _order_id_in(raw: bytes) -> str:
    try:
        order_id = _decode_named(raw).order_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return order_id if order_id.isprintable() and len(order_id) <= 256 else ""
