"""History + rules -> offers. Everything here is a function of its arguments.

`observe` takes one event into a user's state and says which offers it makes; `restore` folds the
same state from stored events; `fire` answers a timer. The three agree: a shopper restored from
any beginning of a history goes on as one that was observed all along.
"""

from collections.abc import Callable, Iterable
from datetime import UTC
from functools import partial
from hashlib import blake2b
from typing import Any, TypeAlias, get_args

from shopstream.domain.carts import Cart
from shopstream.domain.counting import Counter, counter, start_again
from shopstream.domain.decision import (
    make_offer,
    note,
    permitted,
    since,
    time_of,
    us_of,
    withdraw,
)
from shopstream.domain.durations import DURATION_US_MAX, show_us
from shopstream.domain.explain import Explanation, explain_history
from shopstream.domain.idling import (
    CartRule,
    Effect,
    blocking_effect,
    cart_effect,
    idle_effect,
    mark_offered,
    purchase_effect,
    waiting_on,
    was_offered,
    worth_less,
)
from shopstream.domain.rule import CART_ACTIVITY, Rule, canonical
from shopstream.domain.shoppers import Budget, Idle, Shopper, Timer, no_timer
from shopstream.events import Click, EventType, Offer

__all__ = ["Budget", "History", "RuleSet", "Shopper", "Timer"]

History: TypeAlias = Iterable[tuple[Click, str, int, bool]]
"""Stored events of one user in order: (event, its id, its time, historical)."""


class Counting:
    """A rule that counts, made ready: how it counts, and the offer it makes."""

    __slots__ = (
        "_about_category",
        "_about_product",
        "_after",
        "_before",
        "reached",
        "rule",
        "slot",
    )

    def __init__(self, rule: Rule, slot: int, window_us: int) -> None:
        self.rule = rule
        self.slot = slot
        self.reached: Counter = counter(rule, slot, window_us)
        what = " or ".join(rule.on) if rule.count == 1 else f"{rule.count} x {' or '.join(rule.on)}"
        self._before = what if rule.same == "any" else f"{what} of {rule.same} "
        within = rule.count > 1 and rule.within_us
        self._after = f" within {show_us(within)}" if within else ""
        self._about_product = rule.same not in ("cart", "category")
        self._about_category = rule.same != "cart"

    def offer(self, click: Click, key: str, event_id: str, at_us: int, historical: bool) -> Offer:
        at = click.timestamp
        return make_offer(
            self.rule,
            click.user_id,
            key,
            event_id,
            at if at.tzinfo is UTC else time_of(at_us),
            historical,
            f"{self._before}{key}{self._after}",
            click.product_id if self._about_product else None,
            click.category if self._about_category else None,
            click.cart_id,
            click.session_id,
        )


Plan: TypeAlias = tuple[tuple[Effect, ...], tuple[Counting, ...], bool]


