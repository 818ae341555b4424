"""Waiting for nothing to happen: what idle rules remember, and when they want to be woken.

A timer is armed only where none can be pending, so most activity arms nothing; one that is woken
too early says when to come again.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from shopstream.domain.carts import UNNAMED, Cart, end_bought, follow, value
from shopstream.domain.counting import Matches, keyer, matcher
from shopstream.domain.decision import last_blocked
from shopstream.domain.rule import Rule, Same
from shopstream.domain.shoppers import KEYS_MAX, NEVER, Idle, Shopper, Timer, prune
from shopstream.events import Click

Arm: TypeAlias = Callable[[Timer], Any]


Effect: TypeAlias = Callable[[Shopper, Click, str, int, bool, Arm], None]
"""What an event does to a shopper, in place: (shopper, event, its id, its time, historical, arm).
"""


def idle_effect(rule: Rule, idle_us: int, window_us: int) -> Effect:
    """What an event counted by an idle rule does, carts apart: begin to wait, or wait on."""
    name, matches, key_in = rule.name, matcher(rule), keyer(rule.same)

    def effect(
        shopper: Shopper, click: Click, event_id: str, at_us: int, historical: bool, arm: Arm
    ) -> None:
        key = key_in(click)
        if key is None or (matches is not None and not matches(click)):
            return
        if shopper.idles is None:
            shopper.idles = {}
        idles = shopper.idles
        idle = idles.get((name, key))
        if idle is None and len(idles) >= KEYS_MAX:
            prune(idles, lambda i: i.touched_us, window_us)
        if idle is None or _over(idle, at_us, idle_us, last_blocked(shopper, rule, key)):
            idles[name, key] = Idle(event_id, at_us, at_us, historical)
            arm(Timer(at_us + idle_us, click.user_id, name, key, historical))
        elif at_us >= idle.touched_us:
            # What falls idle after live activity is news, so it needs a timer that is.
            if idle.historical and not historical:
                arm(Timer(at_us + idle_us, click.user_id, name, key, False))
            idle.touched_us, idle.historical = at_us, historical

    return effect


def _over(idle: Idle, at_us: int, idle_us: int, blocked_us: int) -> bool:
    """Whether activity at this time begins anew rather than going on."""
    return (
        at_us - idle.touched_us >= idle_us
        or idle.began_us <= blocked_us < at_us
        or (idle.offered_us is not None and at_us >= idle.offered_us)
    )


class CartRule:
    """An idle rule about carts: which events of a cart arm it."""

    __slots__ = ("always", "idle_us", "matches", "name", "on")

    def __init__(self, rule: Rule, idle_us: int) -> None:
        self.name = rule.name
        self.on = frozenset(rule.on)
        self.idle_us = idle_us
        self.matches: Matches | None = matcher(rule)
        # Where the event that begins a cart need not arm the rule, or a cart may grow to be worth
        # it after a timer found it wanting, any event may be the first to matter.
        self.always = (
            self.matches is not None or rule.min_value is not None or "add_to_cart" not in rule.on
        )


def cart_effect(rules: list[CartRule]) -> Effect:
    """What cart activity does to a user's carts, and which timers it arms."""

    def effect(
        shopper: Shopper, click: Click, event_id: str, at_us: int, historical: bool, arm: Arm
    ) -> None:
        carts = shopper.carts
        key = click.cart_id or UNNAMED
        if carts is None:
            if click.event_type != "add_to_cart":
                return
            carts = shopper.carts = {}
        if at_us > bought_us(shopper, key):
            before = carts.get(key)
            touched_us = before.touched_us if before else at_us
            # What falls idle after live activity is news, so it needs a timer that is.
            news = not historical and before is not None and before.historical
            cart = follow(carts, click, event_id, at_us, historical)
            if cart is not None:
                fresh = cart is not before
                for rule in rules:
                    if (
                        click.event_type in rule.on
                        and (fresh or news or rule.always or at_us - touched_us >= rule.idle_us)
                        and (rule.matches is None or rule.matches(click))
                    ):
                        due_us = cart.touched_us + rule.idle_us
                        arm(Timer(due_us, click.user_id, rule.name, key, historical))
        if not carts:
            shopper.carts = None

    return effect


def bought_us(shopper: Shopper, key: str) -> int:
    """When the cart of this key was last bought."""
    if not shopper.blocked:
        return NEVER
    get = shopper.blocked.get
    return max(get(("purchase", "cart", key), NEVER), get(("purchase", "cart", None), NEVER))


def purchase_effect(
    shopper: Shopper, click: Click, _id: str, at_us: int, _old: bool, _arm: Arm
) -> None:
    """A purchase ends the carts it is of."""
    if shopper.carts is not None:
        end_bought(shopper.carts, click.cart_id, at_us)
        if not shopper.carts:
            shopper.carts = None


def blocking_effect(event_type: str, sames: Iterable[Same], window_us: int) -> Effect:
    """What an event does that some rules are `without`: its latest time is kept, by key.

    An event that doesn't say its product, category, session or cart blocks all of them: better no
    offer than one about what was just bought. The purchase of a named cart is also one of the
    cart without a name, since senders name carts in some events only.
    """
    keyers = [(same, keyer(same)) for same in sorted(sames)]

    def effect(shopper: Shopper, click: Click, _id: str, at_us: int, _old: bool, _arm: Arm) -> None:
        if shopper.blocked is None:
            shopper.blocked = {}
        blocked = shopper.blocked
        for same, key_in in keyers:
            key = key_in(click)
            if same == "cart":
                key = click.cart_id
                if key is not None and event_type == "purchase":
                    _keep_latest(blocked, (event_type, same, UNNAMED), at_us, window_us)
            _keep_latest(blocked, (event_type, same, key), at_us, window_us)

    return effect


def _keep_latest(
    blocked: dict[tuple[str, str, str | None], int],
    place: tuple[str, str, str | None],
    at_us: int,
    window_us: int,
) -> None:
    known = blocked.get(place)
    if known is None:
        if len(blocked) >= KEYS_MAX:
            prune(blocked, lambda t: t, window_us)
        blocked[place] = at_us
    elif at_us > known:
        blocked[place] = at_us


def waiting_on(shopper: Shopper, rule: Rule, key: str) -> Cart | Idle | None:
    if rule.same == "cart":
        return shopper.carts.get(key) if shopper.carts else None
    return shopper.idles.get((rule.name, key)) if shopper.idles else None


def worth_less(cart: Cart, rule: Rule) -> bool:
    return rule.min_value is not None and value(cart) < rule.min_value


def was_offered(waiting: Cart | Idle, rule: str) -> bool:
    if isinstance(waiting, Cart):
        return waiting.offered is not None and rule in waiting.offered
    return waiting.offered_us is not None


def mark_offered(waiting: Cart | Idle, rule: str, made_us: int) -> None:
    if isinstance(waiting, Cart):
        waiting.offered = (waiting.offered or {}) | {rule: made_us}
    else:
        waiting.offered_us = made_us
