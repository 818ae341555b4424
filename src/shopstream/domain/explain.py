"""Why a user was or was not made an offer: the history folded again, with a word on every step."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from shopstream.domain.carts import UNNAMED, Cart
from shopstream.domain.counting import counted_within
from shopstream.domain.decision import last_blocked, refusal, since, time_of, us_of
from shopstream.domain.durations import show_us
from shopstream.domain.idling import waiting_on, was_offered, worth_less
from shopstream.domain.rule import Rule, key_of, unmet
from shopstream.domain.shoppers import Shopper
from shopstream.events import Click, Offer

Outcome: TypeAlias = Literal["made", "held_out", "waiting", "not_made"]
Advance: TypeAlias = Callable[[Shopper, Click, str, int, bool], None]
"""Takes an event, and the offers it made, into a shopper."""

KEYS_SHOWN_MAX = 20
"""Keys without an offer that are explained per rule, the newest."""


class Explanation(Struct, frozen=True, kw_only=True):
    """What one rule came to for one key: `at` is the event time, `text` says why."""

    rule: str
    version: int
    key: str
    outcome: Outcome
    at: datetime
    text: str


class _Story:
    """What is known so far: per rule and key the latest reason why there was no offer."""

    def __init__(self, rules: tuple[Rule, ...], slots: dict[str, int]) -> None:
        self.rules = rules
        self.slots = slots
        self.reasons: dict[tuple[str, str], Explanation] = {}

    def say(self, rule: Rule, key: str, at_us: int, text: str, outcome: Outcome) -> None:
        self.reasons.pop((rule.name, key), None)
        self.reasons[rule.name, key] = Explanation(
            rule=rule.name,
            version=rule.version,
            key=key,
            outcome=outcome,
            at=time_of(at_us),
            text=text,
        )

    def counted(self, shopper: Shopper, rule: Rule, click: Click, at_us: int) -> None:
        """Why this event, just taken in, made no offer of a rule that counts."""
        key = key_of(rule.same, click)
        if key is None:
            text = f"{click.event_type} names no {rule.same}"
        else:
            text = (
                unmet(rule, click)
                or self._too_few(shopper, rule, key, at_us)
                or _forbidden(shopper, rule, key, since(rule, at_us), at_us)
                or _nothing_forbids(rule)
            )
        self.say(rule, key or "", at_us, text, "not_made")

    def _too_few(self, shopper: Shopper, rule: Rule, key: str, at_us: int) -> str | None:
        if rule.count == 1:
            return None
        counted = counted_within(shopper, rule, self.slots[rule.name], key, at_us)
        if counted >= rule.count:
            return None
        within = f" within {show_us(rule.within_us)}" if rule.within_us else ""
        of = f" of {rule.same} {key}" if key else ""
        return f"{counted} of {rule.count} {' or '.join(rule.on)}{of}{within}"

    def idle(self, shopper: Shopper, rule: Rule, key: str, now_us: int) -> None:
        """How the wait of an idle rule for this key stands at the end of the history."""
        waiting = waiting_on(shopper, rule, key)
        if waiting is None or was_offered(waiting, rule.name):
            return
        due_us = waiting.touched_us + (rule.idle_us or 0)
        if isinstance(waiting, Cart) and worth_less(waiting, rule):
            text = f"the cart is worth less than {rule.min_value:f}"
        else:
            text = _forbidden(shopper, rule, key, waiting.began_us, due_us) or ""
        if text:
            self.say(rule, key, waiting.touched_us, text, "not_made")
        elif due_us > now_us:
            self.say(rule, key, waiting.touched_us, f"fires at {_show(due_us)}", "waiting")
        else:
            text = f"was due at {_show(due_us)}: {_nothing_forbids(rule)}"
            self.say(rule, key, waiting.touched_us, text, "not_made")


def explain_history(
    rules: tuple[Rule, ...],
    slots: dict[str, int],
    advance: Advance,
    events: Iterable[tuple[Click, str, int, bool]],
    offers: Iterable[Offer],
    now_us: int,
) -> list[Explanation]:
    """What each rule came to for each key, in the order of the rules, newest first.

    Offers are told as they were made, with the rules of then; why there was none is told with
    the rules of now.
    """
    story = _Story(rules, slots)
    made = list(offers)
    triggers = {(offer.rule, offer.trigger) for offer in made}
    shopper = Shopper()
    for click, event_id, at_us, historical in events:
        open_carts = dict(shopper.carts or {})
        advance(shopper, click, event_id, at_us, historical)
        for rule in rules:
            if rule.idle_us is not None:
                _tell_idle_event(story, shopper, rule, click, at_us, open_carts)
            elif click.event_type in rule.on:
                if (rule.name, event_id) in triggers:
                    story.reasons.pop((rule.name, key_of(rule.same, click) or ""), None)
                else:
                    story.counted(shopper, rule, click, at_us)
    for rule in rules:
        if rule.idle_us is not None:
            for key in _waited_on(shopper, rule):
                story.idle(shopper, rule, key, now_us)
    return _in_order(rules, [_told(offer, now_us) for offer in made], story.reasons.values())


def _tell_idle_event(
    story: _Story,
    shopper: Shopper,
    rule: Rule,
    click: Click,
    at_us: int,
    open_carts: dict[str, Cart],
) -> None:
    if click.event_type in rule.on and (why := unmet(rule, click)):
        story.say(rule, key_of(rule.same, click) or "", at_us, why, "not_made")
    if rule.same != "cart":
        return
    for key, cart in open_carts.items():
        if key not in (shopper.carts or {}) and not was_offered(cart, rule.name):
            ended = "bought" if click.event_type == "purchase" else "emptied"
            story.say(rule, key, at_us, f"cart {ended} at {_show(at_us)}", "not_made")
    if click.event_type == "add_to_cart" and (click.cart_id or UNNAMED) not in (
        shopper.carts or {}
    ):
        text = "put into the cart before a purchase that arrived earlier"
        story.say(rule, click.cart_id or UNNAMED, at_us, text, "not_made")


def _waited_on(shopper: Shopper, rule: Rule) -> list[str]:
    if rule.same == "cart":
        return list(shopper.carts or {})
    return [key for name, key in shopper.idles or {} if name == rule.name]


def _forbidden(shopper: Shopper, rule: Rule, key: str, since_us: int, at_us: int) -> str | None:
    """What forbids an offer at `at_us`, by the same questions that making one asks."""
    made = (shopper.made or {}).get(rule.name, [])
    match refusal(shopper, rule, at_us):
        case "cooldown":
            near = min(made, key=lambda t: abs(t - at_us))
            return f"cooldown until {_show(near + rule.cooldown_us)}"
        case "cap_per_user":
            return f"cap of {rule.cap_per_user} a user reached"
        case "cap_per_user_per_day":
            return f"cap of {rule.cap_per_user_per_day} a day reached"
    if (blocked_us := last_blocked(shopper, rule, key)) >= since_us:
        return f"{' or '.join(rule.without)} at {_show(blocked_us)}"
    return None


def _nothing_forbids(rule: Rule) -> str:
    if rule.budget_per_day is not None:
        return f"budget of {rule.budget_per_day} a day spent"
    return "no offer was recorded; it was decided under other rules or is still to be"


def _told(offer: Offer, now_us: int) -> Explanation:
    ends = "expired" if us_of(offer.expires_at) <= now_us else "expires"
    notes = [offer.reason, f"{ends} {_show(us_of(offer.expires_at))}"]
    notes += ["control group, not delivered"] * offer.held_out
    notes += ["history, not delivered"] * offer.historical
    notes += ["moot: bought since"] * offer.moot
    return Explanation(
        rule=offer.rule,
        version=offer.version,
        key=offer.key,
        outcome="held_out" if offer.held_out else "made",
        at=offer.made_at,
        text="; ".join(notes),
    )


def _in_order(
    rules: tuple[Rule, ...], told: list[Explanation], reasons: Iterable[Explanation]
) -> list[Explanation]:
    place = {rule.name: number for number, rule in enumerate(rules)}
    per_rule: dict[str, list[Explanation]] = {}
    for reason in reasons:
        per_rule.setdefault(reason.rule, []).append(reason)
    for of_rule in per_rule.values():
        told += sorted(of_rule, key=lambda e: e.at, reverse=True)[:KEYS_SHOWN_MAX]
    told.sort(key=lambda e: (e.at, e.key), reverse=True)
    return sorted(told, key=lambda e: (place.get(e.rule, len(place)), e.rule))


def _show(us: int) -> str:
    return time_of(us).isoformat(timespec="seconds").replace("+00:00", "Z")