class RuleSet:
    """Rules made ready to be asked about events.

    `fingerprint` changes when any rule does. `observed` names the event types that matter to the
    state: `observe` may be left out for others. `waking` names those that end an absence, or have
    a say in what comes of it: timers of the user that are due by then are fired before such an
    event is observed, so it makes no difference whether it arrives together with others.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.fingerprint = blake2b(canonical(self.rules), digest_size=16).hexdigest()
        self._idle = {r.name: (r, r.idle_us) for r in self.rules if r.idle_us is not None}
        self._slots: dict[str, int] = {}
        for rule in self.rules:
            if rule.count > 1:
                self._slots[rule.name] = len(self._slots)
        window_us = max((_window(rule) for rule in self.rules), default=0)
        self._plans: dict[str, Plan] = {
            type: self._plan(type, window_us) for type in get_args(EventType)
        }
        self.observed = frozenset(
            type for type, (effects, countings, _) in self._plans.items() if effects or countings
        )

        self.waking = frozenset(
            type
            for rule in self.rules
            if rule.idle_us is not None
            for type in (*_activity(rule), *rule.without, "purchase")
        )

    def _plan(self, type: EventType, window_us: int) -> Plan:
        effects: list[Effect] = []
        sames = {rule.same for rule in self.rules if type in rule.without}
        if type == "purchase":
            # Carts are kept whatever the rules are, so what ends them is too.
            sames.add("cart")
        if sames:
            effects.append(blocking_effect(type, sames, window_us))
        if type == "purchase":
            effects.append(purchase_effect)
        if type in CART_ACTIVITY:
            carts = [CartRule(r, us) for r, us in self._idle.values() if r.same == "cart"]
            effects.append(cart_effect(carts))
        countings = []
        for rule in self.rules:
            if type not in rule.on:
                continue
            if rule.idle_us is None:
                slot = self._slots.get(rule.name, 0)
                countings.append(Counting(rule, slot, window_us))
            elif rule.same != "cart":
                effects.append(idle_effect(rule, rule.idle_us, window_us))
        return tuple(effects), tuple(countings), type == "purchase"

    def observe(
        self,
        shopper: Shopper,
        click: Click,
        event_id: str,
        at_us: int,
        historical: bool,
        budget: Budget,
        arm: Callable[[Timer], Any],
    ) -> list[Offer] | None:
        """Take one event into `shopper`. What changed of the user's offers, or None: those made
        now, and those of before that a purchase has made moot. Their ids are their keys.

        Timers that idle rules need are given to `arm`.
        """
        effects, countings, sells = self._plans[click.event_type]
        changed: list[Offer] | None = None
        if sells and shopper.offers:
            changed = withdraw(shopper.offers, click) or None
        for effect in effects:
            effect(shopper, click, event_id, at_us, historical, arm)
        for counting in countings:
            key = counting.reached(shopper, click, at_us)
            if key is None:
                continue
            rule = counting.rule
            if permitted(shopper, rule, key, since(rule, at_us), at_us, budget):
                offer = counting.offer(click, key, event_id, at_us, historical)
                note(shopper, offer, at_us)
                if rule.count > 1:
                    start_again(shopper, counting.slot, key, at_us)
                changed = [offer] if changed is None else [*changed, offer]
        return changed

    def restore(self, user_id: str, events: History, offers: Iterable[Offer]) -> Shopper:
        """The state of a user after these stored events and offers.

        An offer counts as made when it is among `offers`, whatever the rules would say now.
        Arms no timers and takes no budget: both are kept elsewhere.
        """
        shopper, made = Shopper(), _by_trigger(user_id, offers)
        for click, event_id, at_us, historical in events:
            self._fold(made, shopper, click, event_id, at_us, historical)
        for known in made.values():
            for offer in known:
                note(shopper, offer, us_of(offer.made_at))
        return shopper

    def explain(
        self, user_id: str, events: History, offers: Iterable[Offer], now_us: int
    ) -> list[Explanation]:
        """What each rule came to for this user, and why, newest first within each rule.

        `events` and `offers` are the user's stored ones, as for `restore`.
        """
        known = [offer for offer in offers if offer.user_id == user_id]
        advance = partial(self._fold, _by_trigger(user_id, known))
        return explain_history(self.rules, self._slots, advance, events, known, now_us)

    def _fold(
        self,
        made: dict[str, list[Offer]],
        shopper: Shopper,
        click: Click,
        event_id: str,
        at_us: int,
        historical: bool,
    ) -> None:
        """Take a stored event into `shopper`, and what it made out of `made`."""
        effects, countings, _ = self._plans[click.event_type]
        for effect in effects:
            effect(shopper, click, event_id, at_us, historical, no_timer)
        for counting in countings:
            if counting.rule.count > 1:
                counting.reached(shopper, click, at_us)
        for offer in made.pop(event_id, ()):
            self._recall(shopper, offer)

    def _recall(self, shopper: Shopper, offer: Offer) -> None:
        """Take up what making `offer` changed, right after the event that triggered it."""
        made_us = us_of(offer.made_at)
        note(shopper, offer, made_us)
        if (slot := self._slots.get(offer.rule)) is not None:
            start_again(shopper, slot, offer.key, made_us)
        elif offer.rule in self._idle:
            waiting = waiting_on(shopper, self._idle[offer.rule][0], offer.key)
            if waiting is not None and waiting.began_by == offer.trigger:
                mark_offered(waiting, offer.rule, made_us)

    def fire(self, shopper: Shopper, timer: Timer, budget: Budget) -> Offer | Timer | None:
        """What a due timer comes to: the offer, made at its due time; the same timer later when
        there was activity since; None when there is nothing to offer any more.

        The offer of a timer that history armed is historical, so never delivered, even where a
        restored shopper no longer knows which of its events were history.
        """
        if timer.rule not in self._idle:
            return None
        rule, idle_us = self._idle[timer.rule]
        waiting = waiting_on(shopper, rule, timer.key)
        if waiting is None or was_offered(waiting, rule.name):
            return None
        due_us = waiting.touched_us + idle_us
        if due_us > timer.due_us:
            return timer._replace(due_us=due_us)
        if isinstance(waiting, Cart) and worth_less(waiting, rule):
            return None
        if not permitted(shopper, rule, timer.key, waiting.began_us, due_us, budget):
            return None
        offer = _idle_offer(rule, timer, waiting, due_us)
        note(shopper, offer, due_us)
        mark_offered(waiting, rule.name, due_us)
        return offer


def _by_trigger(user_id: str, offers: Iterable[Offer]) -> dict[str, list[Offer]]:
    made: dict[str, list[Offer]] = {}
    for offer in offers:
        if offer.user_id == user_id:
            made.setdefault(offer.trigger, []).append(offer)
    return made


def _activity(rule: Rule) -> Iterable[str]:
    """The events whose absence an idle rule waits for."""
    return CART_ACTIVITY if rule.same == "cart" else rule.on


def _window(rule: Rule) -> int:
    """How far back the rule looks."""
    if rule.idle_us is not None:
        return rule.idle_us
    return DURATION_US_MAX if rule.within_us is None else rule.within_us


def _idle_offer(rule: Rule, timer: Timer, waiting: Cart | Idle, due_us: int) -> Offer:
    key, same = timer.key, rule.same
    what = f"{same} {key}" if key else "the cart" if same == "cart" else "the shop"
    return make_offer(
        rule,
        timer.user_id,
        key,
        waiting.began_by,
        time_of(due_us),
        timer.historical,
        f"nothing done with {what} for {show_us(rule.idle_us or 0)}",
        product_id=key if same == "product" else None,
        category=key if same == "category" else None,
        cart_id=(key or None) if same == "cart" else None,
        session_id=key if same == "session" else None,
    )
