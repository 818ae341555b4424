"""A shopper folded anew from stored events and offers goes on as one observed all along."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shopstream.domain.offers import RuleSet, Shopper, Timer
from shopstream.domain.rules import parse_rules
from shopstream.domain.shoppers import KEYS_MAX
from shopstream.events import Click, Offer
from shopstream.rules_file import default_rules

RULES = parse_rules(
    """
[[rule]]
name = "thrice"
on = ["view"]
count = 3
same = "product"
within = "20m"
without = ["purchase"]
cooldown = "10m"
holdout = 0.5
offer = { percent = 10, expires = "1h" }
[[rule]]
name = "twice-mobile"
on = ["view", "search"]
count = 2
same = "session"
within = "5m"
who = { device_type = ["mobile"], consent = "marketing" }
cap_per_user_per_day = 2
budget_per_day = 3
offer = { amount = 5, currency = "EUR", expires = "1h" }
[[rule]]
name = "dear"
on = ["view"]
min_value = 50
cap_per_user = 3
budget_per_day = 2
offer = { percent = 5, expires = "10m" }
[[rule]]
name = "cart-idle"
on = ["add_to_cart"]
same = "cart"
idle = "5m"
without = ["purchase"]
offer = { percent = 10, expires = "1h" }
[[rule]]
name = "checkout-idle"
on = ["begin_checkout"]
same = "cart"
idle = "15m"
min_value = 60
without = ["purchase"]
cooldown = "1h"
offer = { percent = 15, expires = "1h" }
[[rule]]
name = "product-idle"
on = ["add_to_cart", "click"]
same = "product"
idle = "8m"
without = ["purchase", "remove_from_cart"]
budget_per_day = 4
offer = { percent = 15, expires = "1h" }
""",
    "rules.toml",
)
START = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
START_US = 1_772_407_800_000_000
USER = "u1"


class Step(NamedTuple):
    click: Click
    event_id: str
    at_us: int
    historical: bool
    watermark_us: int
    budget_left: bool


class SomeBudget:
    """Says yes or no as the step was drawn: which offers it refuses is not to be guessed."""

    def __init__(self) -> None:
        self.left = True

    def take(self, rule: str, day: int, limit: int) -> bool:
        return self.left


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Events mostly in order, some late, of few products and carts, so that rules are set off."""
    steps, now_s = [], 0
    for number in range(draw(st.integers(1, 40))):
        now_s += draw(st.sampled_from([0, 1, 30, 60, 200, 400, 1_000]))
        at_s = max(0, now_s - draw(st.sampled_from([0, 0, 0, 0, 45, 500])))
        click = Click(
            user_id=USER,
            event_type=draw(
                st.sampled_from(
                    ["view"] * 5
                    + ["add_to_cart"] * 3
                    + ["remove_from_cart", "begin_checkout", "purchase", "search", "click"]
                )
            ),
            timestamp=START + timedelta(seconds=at_s),
            product_id=draw(st.sampled_from(["p1", "p1", "p2", None])),
            session_id=draw(st.sampled_from(["s1", None])),
            cart_id=draw(st.sampled_from([None, None, "c1", "c2"])),
            device_type=draw(st.sampled_from(["mobile", "desktop"])),
            consent=draw(st.sampled_from([None, {"marketing": True}, {"marketing": False}])),
            price=draw(st.sampled_from([None, Decimal(20), Decimal(55)])),
            quantity=draw(st.sampled_from([None, 1, 3])),
        )
        steps.append(
            Step(
                click,
                f"e{number}",
                START_US + at_s * 1_000_000,
                draw(st.booleans()),
                START_US + (now_s - draw(st.sampled_from([0, 0, 600]))) * 1_000_000,
                draw(st.booleans()),
            )
        )
    return steps


