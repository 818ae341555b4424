"""Every key of a rules file, once: its meaning for the reference, its check for the parser."""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple, get_args

from shopstream.domain.currencies import CURRENCIES
from shopstream.domain.decision import CAP_MAX
from shopstream.domain.durations import duration_us
from shopstream.domain.rule import Same
from shopstream.events import DeviceType, EventType, UserType

COUNT_MAX = 100
BUDGET_MAX = 10**12
REQUIRED = "required"

_NAME = re.compile(r"[a-z0-9-]{1,64}")


class Key(NamedTuple):
    """A key as a user writes it. `read` turns a TOML value into the field's, or raises ValueError
    (whose text, if any, replaces "is not `wanted`"). `field` is the name inside, if another.
    """

    name: str
    wanted: str
    default: str
    help: str
    read: Callable[[Any], Any]
    field: str = ""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError
    return value


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError
        return value

    return read


def _number(value: Any) -> Decimal:
    if type(value) not in (int, Decimal) or not (number := Decimal(value)).is_finite():
        raise ValueError
    if number.adjusted() > 15:
        raise ValueError
    return number


def _amount(value: Any) -> Decimal:
    if (number := _number(value)) <= 0:
        raise ValueError
    return number


def _worth(value: Any) -> Decimal:
    if (number := _number(value)) < 0:
        raise ValueError
    return number


def _percent(value: Any) -> Decimal:
    if not 0 < (number := _number(value)) <= 100:
        raise ValueError
    return number


def _share(value: Any) -> Decimal:
    if not 0 <= (number := _number(value)) <= 1:
        raise ValueError
    return number


def _duration(value: Any) -> int:
    return duration_us(_text(value))


def _positive_duration(value: Any) -> int:
    if (us := _duration(value)) == 0:
        raise ValueError
    return us


def _lifetime(value: Any) -> timedelta:
    return timedelta(microseconds=_positive_duration(value))


def _one_of(words: Iterable[str]) -> Callable[[Any], str]:
    allowed = tuple(words)

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError
        return value

    return read


def _some_of(words: Iterable[str], least: int = 1) -> Callable[[Any], tuple[str, ...]]:
    allowed = tuple(words)

    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) < least:
            raise ValueError
        for word in value:
            if not isinstance(word, str) or word not in allowed:
                raise ValueError
        return tuple(dict.fromkeys(value))

    return read


def _currency(value: Any) -> str:
    if not isinstance(value, str) or value not in CURRENCIES:
        raise ValueError
    return value


def _words(literal: Any) -> str:
    return ", ".join(get_args(literal))


_EVENTS = f"a list of: {_words(EventType)}"
_DURATION = "a duration such as 90s, 30m, 24h or 7d"
_CAP = _whole(1, CAP_MAX)

RULE_KEYS: tuple[Key, ...] = (
    Key(
        "name",
        "a unique name of 1 to 64 of a-z, 0-9 and -",
        REQUIRED,
        "What the rule is called.",
        _name,
    ),
    Key(
        "version",
        "a whole number from 1",
        "1",
        "Raise it when you change what the rule means: users are drawn for the holdout anew.",
        _whole(1, 10**9),
    ),
    Key(
        "on",
        _EVENTS,
        REQUIRED,
        "The events counted, or those that begin the wait of an `idle` rule.",
        _some_of(get_args(EventType)),
    ),
    Key(
        "count",
        f"a whole number from 1 to {COUNT_MAX}",
        "1",
        "How many of them make the offer. After it the count starts again.",
        _whole(1, COUNT_MAX),
    ),
    Key(
        "same",
        f"one of: {_words(Same)}",
        "any",
        "What the events counted must have in common. An event that doesn't say it isn't counted; "
        "events without a `cart_id` are of the user's one unnamed cart.",
        _one_of(get_args(Same)),
    ),
    Key(
        "within",
        _DURATION,
        "no limit",
        "How close together the events counted must be, and how far back `without` looks.",
        _positive_duration,
        "within_us",
    ),
    Key(
        "idle",
        _DURATION,
        "none",
        "Instead of a count: make the offer when nothing has happened for this long after the last "
        "activity, once for each cart (or product, category, session).",
        _positive_duration,
        "idle_us",
    ),
    Key(
        "without",
        _EVENTS,
        "none",
        "No offer when one of these happened with the same product, category, session or cart (or "
        "without saying which) inside `within`; for an `idle` rule, since its first activity.",
        _some_of(get_args(EventType), 0),
    ),
    Key(
        "min_value",
        "a number from 0",
        "none",
        "Events worth less (price x quantity, in their own currency) or without a price don't "
        'count. With `idle` and `same = "cart"`: what the cart must be worth.',
        _worth,
    ),
    Key("who", "a table", "everyone", "Whose events count; see below.", lambda value: value),
    Key("offer", "a table", REQUIRED, "What it gives; see below.", lambda value: value, "gift"),
    Key(
        "cooldown",
        _DURATION,
        "0s",
        "How long after an offer of this rule a user gets no other of it.",
        _duration,
        "cooldown_us",
    ),
    Key(
        "cap_per_user",
        f"a whole number from 1 to {CAP_MAX}",
        "no limit",
        "Most offers of this rule that a user ever gets, as far back as offers are kept.",
        _CAP,
    ),
    Key(
        "cap_per_user_per_day",
        f"a whole number from 1 to {CAP_MAX}",
        "no limit",
        "Most offers of this rule that a user gets in a day (UTC).",
        _CAP,
    ),
    Key(
        "budget_per_day",
        "a whole number from 1",
        "no limit",
        "Most offers of this rule in a day (UTC), over all users.",
        _whole(1, BUDGET_MAX),
    ),
    Key(
        "holdout",
        "a number from 0 to 1",
        "0",
        "Share of users whose offers are recorded and not delivered, to compare with. They count "
        "for cooldown, caps and budget as delivered ones do.",
        _share,
    ),
)

WHO_KEYS: tuple[Key, ...] = (
    Key(
        "user_type",
        f"a list of: {_words(UserType)}",
        "any",
        "Types of user.",
        _some_of(get_args(UserType)),
    ),
    Key(
        "device_type",
        f"a list of: {_words(DeviceType)}",
        "any",
        "Types of device.",
        _some_of(get_args(DeviceType)),
    ),
    Key(
        "consent",
        "the name of a consent",
        "none",
        "A consent that the event must carry as true.",
        _text,
    ),
)

OFFER_KEYS: tuple[Key, ...] = (
    Key("percent", "a number above 0, at most 100", "this or `amount`", "Percent off.", _percent),
    Key("amount", "a number above 0", "this or `percent`", "Amount off, in `currency`.", _amount),
    Key(
        "currency",
        "an ISO 4217 code such as EUR",
        "required with `amount`",
        "Currency of `amount`.",
        _currency,
    ),
    Key(
        "expires",
        _DURATION,
        REQUIRED,
        "How long the offer holds.",
        _lifetime,
    ),
)
