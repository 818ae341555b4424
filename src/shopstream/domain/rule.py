"""What an offer rule is, once read and checked. How it is written: `shopstream.domain.rules`."""

from datetime import timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from shopstream.events import Click, DeviceType, EventType, UserType

Same: TypeAlias = Literal["product", "category", "session", "cart", "any"]

CART_ACTIVITY: frozenset[str] = frozenset({"add_to_cart", "remove_from_cart", "begin_checkout"})


class Who(Struct, frozen=True, omit_defaults=True):
    """Whose events count. An empty tuple or None asks for nothing."""

    user_type: tuple[UserType, ...] = ()
    device_type: tuple[DeviceType, ...] = ()
    consent: str | None = None


class Gift(Struct, frozen=True, omit_defaults=True):
    """What the offer gives: a percentage or an amount of a currency, and for how long."""

    percent: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None
    expires: timedelta = timedelta()


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One offer rule. None is no limit."""

    name: str
    version: int = 1
    on: tuple[EventType, ...]
    count: int = 1
    same: Same = "any"
    within_us: int | None = None
    idle_us: int | None = None
    without: tuple[EventType, ...] = ()
    min_value: Decimal | None = None
    who: Who = Who()
    gift: Gift
    cooldown_us: int = 0
    cap_per_user: int | None = None
    cap_per_user_per_day: int | None = None
    budget_per_day: int | None = None
    holdout: Decimal = Decimal(0)

    @property
    def values_cart(self) -> bool:
        """Whether `min_value` asks for the worth of the cart rather than of the event."""
        return self.idle_us is not None and self.same == "cart"

    @property
    def least(self) -> Decimal | None:
        """The worth an event needs to count, if any."""
        return None if self.values_cart else self.min_value


def value_of(click: Click) -> Decimal | None:
    """Price x quantity (1 when absent), in the event's currency; None without a price."""
    if click.price is None or click.quantity is None:
        return click.price
    return click.price * click.quantity


def key_of(same: Same, click: Click) -> str | None:
    """What `same` compares in this event; None when the event does not say.

    The user's one cart without an id has the key `""`, which no id can be.
    """
    match same:
        case "product":
            return click.product_id
        case "category":
            return click.category
        case "session":
            return click.session_id
        case "cart":
            return click.cart_id or ""
        case "any":
            return ""


def unmet(rule: Rule, click: Click) -> str | None:
    """Why this event does not count for the rule by whose it is or its worth; None if it does."""
    who = rule.who
    if who.user_type and click.user_type not in who.user_type:
        return f"user is {click.user_type or 'of unknown type'}, rule wants {_any(who.user_type)}"
    if who.device_type and click.device_type not in who.device_type:
        return f"device is {click.device_type or 'unknown'}, rule wants {_any(who.device_type)}"
    if who.consent and not (click.consent or {}).get(who.consent):
        return f"consent {who.consent} missing"
    if rule.least is not None:
        value = value_of(click)
        if value is None or value < rule.least:
            worth = "unknown" if value is None else f"{value:f}"
            return f"value is {worth}, rule wants at least {rule.least:f}"
    return None


def _any(wanted: tuple[str, ...]) -> str:
    return " or ".join(wanted)


def canonical(rules: tuple[Rule, ...]) -> bytes:
    """The rules as bytes that change when any rule does."""
    return msgspec.json.encode(rules, order="deterministic")
