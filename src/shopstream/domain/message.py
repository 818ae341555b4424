"""A message in another dialect: taken apart without losing a digit, and put together as ours.

Numbers with a fraction are read as decimals and written as the same decimals, never as floats.
Nothing here knows what a message means; that is in `segment`, `ga4` and `ecommerce`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from shopstream.domain.failures import AMOUNT_TEXT, COPIES_MAX, UNREADABLE, shown
from shopstream.errors import ShopstreamError
from shopstream.events import Failure, Topic

Object: TypeAlias = dict[str, Any]
"""A JSON object; its fractions are Decimals."""

FAULTS_MAX = 100
"""Faults of one list's elements that are told one by one."""
SMALL_BYTES = 32 * 1024
"""A smaller message may be made into as much as one of this size: many small products, each with
the page and the referrer, come to more than COPIES_MAX times what was sent.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNREADABLE = (ArithmeticError, *UNREADABLE)
"""ArithmeticError: a number whose exponent is too large for a Decimal."""

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Unreadable(ShopstreamError):
    """A message that cannot be told in our events, with all that is wrong with it."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__("; ".join(f.message for f in failures[:FAULTS_MAX]))
        self.failures = failures


def read_object(raw: bytes, field: str = "event") -> Object:
    """The JSON object in `raw`; raises Unreadable naming `field`."""
    try:
        found = _decode(raw)
    except UnicodeDecodeError:
        raise Unreadable([Failure("encoding", field, shown(raw), "UTF-8")]) from None
    except RecursionError:
        raise Unreadable([_too_deep(field, shown(raw))]) from None
    except _UNREADABLE as e:
        why = str(e).split(" - at ")[0] if isinstance(e, msgspec.MsgspecError) else "a number"
        wanted = f"a readable JSON object ({why})"
        raise Unreadable([Failure("json", field, shown(raw), wanted)]) from None
    if type(found) is not dict:
        raise Unreadable([Failure("json", field, shown(raw), "a JSON object")])
    return found


def written(
    events: Iterable[tuple[Topic, Object]], raw: bytes, context: bytes
) -> list[tuple[Topic, bytes]]:
    """The events of the message `raw` as JSON; raises Unreadable where they are too deep, or repeat
    so much that they come to more than COPIES_MAX times the message and once its context.
    """
    most = COPIES_MAX * max(SMALL_BYTES, len(raw)) + len(context)
    made = []
    size = 0
    for topic, event in events:
        try:
            found = _encode(event)
        except RecursionError:
            raise Unreadable([_too_deep("event", "an object in objects")]) from None
        size += len(found)
        if size > most:
            wanted = f"a message of {len(raw)} bytes whose events come to at most {most}"
            raise Unreadable([Failure("too_large", "event", f"over {size} bytes", wanted)])
        made.append((topic, found))
    return made


def _too_deep(field: str, value: str) -> Failure:
    return Failure("json", field, value, "JSON of reasonable depth")


def fault(reason: str, field: str, value: Any, wanted: str) -> Failure:
    """A failure that shows `value` as it stood in the message, `absent` for None."""
    return Failure(reason, field, "absent" if value is None else _shown(value), wanted)


def _shown(value: Any) -> str:
    try:
        return shown(_encode(value))
    except RecursionError:
        return "an object in objects"


def object_at(parent: Object, name: str, path: str, failures: list[Failure]) -> Object:
    """Take the object `name` out of `parent`; {} when absent, and when it is none a failure."""
    found = parent.pop(name, None)
    if type(found) is dict:
        return found
    if found is not None:
        failures.append(fault("type", f"{path}{name}", found, "an object"))
    return {}


def objects_at(
    parent: Object, names: Iterable[str], path: str, failures: list[Failure]
) -> tuple[str, list[Object]]:
    """Take the first list of objects that `parent` has out of it: its name and elements.

    ("", []) when there is none or it is empty. What is no list of objects is a failure; an
    element that is no object is one too, and stands as {}.
    """
    for name in names:
        found = parent.get(name)
        if found is None or found == []:
            continue
        if type(found) is not list:
            failures.append(fault("type", f"{path}{name}", found, "a list of objects"))
            continue
        wrong = [n for n, element in enumerate(found) if type(element) is not dict]
        failures += [
            fault("type", f"{path}{name}[{n}]", found[n], "an object") for n in wrong[:FAULTS_MAX]
        ]
        if len(wrong) > FAULTS_MAX:
            more = f"{len(wrong) - FAULTS_MAX} more"
            failures.append(Failure("type", f"{path}{name}", more, "objects"))
        del parent[name]
        return name, [element if type(element) is dict else {} for element in found]
    return "", []


def take(source: Object, *names: str) -> Any:
    """Take the first of `names` that says something out of `source`; None when none does."""
    for name in names:
        value = source.get(name)
        if value is not None and value != "":
            del source[name]
            return value
    return None


def text_at(source: Object, name: str) -> str | None:
    """Take the text `name` out of `source`; what is no text stays there."""
    value = source.get(name)
    if type(value) is str and value:
        del source[name]
        return value
    return None


def id_text(value: Any) -> Any:
    """An id that was sent as a number, as text; anything else as it is."""
    return str(value) if type(value) is int or type(value) is Decimal else value


def id_at(source: Object, names: Iterable[str], path: str, failures: list[Failure]) -> Any:
    """Take the first id of `names` out of `source`; neither text nor number is a failure."""
    for name in names:
        value = source.pop(name, None)
        if value is None or value == "":
            continue
        found = id_text(value)
        if type(found) is not str:
            failures.append(fault("type", f"{path}{name}", value, "text or a number"))
        return found
    return None


def whole(value: Any) -> Any:
    """`2`, `2.0` and `"2"` as the integer 2; anything else as it is, for validation to judge."""
    number = whole_number(value)
    return value if number is None else number


def whole_number(value: Any) -> int | None:
    """`value` as an integer of at most 20 digits where it is one, also written as text."""
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= 20:
        return int(value)
    if type(value) is Decimal and abs(value.adjusted()) < 20 and value == int(value):
        return int(value)
    return value if type(value) is int else None


def amount_of(value: Any) -> Decimal | None:
    """A number, or text written as one, as a decimal that can be counted with; else None."""
    if type(value) is int or (type(value) is str and AMOUNT_TEXT.fullmatch(value)):
        try:
            value = Decimal(value)
        except ArithmeticError:
            return None
    if type(value) is Decimal and value.is_finite() and abs(value.adjusted()) < 20:
        return value
    return None


def consent_of(value: Any) -> dict[str, bool] | None:
    """`value` when it says yes or no to each purpose."""
    if type(value) is dict and value and all(type(v) is bool for v in value.values()):
        return value
    return None


def utc(at_us: int) -> datetime:
    """Microseconds since 1970 as a time; raises OverflowError beyond the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=at_us)


def time_of(value: Any) -> datetime | None:
    """An RFC 3339 time with a zone; None for anything else."""
    if type(value) is not str:
        return None
    try:
        found = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return None
    return found if found.tzinfo else None
