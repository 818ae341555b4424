"""What one look at a user's history comes to: offers made and made moot, timers armed and fired."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from shopstream.domain.decision import us_of
from shopstream.domain.durations import DAY_US
from shopstream.domain.offers import Budget, RuleSet, Shopper, Timer
from shopstream.events import Click, Offer
from shopstream.flows.taken import Changes
from shopstream.flows.timers import Timers

_encode = msgspec.json.Encoder(decimal_format="number").encode


class KeptOffer(Offer, gc=False, omit_defaults=True, kw_only=True):
    """An offer as it is stored: with the chunk of history that made it."""

    chunk: str = ""


decode_kept = msgspec.json.Decoder(KeptOffer).decode


class Credit:
    """A budget for deciding again: what the offers made then have taken is not taken twice."""

    def __init__(self, budget: Budget, made: Iterable[Offer]) -> None:
        self._budget = budget
        self._taken = Counter((o.rule, us_of(o.made_at) // DAY_US) for o in made)

    def take(self, rule: str, day: int, limit: int) -> bool:
        if self._taken[rule, day]:
            self._taken[rule, day] -= 1
            return True
        return self._budget.take(rule, day, limit)


class Decision:
    """What one look at a user comes to. `mark` is for the offers that it makes."""

    def __init__(self, mark: str, timers: Timers, budget: Budget, rules: RuleSet) -> None:
        self.mark = mark
        self.timers = timers
        self.changes = Changes()
        """Of timers; they are kept in one piece instead."""
        self._budget = budget
        self._rules = rules
        self.changed: dict[str, Offer] = {}
        self.as_made: dict[str, bytes] = {}
        self.fired = 0

    def note(self, offer: Offer) -> None:
        self.changed[offer.offer_id] = offer
        if not offer.moot:
            # As it was made: a purchase that makes it moot may be of the same chunk.
            self.as_made[offer.offer_id] = _encode(offer)

    def arm(self, timer: Timer) -> None:
        self.timers.arm(timer, self.changes)

    def fire(self, shopper: Shopper, timer: Timer) -> None:
        self.fired += 1
        outcome = self._rules.fire(shopper, timer, self._budget)
        if isinstance(outcome, Offer):
            self.note(outcome)
        elif outcome is not None:
            self.arm(outcome)

    def observe(
        self, shopper: Shopper, click: Click, event_id: str, at_us: int, historical: bool
    ) -> None:
        """As `Clicks.apply` does."""
        rules = self._rules
        if click.event_type not in rules.observed:
            return
        if click.event_type in rules.waking:
            due_of = self.timers.due_of
            while due := due_of(click.user_id, at_us, historical=historical, batch=self.changes):
                for timer in due:
                    self.fire(shopper, timer)
        changed = rules.observe(shopper, click, event_id, at_us, historical, self._budget, self.arm)
        for offer in changed or ():
            self.note(offer)
