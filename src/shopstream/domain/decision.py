"""Whether a rule that was triggered makes its offer, and the offer made."""

from bisect import insort
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from shopstream.domain.durations import DAY_US
from shopstream.domain.rule import Rule
from shopstream.domain.shoppers import KEYS_MAX, NEVER, Budget, Shopper
from shopstream.events import Click, Offer

Refusal: TypeAlias = Literal["cooldown", "cap_per_user", "cap_per_user_per_day"]

HOLDOUT_PARTS = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


class Trigger(NamedTuple):
    """What set a rule off. `event_id` is of the event, or of the one that began what fell idle."""

    rule: Rule
    user_id: str
    key: str
    event_id: str
    at_us: int
    historical: bool
    reason: str
    product_id: str | None = None
    category: str | None = None
    cart_id: str | None = None
    session_id: str | None = None


def time_of(us: int) -> datetime:
    """Microseconds since 1970 as a time; the last representable one when later than that."""
    return _EPOCH + timedelta(microseconds=min(us, _LATEST_US))


def us_of(time: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def offer_id(rule: str, version: int, user_id: str, key: str, event_id: str) -> str:
    """The id of the one offer that a trigger can make: 32 hex digits, the same everywhere."""
    # JSON keeps the parts apart whatever characters they hold.
    parts = msgspec.json.encode((rule, version, user_id, key, event_id))
    return blake2b(parts, digest_size=16).hexdigest()


def held_out(rule: Rule, user_id: str) -> bool:
    """Whether this user is in the control group of this version of the rule."""
    if not rule.holdout:
        return False
    digest = blake2b(msgspec.json.encode((rule.name, rule.version, user_id)), digest_size=8)
    return int.from_bytes(digest.digest(), "big") % HOLDOUT_PARTS < rule.holdout * HOLDOUT_PARTS


def last_blocked(shopper: Shopper, rule: Rule, key: str) -> int:
    """When the latest event happened that `rule` is `without`, for this key or for any."""
    if not shopper.blocked or not rule.without:
        return NEVER
    get = shopper.blocked.get
    return max(
        max(get((type, rule.same, key), NEVER), get((type, rule.same, None), NEVER))
        for type in rule.without
    )


def refusal(shopper: Shopper, rule: Rule, at_us: int) -> Refusal | None:
    """Why the rule makes this user no offer at this time, by what it has already made."""
    made = shopper.made.get(rule.name) if shopper.made else None
    if not made:
        return None
    if rule.cooldown_us and any(abs(at_us - t) < rule.cooldown_us for t in made):
        return "cooldown"
    if rule.cap_per_user is not None and len(made) >= rule.cap_per_user:
        return "cap_per_user"
    if rule.cap_per_user_per_day is not None:
        day = at_us // DAY_US
        if sum(t // DAY_US == day for t in made) >= rule.cap_per_user_per_day:
            return "cap_per_user_per_day"
    return None


def decide(shopper: Shopper, trigger: Trigger, budget: Budget) -> Offer | None:
    """The offer that this trigger makes, noted in `shopper`; None when something forbids it.

    The budget is asked last, so nothing is taken from it for an offer that is not made.
    """
    rule = trigger.rule
    if refusal(shopper, rule, trigger.at_us):
        return None
    if rule.budget_per_day is not None and not budget.take(
        rule.name, trigger.at_us // DAY_US, rule.budget_per_day
    ):
        return None
    offer = _make(trigger)
    note(shopper, offer, trigger.at_us)
    return offer


def _make(trigger: Trigger) -> Offer:
    rule = trigger.rule
    out = held_out(rule, trigger.user_id)
    return Offer(
        offer_id=offer_id(rule.name, rule.version, trigger.user_id, trigger.key, trigger.event_id),
        rule=rule.name,
        version=rule.version,
        user_id=trigger.user_id,
        key=trigger.key,
        trigger=trigger.event_id,
        product_id=trigger.product_id,
        category=trigger.category,
        cart_id=trigger.cart_id,
        session_id=trigger.session_id,
        percent=rule.gift.percent,
        amount=rule.gift.amount,
        currency=rule.gift.currency,
        reason=trigger.reason,
        made_at=time_of(trigger.at_us),
        expires_at=time_of(trigger.at_us + rule.gift.expires_us),
        delivered=not out and not trigger.historical,
        held_out=out,
        historical=trigger.historical,
    )


def note(shopper: Shopper, offer: Offer, made_us: int) -> None:
    """Remember an offer made; past KEYS_MAX of them the oldest are forgotten."""
    if shopper.offers is None or shopper.made is None:
        shopper.offers, shopper.made = {}, {}
    shopper.offers[offer.offer_id] = offer
    if len(shopper.offers) > KEYS_MAX:
        oldest = min(shopper.offers.values(), key=lambda o: (o.made_at, o.offer_id))
        del shopper.offers[oldest.offer_id]
    made = shopper.made.setdefault(offer.rule, [])
    insort(made, made_us)
    if len(made) > CAP_MAX:
        del made[0]


CAP_MAX = 10_000
"""Largest cap per user: as many times of offers are kept per rule."""


def withdraw(offers: Mapping[str, Offer], click: Click, at_us: int) -> list[Offer]:
    """The offers that a purchase makes moot, marked in place: those not expired by then about
    what was bought. A purchase that doesn't say what was bought is taken to be of everything.
    """
    at = time_of(at_us)
    bought = []
    for offer in offers.values():
        if not offer.moot and offer.expires_at > at and _concerns(offer, click):
            offer.moot = True
            bought.append(offer)
    return bought


def _concerns(offer: Offer, click: Click) -> bool:
    if offer.product_id is not None:
        return click.product_id in (None, offer.product_id)
    if offer.category is not None:
        return click.category in (None, offer.category)
    return offer.cart_id is None or click.cart_id in (None, offer.cart_id)
