"""All that is wrong with an event: the slow path of validation, field by field.

Every rejection names the reason code, the field, the value that stood there and what was wanted.
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeAlias, get_args

import msgspec
from msgspec import Raw, Struct

from shopstream.domain.canonical import RESERVED, settled_amount
from shopstream.domain.currencies import CURRENCIES
from shopstream.events import EVENT_OF, ID_BYTES_MAX, QUANTITY_MAX, Failure, Order, OrderLine

REASONS: dict[str, str] = {
    "json": "Not JSON, or not an object.",
    "encoding": "Not UTF-8.",
    "too_large": "Over `event_bytes_max` or `order_bytes_max`, a payload over 1 MiB, or a message"
    " whose events would come to over 16 times its bytes.",
    "columns": "A CSV row with another number of columns than its header.",
    "missing": "A required field is absent, null or empty.",
    "type": "Another JSON type than the field has.",
    "value": "Not one of the words allowed, or text that is too long.",
    "id": "An id that is empty, over 256 bytes or holds control characters.",
    "timestamp": "Not an ISO 8601 time with a zone.",
    "future": "Further ahead of its arrival than `future_max`.",
    "quantity": "Not a whole number from 1 (from 0 for carts and stock).",
    "price": "Not a usable amount; 0 or less in an order line.",
    "currency": "Not an ISO 4217 code.",
    "amount": "Not a usable decimal.",
    "total": "The amount isn't the sum of the lines + shipping + tax - discount.",
    "lines": "An order without lines, or with too many.",
    "conflict": "Same id as an earlier event, other content. The first one stays.",
    "unknown_event": "A Segment or GA4 call that says nothing we know how to keep.",
    "poison": "Processing it failed again and again; it was set aside.",
}
"""Why an event is quarantined. The first failure's reason is the one the ledger counts."""

AMOUNT_LIMIT = Decimal("99999999999999.99995")
"""Amounts below this are, rounded to four decimals, below 10 ** 14, which DECIMAL(18, 4) holds."""
PAYLOAD_BYTES_MAX = 1024 * 1024
LINES_MAX = 10_000
LINES_FAILURES_MAX = 100
"""Once so many are found, no more lines are looked at: a small order could have MBs of them."""
COPIES_MAX = 16
"""What an event may be made into, each part with a copy of what all share: times its own bytes."""
EARLIEST_US = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z, the first instant that can be written."""
SHOWN_CHARS_MAX = 200
DEPTH_MAX = 100
"""Objects and lists inside each other in one event."""
_NESTING = re.compile(rb'[\[\]{}]|"(?:[^"\\]|\\.)*"')
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
"""What decoding raises on bad bytes: ValueError for integers of more than 4,300 digits."""


class Limits(NamedTuple):
    """The settings that validation depends on."""

    future_us: int = 300_000_000
    total_tolerance: Decimal = Decimal("0.01")


AMOUNT_FIELDS = ("price", "unit_price", "amount", "shipping", "tax", "discount")


_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_raw_lines = msgspec.json.Decoder(list[Raw]).decode
_decode_extra = msgspec.json.Decoder(dict[str, Any] | None).decode


def micros(time: datetime) -> int:
    """An aware time as microseconds since 1970 UTC, exact."""
    return round(time.timestamp() * 1e6)


def usable(amount: Decimal) -> bool:
    return amount.is_finite() and 0 <= amount < AMOUNT_LIMIT


AMOUNT_TEXT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
"""How an amount is written as text: as JSON writes numbers. Decimal alone takes `1_0` and ` 5 `."""
_WRITTEN = re.compile(b'"' + AMOUNT_TEXT.pattern.encode() + b'"')


def well_written(raw: bytes) -> bool:
    """Whether an amount's JSON is a number or text that would be one; b"" and null are."""
    return not raw.startswith(b'"') or _WRITTEN.fullmatch(raw) is not None


def usable_id(value: str) -> bool:
    return (
        value.isprintable()
        and len(value.encode()) <= ID_BYTES_MAX
        and not value.startswith(RESERVED)
    )


def too_deep(raw: bytes) -> bool:
    """Whether JSON nests deeper than DEPTH_MAX, which not every reader could follow."""
    if len(raw) < DEPTH_MAX or raw.count(b"{") + raw.count(b"[") <= DEPTH_MAX:
        return False
    depth = 0
    for token in _NESTING.findall(raw):
        if token in (b"{", b"["):
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif token in (b"}", b"]"):
            depth -= 1
    return False


