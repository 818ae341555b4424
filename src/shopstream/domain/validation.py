"""Bytes -> event or Rejection: the one truth of what is accepted.

The fast path is one typed decode plus a few comparisons. Only an event that fails it takes the
slow path, which looks at every field and lists all that is wrong, not only the first thing.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, cast

import msgspec
from msgspec import Raw, Struct

from shopstream.domain.canonical import RESERVED
from shopstream.domain.currencies import CURRENCIES
from shopstream.domain.failures import (
    AMOUNT_TEXT,
    COPIES_MAX,
    EARLIEST_US,
    LINES_MAX,
    PAYLOAD_BYTES_MAX,
    UNREADABLE,
    Limits,
    expected_amount,
    failures_of,
    line_failures,
    micros,
    round_amounts,
    shown,
    too_deep,
    total_failure,
    unreadable,
    usable,
    usable_id,
    well_written,
)
from shopstream.errors import ShopstreamError
from shopstream.events import (
    CartLine,
    Click,
    Event,
    Failure,
    Order,
    OrderLine,
    Rejection,
    Stock,
)


class Invalid(ShopstreamError):
    """Raised inside this module and caught in it: an event with these failures."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__("; ".join(f.message for f in failures))
        self.failures = failures


decode_click: Callable[[bytes], Click] = msgspec.json.Decoder(Click).decode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_cart_line = msgspec.json.Decoder(CartLine).decode
_decode_stock = msgspec.json.Decoder(Stock).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw_lines = msgspec.json.Decoder(list[Raw]).decode
_decode_line = msgspec.json.Decoder(OrderLine).decode


_OURS = b'"' + RESERVED.encode()
odd_price = re.compile(rb'"price"\s*:\s*"(?!' + AMOUNT_TEXT.pattern.encode() + rb'")').search
"""Finds a price that is text and not written as JSON writes numbers, in one click or many."""


def plain(raw: bytes) -> bool:
    """True when no string in this JSON can hold a control character or anything but ASCII, or be
    one of our own ids.
    """
    return raw.isascii() and b"\\" not in raw and b"\x7f" not in raw and _OURS not in raw


def read_click(raw: bytes, received_us: int, limits: Limits) -> tuple[Click, int]:
    """A click and its time in microseconds; raises Invalid or one of UNREADABLE."""
    click = decode_click(raw)
    at_us = round(click.timestamp.timestamp() * 1e6)
    if (
        at_us > received_us + limits.future_us
        or at_us < EARLIEST_US
        or (click.price is not None and not usable(click.price))
        or (click.currency is not None and click.currency not in CURRENCIES)
        or not ((plain(raw) and (click.price is None or not odd_price(raw))) or _clean(click, raw))
        or too_deep(raw)
    ):
        raise Invalid([])
    return click, at_us


def read_event(topic: str, raw: bytes, received_us: int, limits: Limits) -> Event | Rejection:
    """One event of `topic` or why not. For orders with `quarantine_line` see `read_lines`."""
    try:
        return _READ[topic](raw, received_us, limits)
    except (Invalid, *UNREADABLE):
        return reject(topic, raw, received_us, limits)


def reject(topic: str, raw: bytes, received_us: int, limits: Limits) -> Rejection:
    """The rejection of an event that failed, with all its failures."""
    failures = failures_of(topic, raw, received_us, limits) or unreadable(raw)
    if not failures:
        failures = [Failure("value", "event", shown(raw), f"a usable event of topic {topic}")]
    return Rejection(topic=topic, failures=failures, raw=raw)


def _read_click(raw: bytes, received_us: int, limits: Limits) -> Click:
    return read_click(raw, received_us, limits)[0]


def _read_cart_line(raw: bytes, received_us: int, limits: Limits) -> CartLine:
    line = _decode_cart_line(raw)
    _require(_in_time(line.timestamp, received_us, limits) and _priced(line) and _clean(line, raw))
    return line


