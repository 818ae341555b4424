"""Counting events towards a rule: each rule becomes one function that is called per event.

This is the hot path, run for every view. What a rule doesn't ask for is left out when the function
is made, not asked about on every event.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable
from typing import TypeAlias

from shopstream.domain.rule import Rule, Same, key_of, value_of
from shopstream.domain.shoppers import KEYS_MAX, NEVER, Shopper, last_time, prune
from shopstream.events import Click

Counter: TypeAlias = Callable[[Shopper, Click, int], str | None]
"""(shopper, event, its time) -> the key for which the count is now reached, or None."""
Matches: TypeAlias = Callable[[Click], bool]


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
        value = value_of(click)
        return value is not None and value >= least

    return matches


def keyer(same: Same) -> Callable[[Click], str | None]:
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
    key = keyer(rule.same)

    def reached(shopper: Shopper, click: Click, at_us: int) -> str | None:
        if cooldown_us and shopper.made is not None:
            made = shopper.made.get(name)
            if made is not None and abs(at_us - made[-1]) < cooldown_us:
                return None
        if matches is not None and not matches(click):
            return None
        return key(click)

    return reached


def seen_key(slot: int, key: str) -> Hashable:
    """Where counted times are kept. The first counting rule, mostly the only one, has bare keys:
    that saves a tuple per key in each of very many shoppers.
    """
    return key if slot == 0 else (slot, key)


def _several(rule: Rule, slot: int, window_us: int) -> Counter:
    matches, count = matcher(rule), rule.count
    within_us = -NEVER if rule.within_us is None else rule.within_us
    key_in = keyer(rule.same)
    bare = slot == 0

    def reached(shopper: Shopper, click: Click, at_us: int) -> str | None:
        key = key_in(click)
        if key is None or (matches is not None and not matches(click)):
            return None
        seen = shopper.seen
        place = key if bare else (slot, key)
        times = seen.get(place)
        if times is None:
            if len(seen) >= KEYS_MAX:
                prune(seen, last_time, window_us)
            seen[place] = at_us
            return None
        if isinstance(times, int):
            times = (NEVER, times)
        if at_us <= times[0]:
            return None
        if at_us < times[-1]:
            hit, seen[place] = _late(times, at_us, count, within_us)
            return key if hit else None
        if len(times) > count:
            seen[place] = times = (times[0], *times[2:], at_us)
        else:
            seen[place] = times = (*times, at_us)
        return key if len(times) > count and times[1] >= at_us - within_us else None

    return reached


def _late(
    times: tuple[int, ...], at_us: int, count: int, within_us: int
) -> tuple[bool, tuple[int, ...]]:
    """Whether the count is reached at `at_us`, older than the latest; and the times to keep."""
    known = list(times[1:])
    insort(known, at_us)
    until = [t for t in known if t <= at_us]
    hit = len(until) - bisect_left(until, at_us - within_us) >= count
    return hit, (times[0], *known[-count:])


def start_again(shopper: Shopper, slot: int, key: str, made_us: int) -> None:
    """After an offer made at `made_us` only later events count for its key."""
    place = seen_key(slot, key)
    times = shopper.seen.get(place)
    if times is None:
        return
    known = (NEVER, times) if isinstance(times, int) else times
    floor = max(known[0], made_us)
    shopper.seen[place] = (floor, *(t for t in known[1:] if t > floor))
