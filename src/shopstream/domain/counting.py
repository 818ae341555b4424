"""Counting events towards a rule: each rule becomes one function that is called per event.

This is the hot path, run for every view. What a rule doesn't ask for is left out when the function
is made, not asked about on every event.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import TypeAlias

from shopstream.domain.rule import Rule, Same, key_of, value_of
from shopstream.domain.shoppers import KEYS_MAX, NEVER, Shopper, last_time, prune
from shopstream.events import Click

Counter: TypeAlias = Callable[[Shopper, Click, int], str | None]
"""(shopper, event, its time) -> the key for which the count is now reached, or None."""
Matches: TypeAlias = Callable[[Click], bool]
KeyIn: TypeAlias = Callable[[Click], str | None]


def matcher(rule: Rule) -> Matches | None:
    """Whether an event counts by whose it is and its worth; None when all do.

    Answers as `rule.unmet(rule, click) is None`, faster.
    """
    users = frozenset(rule.who.user_type) or None
    devices = frozenset(rule.who.device_type) or None
    consent, least = rule.who.consent, rule.least
    if not (users or devices or consent or least is not None):
        return None

    def matches(click: Click) -> bool:
        if users is not None and click.user_type not in users:
            return False
        if devices is not None and click.device_type not in devices:
            return False
        if consent is not None and not (click.consent and click.consent.get(consent)):
            return False
        if least is None:
            return True
        value = click.price if click.quantity is None else value_of(click)
        return value is not None and value >= least

    return matches


_FIELDS = {"product": "product_id", "category": "category", "session": "session_id"}


def keyer(same: Same) -> KeyIn:
    """Answers as `rule.key_of(same, click)`, faster."""
    if same in _FIELDS:
        return attrgetter(_FIELDS[same])
    return lambda click: key_of(same, click)


def counter(rule: Rule, slot: int, window_us: int) -> Counter:
    """The function that counts for `rule`. `slot` tells rules of one set apart; `window_us` is
    the longest window of the set.
    """
    if rule.count == 1:
        return _single(rule)
    return _several(rule, slot, window_us)


def _single(rule: Rule) -> Counter:
    matches, name, cooldown_us = matcher(rule), rule.name, rule.cooldown_us
    key_in = keyer(rule.same)

    def reached(shopper: Shopper, click: Click, at_us: int) -> str | None:
        # Most events that could make an offer are within the cooldown of one made: ask that first.
        made = shopper.made
        if made is not None and name in made and abs(at_us - made[name][-1]) < cooldown_us:
            return None
        if matches is not None and not matches(click):
            return None
        return key_in(click)

    return reached


def _place(slot: int, key: str) -> Hashable:
    """Where counted times are kept. The first counting rule, mostly the only one, has bare keys:
    that saves a tuple per key in each of very many shoppers.
    """
    return key if slot == 0 else (slot, key)


def _several(rule: Rule, slot: int, window_us: int) -> Counter:
    matches, count = matcher(rule), rule.count
    within_us = -NEVER if rule.within_us is None else rule.within_us
    key_in = keyer(rule.same)
    before, kept = count - 1, count + 1
    name, cooldown_us = rule.name, rule.cooldown_us

    def reached(shopper: Shopper, click: Click, at_us: int) -> str | None:
        key = key_in(click)
        if key is None or (matches is not None and not matches(click)):
            return None
        seen = shopper.seen
        place = (slot, key) if slot else key
        times = seen.get(place)
        if times is None:
            if len(seen) >= KEYS_MAX:
                prune(seen, last_time, window_us)
            seen[place] = at_us
            return None
        if isinstance(times, int):
            times = seen[place] = [NEVER, times]
        if at_us <= times[0]:
            return None
        if at_us >= times[-1]:
            at = len(times)
            times.append(at_us)
        else:
            at = bisect_right(times, at_us, 1)
            times.insert(at, at_us)
        first = at - before
        hit = first > 0 and at_us - times[first] <= within_us
        if len(times) > kept:
            del times[1]
        if not hit:
            return None
        made = shopper.made
        if made is not None and name in made and abs(at_us - made[name][-1]) < cooldown_us:
            return None
        return key

    return reached


def start_again(shopper: Shopper, slot: int, key: str, made_us: int) -> None:
    """After an offer made at `made_us` only later events count for its key."""
    place = _place(slot, key)
    times = shopper.seen.get(place)
    if times is None:
        return
    known = [NEVER, times] if isinstance(times, int) else times
    floor = max(known[0], made_us)
    shopper.seen[place] = [floor, *(t for t in known[1:] if t > floor)]


def counted_within(shopper: Shopper, rule: Rule, slot: int, key: str, at_us: int) -> int:
    """How many events for this key count towards an offer at `at_us`."""
    times = shopper.seen.get(_place(slot, key))
    known = [] if times is None else [times] if isinstance(times, int) else times[1:]
    within_us = -NEVER if rule.within_us is None else rule.within_us
    return sum(0 <= at_us - t <= within_us for t in known)
