"""From a cell of a file to the value of a field: text, decimals, whole numbers, flags, times.

What can't be read as its type is passed on as it stands, so that validation names what is wrong
with it; nothing is judged here.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from shopstream.mapping import FieldRule

Reader = Callable[[Any], Any]

_ABSENT_TEXTS = ("", None)
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_FLAGS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n"), False),
}
_DATE_AND_TIME: Final = "%Y-%m-%d %H:%M:%S"
_EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES_CACHED_MAX = 100_000


class Absent(msgspec.Struct, frozen=True):
    """Says that a field is to be left out."""


ABSENT = Absent()


class Clock:
    """How far event time has come, in microseconds; times after `limit_us` don't count, because
    validation will reject them as lying in the future.
    """

    def __init__(self, limit_us: int) -> None:
        self.latest_us = 0
        self._limit_us = limit_us

    def saw(self, at_us: int) -> None:
        if self.latest_us < at_us <= self._limit_us:
            self.latest_us = at_us


def reader_of(rule: FieldRule, clock: Clock) -> Reader:
    """The function that makes a field's value, or ABSENT, of a cell."""
    if not rule.column:
        constant = rule.constant
        if rule.type == "time":
            constant = _time_reader(rule, clock)(str(constant))
        return lambda _cell: constant
    read = _typed(rule, clock)
    empty = rule.default if rule.default is not None else ABSENT
    if empty is ABSENT and rule.when_empty == "keep":
        empty = ""
    suffix, values = rule.strip_suffix, rule.values
    if rule.type == "text" and not suffix and not values:
        return lambda cell: empty if cell in _ABSENT_TEXTS else read(cell)

    def value_of(cell: Any) -> Any:
        if cell in _ABSENT_TEXTS:
            return empty
        if suffix:
            cell = str(cell).removesuffix(suffix)
        if values and str(cell) in values:
            cell = values[str(cell)]
        return read(cell)

    return value_of


def negated(value: Any) -> Any:
    """A number with its sign turned; what is no number stays as it is."""
    if isinstance(value, msgspec.Raw):
        text = bytes(value)
        return msgspec.Raw(text[1:] if text.startswith(b"-") else b"-" + text)
    return -value if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def _typed(rule: FieldRule, clock: Clock) -> Reader:
    match rule.type:
        case "decimal":
            return _decimal_reader(rule.decimal_mark)
        case "integer":
            return _read_whole
        case "flag":
            return _read_flag
        case "time":
            return _time_reader(rule, clock)
        case _:
            return _read_text


def _read_text(cell: Any) -> Any:
    if isinstance(cell, str | dict | list | bool):
        return cell
    return cell.isoformat() if isinstance(cell, datetime) else str(cell)


def _decimal_reader(mark: str) -> Reader:
    def read(cell: Any) -> Any:
        if not isinstance(cell, str):
            # A float's shortest text is what its writer saw.
            return Decimal(str(cell)) if isinstance(cell, float) else cell
        text = cell.strip()
        if mark != ".":
            text = text.replace(mark, ".") if "." not in text else text
        return msgspec.Raw(text.encode()) if _NUMBER.fullmatch(text) else cell

    return read


def _read_whole(cell: Any) -> Any:
    if isinstance(cell, str):
        text = cell.strip()
        return int(text) if _WHOLE.fullmatch(text) else cell
    if isinstance(cell, float | Decimal):
        try:
            whole = int(cell)
        except (ValueError, OverflowError):
            return cell
        return whole if whole == cell else cell
    return cell


def _read_flag(cell: Any) -> Any:
    return _FLAGS.get(str(cell).strip().lower(), cell)


def _time_reader(rule: FieldRule, clock: Clock) -> Reader:
    """Times as RFC 3339 in UTC. Rows of one second share their text, so few are parsed."""
    zone, form = ZoneInfo(rule.timezone), rule.format
    cache: dict[Any, Any] = {}

    def read(cell: Any) -> Any:
        if isinstance(cell, dict | list):
            return cell
        known = cache.get(cell)
        if known is not None:
            return known
        try:
            time = _parsed(cell, form)
            time = (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
        except (ValueError, ArithmeticError):
            return cell
        clock.saw((time - _EPOCH) // timedelta(microseconds=1))
        if len(cache) >= _TIMES_CACHED_MAX:
            cache.clear()
        text = cache[cell] = time.isoformat().replace("+00:00", "Z")
        return text

    return read


def _parsed(cell: Any, form: str) -> datetime:
    if isinstance(cell, datetime):
        return cell
    if form in _EPOCHS:
        return _EPOCH + timedelta(microseconds=int(Decimal(str(cell)) * _EPOCHS[form]))
    text = str(cell).strip()
    if form == "iso":
        return datetime.fromisoformat(text)
    if form == _DATE_AND_TIME and len(text) == 19 and text[10] == " " and text.isascii():
        return datetime.fromisoformat(text)
    return datetime.strptime(text, form)  # noqa: DTZ007 (the mapping's time zone is set after)