def round_amounts(order: "Order | _Summed") -> None:
    """Give an order the amounts that are kept, so that what is judged and compared is what stays.
    Amounts that aren't usable stay as they are.
    """
    for part, names in ((order, _ORDER_AMOUNTS), *((line, _LINE_AMOUNTS) for line in order.lines)):
        for name in names:
            amount = getattr(part, name)
            if amount is not None and usable(amount):
                setattr(part, name, settled_amount(amount))


_ORDER_AMOUNTS = ("amount", "shipping", "tax", "discount")
_LINE_AMOUNTS = ("unit_price",)


class _SummedLine(Struct, gc=False):
    quantity: int
    unit_price: Decimal


class _Summed(Struct, gc=False):
    """What an order's total is made of, which can be right where the rest of it is not."""

    lines: list[_SummedLine]
    amount: Decimal | None = None
    shipping: Decimal | None = None
    tax: Decimal | None = None
    discount: Decimal | None = None


_SUMMED = re.compile(rf"(?:{'|'.join(_ORDER_AMOUNTS)}|lines\[\d+\](?:\.(?:quantity|unit_price))?)")
_decode_summed = msgspec.json.Decoder(_Summed).decode


def expected_amount(order: Order | _Summed) -> Decimal:
    """The amount an order's lines add up to: quantity x unit price + shipping + tax - discount."""
    total = sum((line.quantity * line.unit_price for line in order.lines), Decimal(0))
    return total + (order.shipping or 0) + (order.tax or 0) - (order.discount or 0)


def total_failure(order: Order | _Summed, limits: Limits) -> Failure | None:
    parts = (order.amount, order.shipping, order.tax, order.discount)
    for name, part in zip(_ORDER_AMOUNTS, parts, strict=True):
        if part is not None and not usable(part):
            return Failure("amount", name, str(part)[:SHOWN_CHARS_MAX], _WANTED_AMOUNT)
    expected = expected_amount(order)
    if not usable(expected):
        sum_of = "a sum of lines + shipping + tax - discount from 0 to below 100000000000000"
        return Failure("amount", "amount", str(expected)[:SHOWN_CHARS_MAX], sum_of)
    if order.amount is None or abs(order.amount - expected) < limits.total_tolerance:
        return None
    wanted = f"{expected}, the sum of its lines + shipping + tax - discount"
    return Failure("total", "amount", str(order.amount), wanted)


_WANTED_AMOUNT = "a decimal from 0 to below 100000000000000"
_WANTED_PRICE = "a decimal above 0 and below 100000000000000"
_WANTED_WRITTEN = "a decimal written as in JSON, such as 12.50"
_WANTED_TIME = "an ISO 8601 time with a zone, such as 2026-01-31T12:00:00Z"
_WANTED_ID = (
    f"text of 1 to {ID_BYTES_MAX} bytes without control characters, not beginning with {RESERVED}"
)
_WANTED_CURRENCY = "an ISO 4217 code such as EUR"
_ALIASES = {"id": "event_id", "type": "event_type", "time": "timestamp", "customer": "customer_id"}


class _Field(NamedTuple):
    name: str
    required: bool
    decode: Callable[[bytes], Any]
    reason: str
    wanted: str


_Fields: TypeAlias = tuple[_Field, ...]


def _fields_of(kind: type[Struct]) -> _Fields:
    return tuple(
        _Field(
            f.name,
            f.required,
            msgspec.json.Decoder(f.type).decode,
            *_reason_and_wanted(kind, f.name, f.type),
        )
        for f in msgspec.structs.fields(kind)
        if f.name not in ("lines", "extra", "payload")
    )