def _read_stock(raw: bytes, received_us: int, limits: Limits) -> Stock:
    stock = _decode_stock(raw)
    _require(
        _in_time(stock.timestamp, received_us, limits) and _priced(stock) and _clean(stock, raw)
    )
    return stock


def _read_order(raw: bytes, received_us: int, limits: Limits) -> Order:
    order = _decode_order(raw)
    round_amounts(order)
    _require(
        _in_time(order.timestamp, received_us, limits)
        and order.currency in CURRENCIES
        and 0 < len(order.lines) <= LINES_MAX
        and len(bytes(order.payload)) <= PAYLOAD_BYTES_MAX
        and _clean(order, raw)
        and all(usable(line.unit_price) and line.unit_price > 0 for line in order.lines)
        and all(_printable_ids(line) for line in order.lines)
        and not total_failure(order, limits)
    )
    if order.amount is None:
        order.amount = expected_amount(order)
    return order


_READ: dict[str, Callable[[bytes, int, Limits], Event]] = {
    "clicks": _read_click,
    "orders": _read_order,
    "carts": _read_cart_line,
    "stock": _read_stock,
}


class ReadLines(NamedTuple):
    """What `quarantine_line` makes of an order: what is good, its bytes, each bad line."""

    order: Order | None
    rejections: list[Rejection]
    raw: bytes


def read_lines(raw: bytes, received_us: int, limits: Limits) -> ReadLines:
    """An order of which only the good lines are kept; its amount is the sum of these.

    Each bad line is rejected as an order of that one line, so that it can be mended and replayed.
    An order that is bad in itself, or whose bad lines would come to more than COPIES_MAX times its
    bytes, is rejected whole and counts as many units as it then has lines.
    """
    try:
        fields = _decode_fields(raw)
        raw_lines = _decode_raw_lines(fields["lines"])
    except (KeyError, *UNREADABLE):
        return ReadLines(None, [reject("orders", raw, received_us, limits)], raw)
    checked = _checked(raw, fields, raw_lines)
    if checked is None:
        whole = reject("orders", raw, received_us, limits)
        whole.units = max(1, len(raw_lines))
        return ReadLines(None, [whole], raw)
    numbered = _numbered(raw_lines)
    if numbered is not raw_lines:
        raw_lines = numbered
        raw = msgspec.json.encode(fields | {"lines": numbered})
    rejections: list[Rejection] = []
    good: list[Raw] = []
    for raw_line, failures in zip(raw_lines, checked, strict=True):
        if failures:
            alone = _with_lines(fields, [raw_line])
            number = _line_number(bytes(raw_line))
            rejections.append(Rejection(topic="orders", failures=failures, raw=alone, line=number))
        else:
            good.append(raw_line)
    if raw_lines and not good:
        return ReadLines(None, rejections, raw)
    kept = _with_lines(fields, good) if rejections else raw
    found = read_event("orders", kept, received_us, limits)
    if isinstance(found, Rejection):
        found.units = max(1, len(good))
        return ReadLines(None, [*rejections, found], raw)
    return ReadLines(cast(Order, found), rejections, kept)


def _checked(raw: bytes, fields: dict[str, Raw], lines: list[Raw]) -> list[list[Failure]] | None:
    """What is wrong with each line; None where there is too much to reject each by itself."""
    payload = bytes(fields.get("payload", b""))
    if len(lines) > LINES_MAX or len(payload) > PAYLOAD_BYTES_MAX:
        return None
    checked, copied, copy = list[list[Failure]](), 0, len(raw) - len(bytes(fields["lines"]))
    for n, line in enumerate(lines):
        failures = line_failures(bytes(line), f"lines[{n}]")
        copied += copy if failures else 0
        if copied > COPIES_MAX * len(raw):
            return None
        checked.append(failures)
    return checked


def _with_lines(fields: dict[str, Raw], lines: list[Raw]) -> bytes:
    return msgspec.json.encode(
        {k: v for k, v in fields.items() if k != "amount"} | {"lines": lines}
    )