class Run:
    """What a processor does: observe, keep offers and timers, fire what is due."""

    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        self.shopper = Shopper()
        self.offers: dict[str, bytes] = {}
        self.timers: list[Timer] = []
        self.budget = SomeBudget()

    def step(self, step: Step) -> list[bytes]:
        self.budget.left = step.budget_left
        click, event_id, at_us, historical = step[:4]
        changed = self.rules.observe(
            self.shopper, click, event_id, at_us, historical, self.budget, self.timers.append
        )
        return self._keep(changed or []) + self._keep(self._fire(step.watermark_us))

    def _fire(self, watermark_us: int) -> Iterable[Offer]:
        while due := sorted({t for t in self.timers if t.due_us <= watermark_us}):
            self.timers = [t for t in self.timers if t.due_us > watermark_us]
            for timer in due:
                match self.rules.fire(self.shopper, timer, self.budget):
                    case Timer() as later:
                        assert later.due_us > timer.due_us
                        self.timers.append(later)
                    case Offer() as offer:
                        yield offer

    def _keep(self, changed: Iterable[Offer]) -> list[bytes]:
        said = []
        for offer in changed:
            said.append(msgspec.json.encode(offer))
            self.offers[offer.offer_id] = said[-1]
        return said

    def restore(self, steps: list[Step]) -> None:
        stored = [msgspec.json.decode(raw, type=Offer) for raw in self.offers.values()]
        self.shopper = self.rules.restore(USER, [step[:4] for step in steps], stored)


def state_of(shopper: Shopper) -> object:
    return msgspec.to_builtins(
        {
            "seen": sorted((str(k), v) for k, v in shopper.seen.items()),
            "blocked": sorted((str(k), v) for k, v in (shopper.blocked or {}).items()),
            "carts": shopper.carts or {},
            "idles": sorted(
                (str(k), msgspec.to_builtins(v)) for k, v in (shopper.idles or {}).items()
            ),
            "offers": shopper.offers or {},
            "made": shopper.made or {},
        }
    )


@settings(max_examples=150, deadline=None)
@given(histories(), st.data())
def test_a_restored_shopper_goes_on_as_one_observed_all_along(
    steps: list[Step], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(steps)))
    whole, restored = Run(RULES), Run(RULES)
    for step in steps[:cut]:
        assert whole.step(step) == restored.step(step)
    restored.restore(steps[:cut])
    assert state_of(restored.shopper) == state_of(whole.shopper)
    for step in steps[cut:]:
        assert whole.step(step) == restored.step(step)
    assert state_of(restored.shopper) == state_of(whole.shopper)


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_shopper_restored_before_every_event_makes_the_same_offers(steps: list[Step]) -> None:
    whole, restored = Run(RULES), Run(RULES)
    for number, step in enumerate(steps):
        restored.restore(steps[:number])
        assert whole.step(step) == restored.step(step)


@settings(max_examples=50, deadline=None)
@given(histories())
def test_no_trigger_makes_two_offers_and_limits_hold(steps: list[Step]) -> None:
    run = Run(RULES)
    made: list[Offer] = []
    for step in steps:
        made += (
            offer
            for raw in run.step(step)
            if not (offer := msgspec.json.decode(raw, type=Offer)).moot
        )
    assert len({offer.offer_id for offer in made}) == len(made)
    times = sorted(offer.made_at for offer in made if offer.rule == "thrice")
    assert all(b - a >= timedelta(minutes=10) for a, b in pairwise(times))
    assert sum(offer.rule == "dear" for offer in made) <= 3
    days = [offer.made_at.date() for offer in made if offer.rule == "twice-mobile"]
    assert all(days.count(day) <= 2 for day in days)


def test_users_with_very_many_products_are_bounded_and_restored_alike() -> None:
    whole, restored = Run(default_rules()), Run(default_rules())
    steps = [
        Step(
            Click(
                user_id=USER,
                event_type=("view", "add_to_cart", "purchase")[number % 3],
                timestamp=START + timedelta(seconds=number),
                product_id=f"p{number}",
                cart_id=f"c{number}",
            ),
            f"e{number}",
            START_US + number * 1_000_000,
            False,
            0,
            True,
        )
        for number in range(15_000)
    ]
    for step in steps[:14_000]:
        whole.step(step)
        restored.step(step)
    restored.restore(steps[:14_000])
    for step in steps[14_000:]:
        assert whole.step(step) == restored.step(step)
    assert state_of(restored.shopper) == state_of(whole.shopper)
    assert 1_000 < len(whole.shopper.seen) <= KEYS_MAX
    assert 1_000 < len(whole.shopper.blocked or {}) <= KEYS_MAX
    assert len(whole.shopper.carts or {}) <= 64