def _reason_and_wanted(of: type[Struct], name: str, kind: Any) -> tuple[str, str]:
    if name.endswith("_id"):
        return "id", _WANTED_ID
    if name == "timestamp":
        return "timestamp", _WANTED_TIME
    if name == "currency":
        return "currency", _WANTED_CURRENCY
    if name in ("price", "unit_price"):
        return "price", _WANTED_PRICE if of is OrderLine else _WANTED_AMOUNT
    if name in AMOUNT_FIELDS:
        return "amount", _WANTED_AMOUNT
    if name in ("quantity", "stock_on_hand", "reorder_level"):
        return "quantity", f"a whole number from {_least(kind)} to {QUANTITY_MAX}"
    choices = [c for arg in (get_args(kind) or ()) for c in (get_args(arg) or (arg,))]
    if words := [c for c in choices if isinstance(c, str)]:
        return "value", "one of " + ", ".join(words)
    if name == "consent":
        return "type", "an object of true and false"
    if name == "discontinued":
        return "type", "true or false"
    if name == "line":
        return "value", "a whole number"
    longest = next(o.max_length for o in _options(kind) if isinstance(o, msgspec.inspect.StrType))
    return "value", f"text of at most {longest} characters"


def _least(kind: Any) -> int:
    return next(o.ge or 0 for o in _options(kind) if isinstance(o, msgspec.inspect.IntType))


def _options(kind: Any) -> tuple[msgspec.inspect.Type, ...]:
    info = msgspec.inspect.type_info(kind)
    return info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)


_KINDS: list[type[Struct]] = [*EVENT_OF.values(), OrderLine]
_FIELDS: dict[type[Struct], _Fields] = {kind: _fields_of(kind) for kind in _KINDS}