class _Numbered(Struct, gc=False):
    line: Raw = Raw()


_decode_numbered = msgspec.json.Decoder(_Numbered).decode


def _numbered(raw_lines: list[Raw]) -> list[Raw]:
    """The lines with their places as numbers where not one of them has a number: a bad line that
    was mended must find its place in its order again.
    """
    numbered = []
    for n, raw_line in enumerate(raw_lines, 1):
        try:
            if bytes(_decode_numbered(raw_line).line) not in (b"", b"null"):
                return raw_lines
            numbered.append(Raw(msgspec.json.encode(_decode_fields(raw_line) | {"line": n})))
        except UNREADABLE:
            numbered.append(raw_line)
    return numbered


def _line_number(raw_line: bytes) -> int | None:
    try:
        return _decode_line(raw_line).line
    except UNREADABLE:
        pass
    try:
        number = msgspec.json.decode(raw_line).get("line")
    except (AttributeError, *UNREADABLE):
        return None
    return number if isinstance(number, int) else None


class _Counted(Struct, gc=False):
    lines: list[Raw]


_decode_counted = msgspec.json.Decoder(_Counted).decode


def units_of(topic: str, raw: bytes, on_bad_line: str) -> int:
    """What the sender counts in one event: its lines where lines are judged one by one, else 1."""
    if topic != "orders" or on_bad_line != "quarantine_line":
        return 1
    try:
        return max(1, len(_decode_counted(raw).lines))
    except UNREADABLE:
        return 1


def _require(condition: bool) -> None:
    if not condition:
        raise Invalid([])


def _in_time(time: datetime, received_us: int, limits: Limits) -> bool:
    return EARLIEST_US <= micros(time) <= received_us + limits.future_us


def _priced(event: CartLine | Stock) -> bool:
    return (event.unit_price is None or usable(event.unit_price)) and (
        event.currency is None or event.currency in CURRENCIES
    )


_ID_FIELDS: dict[type[Struct], tuple[str, ...]] = {
    kind: tuple(f for f in kind.__struct_fields__ if f.endswith("_id"))
    for kind in (Click, Order, OrderLine, CartLine, Stock)
}


def _printable_ids(event: Struct) -> bool:
    for name in _ID_FIELDS[type(event)]:
        value = getattr(event, name)
        if value is not None and not usable_id(value):
            return False
    return True


class _Price(Struct, gc=False):
    """The amount of a click as it is written; the others are those of other events."""

    price: Raw = Raw()


class _UnitPrice(Struct, gc=False):
    unit_price: Raw = Raw()


class _OrderAmounts(Struct, gc=False):
    amount: Raw = Raw()
    shipping: Raw = Raw()
    tax: Raw = Raw()
    discount: Raw = Raw()
    lines: list[_UnitPrice] = []


_decode_price = msgspec.json.Decoder(_Price).decode
_decode_unit_price = msgspec.json.Decoder(_UnitPrice).decode
_decode_order_amounts = msgspec.json.Decoder(_OrderAmounts).decode


def _amounts(event: Event, raw: bytes) -> list[Raw]:
    """The amounts of an event as they are written."""
    if isinstance(event, Click):
        return [_decode_price(raw).price]
    if not isinstance(event, Order):
        return [_decode_unit_price(raw).unit_price]
    found = _decode_order_amounts(raw)
    prices = [line.unit_price for line in found.lines]
    return [found.amount, found.shipping, found.tax, found.discount, *prices]


def _clean(event: Event, raw: bytes) -> bool:
    """All is UTF-8 (decoding looks at known fields only), ids are printable and short enough, and
    amounts that are text are written as JSON writes numbers.
    """
    if not raw.isascii():
        raw.decode()
    if too_deep(raw):
        return False
    return all(well_written(bytes(a)) for a in _amounts(event, raw)) and _printable_ids(event)
