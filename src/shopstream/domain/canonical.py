"""The one form in which an accepted event is kept, and the identity made from it.

Canonical means: our field names, UTC times, amounts of at most four decimals (DECIMAL(18, 4)),
unknown fields under `extra` as they were sent.
"""

from datetime import UTC
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Raw, Struct

from shopstream.events import CartLine, Click, Event, Order, OrderLine, Stock

CENT_OF_CENT = Decimal("0.0001")
RESERVED = "shopstream:"
"""How ids begin that are made here; those of senders may not."""
CART_ID, ORDER_ID = f"{RESERVED}cart:", f"{RESERVED}order:"
"""How the ids of clicks begin that are made of cart lines and of orders."""
CART_LINE = "cart_line"
"""In `extra` of a click made from a cart line: the quantity that the line says, as it now is."""
FROM_ORDER = "from_order"
"""In `extra` of a purchase made from an order: that order's id."""

_KNOWN = {
    kind: frozenset(kind.__struct_fields__) for kind in (Click, Order, OrderLine, CartLine, Stock)
}
_AMOUNTS: dict[type[Struct], tuple[str, ...]] = {
    Click: ("price",),
    Order: ("amount", "shipping", "tax", "discount"),
    OrderLine: ("unit_price",),
    CartLine: ("unit_price",),
    Stock: ("unit_price",),
}
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_sorted = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode
_decode_click = msgspec.json.Decoder(Click).decode
_ALWAYS_READABLE_BYTES = 4
"""No JSON this short is a number that is out of range."""


def settle(event: Event, raw: bytes) -> None:
    """Make `event`, read from `raw`, canonical in place."""
    _settle_fields(event, _decode_fields(raw))
    event.timestamp = event.timestamp.astimezone(UTC)
    if isinstance(event, Order):
        for line, raw_line in zip(event.lines, _raw_lines(raw), strict=True):
            _settle_fields(line, _decode_fields(raw_line))


class _Lines(Struct, gc=False):
    lines: list[Raw]


_decode_lines = msgspec.json.Decoder(_Lines).decode


def _raw_lines(raw: bytes) -> list[bytes]:
    return [bytes(line) for line in _decode_lines(raw).lines]


def _settle_fields(part: Any, fields: dict[str, Raw]) -> None:
    kind = type(part)
    known = _KNOWN[kind]
    unknown = {name: _kept(value) for name, value in fields.items() if name not in known}
    if unknown:
        sent: dict[str, Any] = part.extra or {}
        part.extra = ({"extra": sent} if sent.keys() & unknown.keys() else sent) | unknown
    for name in _AMOUNTS[kind]:
        amount: Decimal | None = getattr(part, name)
        if amount is not None:
            setattr(part, name, settled_amount(amount))


def _kept(value: Raw) -> Raw | str:
    """An unknown field's JSON as it was sent; as text where no reader takes it (1e400, say), so
    that what is stored can always be read again.
    """
    raw = bytes(value)
    if len(raw) > _ALWAYS_READABLE_BYTES and raw[:1] != b'"':
        try:
            msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return raw.decode()
    return value


def settled_amount(amount: Decimal) -> Decimal:
    """`amount` with at most four decimals, no exponent, no negative zero."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -4:
        amount = amount.quantize(CENT_OF_CENT, ROUND_HALF_EVEN).normalize()
    if amount == 0:
        return Decimal(0)
    return Decimal(f"{amount:f}")


def encode(event: Struct) -> bytes:
    """A canonical event as one line of JSON."""
    return _encode(event)


def content_id(event: Event) -> str:
    """The id of a canonical event whose sender gave none: a hash of all it says."""
    return blake2b(_encode_sorted(event), digest_size=16).hexdigest()


def same_content(stored: Struct, arrived: Struct, *, ignoring: frozenset[str]) -> bool:
    """Whether two canonical events with one id say the same, apart from the fields ignored."""
    if type(stored) is not type(arrived):
        return False
    for name in stored.__struct_fields__:
        if name in ignoring:
            continue
        a, b = getattr(stored, name), getattr(arrived, name)
        if a != b and _plain(a) != _plain(b):
            return False
    return True


def _plain(value: Any) -> Any:
    return msgspec.json.decode(_encode_sorted(value))


def read_stored(line: bytes) -> Click:
    """A click from a line of its table, canonical (its bytes may still be the sender's)."""
    click = _decode_click(line)
    settle(click, line)
    return click