def failures_of(topic: str, raw: bytes, received_us: int, limits: Limits) -> list[Failure]:
    """All that is wrong with an event of `topic`, in the order of its fields; [] if nothing is."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as e:
        return [Failure("encoding", "event", shown(raw), f"UTF-8 (byte {e.start} is not)")]
    try:
        fields = _decode_fields(raw)
    except RecursionError:
        return [Failure("json", "event", shown(raw), "JSON of reasonable depth")]
    except UNREADABLE as e:
        return [Failure("json", "event", shown(raw), f"a JSON object ({_why(e)})")]
    if too_deep(raw):
        wanted = f"JSON of at most {DEPTH_MAX} levels"
        return [Failure("json", "event", shown(raw), wanted)]
    failures = _field_failures(_FIELDS[EVENT_OF[topic]], fields, "")
    failures += _time_failures(fields, received_us, limits)
    if topic == "orders":
        failures += _payload_failures(fields) + _lines_failures(fields)
        failures += _total_failures(raw, failures, limits)
    return failures


def unreadable(raw: bytes) -> list[Failure]:
    """Each known field is fine alone; what is left is a value somewhere that nobody can read."""
    try:
        msgspec.json.decode(raw)
    except UNREADABLE as e:
        return [Failure("json", "event", shown(raw), f"readable JSON ({_why(e)})")]
    return []


def _field_failures(known: _Fields, fields: dict[str, Raw], prefix: str) -> list[Failure]:
    failures = []
    for field in known:
        raw = bytes(fields.get(field.name, b""))
        if not raw or raw == b"null" or (field.required and raw == b'""'):
            if field.required:
                near = next(
                    (a for a, name in _ALIASES.items() if name == field.name and a in fields), None
                )
                hint = f" (there is `{near}`)" if near else ""
                wanted = f"{field.wanted}{hint}"
                failures.append(
                    Failure("missing", prefix + field.name, raw.decode() or "absent", wanted)
                )
            continue
        if failure := _value_failure(field, raw, prefix):
            failures.append(failure)
    return failures + _extra_failures(bytes(fields.get("extra", b"null")), prefix)


def _extra_failures(raw: bytes, prefix: str) -> list[Failure]:
    try:
        _decode_extra(raw)
    except UNREADABLE as e:
        if raw.startswith(b"{"):
            wanted = f"an object that can be read ({_why(e)})"
            return [Failure("json", f"{prefix}extra", shown(raw), wanted)]
        return [Failure("type", f"{prefix}extra", shown(raw), "an object")]
    return []


def _value_failure(field: _Field, raw: bytes, prefix: str) -> Failure | None:
    name = prefix + field.name
    try:
        value = field.decode(raw)
    except UNREADABLE as e:
        reason = "type" if _is_type_error(e) and field.reason in ("id", "value") else field.reason
        return Failure(reason, name, shown(raw), field.wanted)
    if isinstance(value, Decimal):
        if not well_written(raw):
            return Failure(field.reason, name, shown(raw), _WANTED_WRITTEN)
        if not _safely_usable(value):
            return Failure(field.reason, name, shown(raw), field.wanted)
    if field.reason == "id" and not usable_id(value):
        return Failure("id", name, shown(raw), field.wanted)
    if field.reason == "currency" and value not in CURRENCIES:
        return Failure("currency", name, shown(raw), field.wanted)
    return None


def _is_type_error(error: Exception) -> bool:
    return "length" not in str(error) and str(error).startswith("Expected")


def _safely_usable(value: Decimal) -> bool:
    try:
        return usable(value)
    except InvalidOperation:
        return False


def _time_failures(fields: dict[str, Raw], received_us: int, limits: Limits) -> list[Failure]:
    raw = bytes(fields.get("timestamp", b""))
    try:
        time = msgspec.json.decode(raw, type=datetime)
        at_us = micros(time) if time.tzinfo else received_us
    except (OverflowError, *UNREADABLE):
        return []
    if at_us > received_us + limits.future_us:
        wanted = f"at most {limits.future_us // 1_000_000} s ahead of its arrival"
        return [Failure("future", "timestamp", shown(raw), wanted)]
    if at_us < EARLIEST_US:
        return [Failure("timestamp", "timestamp", shown(raw), _WANTED_TIME)]
    return []


def _payload_failures(fields: dict[str, Raw]) -> list[Failure]:
    size = len(bytes(fields.get("payload", b"")))
    if size <= PAYLOAD_BYTES_MAX:
        return []
    return [Failure("too_large", "payload", f"{size} bytes", f"at most {PAYLOAD_BYTES_MAX} bytes")]


def _lines_failures(fields: dict[str, Raw]) -> list[Failure]:
    """What is wrong with the lines: of each, until so many failures are found that it is enough."""
    raw = bytes(fields.get("lines", b""))
    if not raw or raw == b"null":
        return [Failure("lines", "lines", raw.decode() or "absent", "at least one line")]
    try:
        lines = _decode_raw_lines(raw)
    except UNREADABLE:
        return [Failure("type", "lines", shown(raw), "a list of lines")]
    if not 0 < len(lines) <= LINES_MAX:
        return [Failure("lines", "lines", f"{len(lines)} lines", f"1 to {LINES_MAX} lines")]
    found: list[Failure] = []
    for n, line in enumerate(lines):
        if len(found) >= LINES_FAILURES_MAX:
            here = f"{len(lines) - n} more of {len(lines)} lines"
            return [*found, Failure("lines", "lines", here, "looked at when these are mended")]
        found += line_failures(bytes(line), f"lines[{n}]")
    return found


def _total_failures(raw: bytes, known: list[Failure], limits: Limits) -> list[Failure]:
    """Whether an order's amount is its sum, judged where nothing is wrong with what is summed."""
    if any(f.field == "lines" or _SUMMED.fullmatch(f.field) for f in known):
        return []
    try:
        order = _decode_summed(raw)
    except UNREADABLE:
        return []
    round_amounts(order)
    total = total_failure(order, limits)
    return [total] if total else []


def line_failures(raw: bytes, prefix: str) -> list[Failure]:
    """What is wrong with one order line; its quantity is judged before its price."""
    try:
        fields = _decode_fields(raw)
    except UNREADABLE:
        return [Failure("type", prefix, shown(raw), "an order line, a JSON object")]
    failures = _field_failures(_FIELDS[OrderLine], fields, f"{prefix}.")
    if not any(f.field == f"{prefix}.unit_price" for f in failures):
        price = msgspec.json.decode(bytes(fields["unit_price"]), type=Decimal)
        if settled_amount(price) <= 0:
            raw_price = shown(bytes(fields["unit_price"]))
            wanted = "above 0" if price <= 0 else "above 0 when rounded to 4 decimals"
            failures.append(Failure("price", f"{prefix}.unit_price", raw_price, wanted))
    return failures


def _why(error: Exception) -> str:
    return str(error).split(" - at ")[0][:SHOWN_CHARS_MAX]


def shown(raw: bytes, chars_max: int = SHOWN_CHARS_MAX) -> str:
    """What stood there, as a person may read it on a terminal: bounded, nothing unprintable."""
    text = raw[: chars_max * 4].decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
