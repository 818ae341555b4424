"""Whether a rule that was triggered makes its offer, and the offer made."""

from bisect import insort
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Literal, TypeAlias

import msgspec

from shopstream.domain.durations import DAY_US
from shopstream.domain.rule import Rule
from shopstream.domain.shoppers import NEVER, OFFERS_MAX, Budget, Shopper
from shopstream.events import Click, Offer

Refusal: TypeAlias = Literal["cooldown", "cap_per_user", "cap_per_user_per_day"]

HOLDOUT_PARTS = 10_000
CAP_MAX = 10_000
"""Largest cap per user: as many times of offers are kept per rule."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def time_of(us: int) -> datetime:
    """Microseconds since 1970 as a time; the last representable one when later than that."""
    seconds, part = divmod(min(us, _LATEST_US), 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=part)


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
    latest = NEVER
    if shopper.blocked is not None:
        get = shopper.blocked.get
        for type in rule.without:
            for whose in (key, None):
                if (at_us := get((type, rule.same, whose), NEVER)) > latest:
                    latest = at_us
    return latest


def since(rule: Rule, at_us: int) -> int:
    """From when on an event that the rule is `without` forbids an offer at `at_us`.

    One after `at_us`, which happens when events arrive late, forbids it too.
    """
    # NEVER itself is what `last_blocked` says when there was none.
    return NEVER + 1 if rule.within_us is None else at_us - rule.within_us


def refusal(shopper: Shopper, rule: Rule, at_us: int) -> Refusal | None:
    """Why the rule makes this user no offer at this time, by what it has already made."""
    made = shopper.made.get(rule.name) if shopper.made else None
    if not made:
        return None
    cooldown_us = rule.cooldown_us
    if cooldown_us:
        if abs(at_us - made[-1]) < cooldown_us:
            return "cooldown"
        if at_us < made[-1] and any(abs(at_us - t) < cooldown_us for t in made):
            return "cooldown"
    if rule.cap_per_user is not None and len(made) >= rule.cap_per_user:
        return "cap_per_user"
    if rule.cap_per_user_per_day is not None:
        day = at_us // DAY_US
        if sum(t // DAY_US == day for t in made) >= rule.cap_per_user_per_day:
            return "cap_per_user_per_day"
    return None


def permitted(
    shopper: Shopper, rule: Rule, key: str, since_us: int, at_us: int, budget: Budget
) -> bool:
    """Whether a rule that is set off makes its offer: not refused, not blocked at or after
    `since_us`, and within its budget, which is asked last so that nothing is taken from it in vain.
    """
    if shopper.made is not None and refusal(shopper, rule, at_us) is not None:
        return False
    if shopper.blocked is not None and last_blocked(shopper, rule, key) >= since_us:
        return False
    return rule.budget_per_day is None or budget.take(
        rule.name, at_us // DAY_US, rule.budget_per_day
    )


def make_offer(
    rule: Rule,
    user_id: str,
    key: str,
    event_id: str,
    made_at: datetime,
    historical: bool,
    reason: str,
    product_id: str | None,
    category: str | None,
    cart_id: str | None,
    session_id: str | None,
) -> Offer:
    """The offer of `rule` set off by an event. The last four say what it is about."""
    out = bool(rule.holdout) and held_out(rule, user_id)
    gift = rule.gift
    try:
        expires_at = made_at + gift.expires
    except OverflowError:
        expires_at = time_of(_LATEST_US)
    return Offer(
        offer_id=offer_id(rule.name, rule.version, user_id, key, event_id),
        rule=rule.name,
        version=rule.version,
        user_id=user_id,
        key=key,
        trigger=event_id,
        product_id=product_id,
        category=category,
        cart_id=cart_id,
        session_id=session_id,
        percent=gift.percent,
        amount=gift.amount,
        currency=gift.currency,
        reason=reason,
        made_at=made_at,
        expires_at=expires_at,
        delivered=not out and not historical,
        held_out=out,
        historical=historical,
    )


def note(shopper: Shopper, offer: Offer, made_us: int) -> None:
    """Remember an offer made; of many, only the newest OFFERS_MAX matter."""
    if shopper.offers is None or shopper.made is None:
        shopper.offers, shopper.made = {}, {}
    shopper.offers[offer.offer_id] = offer
    if len(shopper.offers) >= 2 * OFFERS_MAX:
        shopper.offers = {offer.offer_id: offer for offer in _newest(shopper.offers)}
    made = shopper.made.get(offer.rule)
    if made is None:
        shopper.made[offer.rule] = [made_us]
        return
    insort(made, made_us)
    if len(made) > CAP_MAX:
        del made[0]


def _newest(offers: Mapping[str, Offer]) -> Iterable[Offer]:
    """The newest OFFERS_MAX, whatever order they came in."""
    if len(offers) <= OFFERS_MAX:
        return offers.values()
    return sorted(offers.values(), key=lambda o: (o.made_at, o.offer_id))[-OFFERS_MAX:]


def withdraw(offers: Mapping[str, Offer], click: Click) -> list[Offer]:
    """The offers that a purchase makes moot, marked in place: those not expired by then about
    what was bought. A purchase that doesn't say what was bought is taken to be of everything.
    """
    at = click.timestamp
    bought = []
    for offer in _newest(offers):
        if not offer.moot and offer.expires_at > at and _concerns(offer, click):
            offer.moot = True
            bought.append(offer)
    bought.sort(key=lambda offer: offer.offer_id)
    return bought


def _concerns(offer: Offer, click: Click) -> bool:
    if offer.product_id is not None:
        return click.product_id in (None, offer.product_id)
    if offer.category is not None:
        return click.category in (None, offer.category)
    return offer.cart_id is None or click.cart_id in (None, offer.cart_id)
