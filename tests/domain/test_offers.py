"""What rules make of a user's events, told with plain data."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from shopstream.domain.decision import held_out, offer_id
from shopstream.domain.offers import RuleSet, Shopper, Timer
from shopstream.domain.rules import parse_rules
from shopstream.events import Click, Offer

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE_US = 60_000_000
MIDNIGHT_US = 20_513 * 86_400_000_000

THRICE = """
[[rule]]
name = "thrice"
on = ["view"]
count = 3
same = "product"
within = "30m"
without = ["purchase"]
"""
ABANDONED = """
[[rule]]
name = "abandoned"
on = ["add_to_cart"]
same = "cart"
idle = "30m"
without = ["purchase"]
"""
EACH = """
[[rule]]
name = "each"
on = ["view"]
"""
GIVES = 'offer = { percent = 10, expires = "24h" }'


class Daily:
    """A budget as a stage keeps it."""

    def __init__(self) -> None:
        self.taken: dict[tuple[str, int], int] = {}

    def take(self, rule: str, day: int, limit: int) -> bool:
        taken = self.taken.get((rule, day), 0)
        self.taken[rule, day] = min(taken + 1, limit)
        return taken < limit


class Shop:
    """One user of a shop with some rules; minutes count from midnight."""

    def __init__(self, *rules: str, user_id: str = "u1") -> None:
        self.rules: RuleSet = parse_rules("\n".join(f"{r}\n{GIVES}" for r in rules), "rules.toml")
        self.shopper = Shopper()
        self.user_id = user_id
        self.timers: list[Timer] = []
        self.budget = Daily()
        self.events: list[tuple[Click, str, int, bool]] = []
        self.offers: dict[str, Offer] = {}

    def sees(
        self,
        type: Any,
        minute: float,
        product: str | None = "p1",
        *,
        old: bool = False,
        **more: Any,
    ) -> list[Offer]:
        click = Click(
            user_id=self.user_id,
            event_type=type,
            product_id=product,
            timestamp=MIDNIGHT + timedelta(minutes=minute),
            **more,
        )
        event = (click, f"e{len(self.events)}", MIDNIGHT_US + round(minute * MINUTE_US), old)
        self.events.append(event)
        changed = self.rules.observe(self.shopper, *event, self.budget, self.timers.append) or []
        self.offers |= {offer.offer_id: offer for offer in changed}
        return changed

    def reaches(self, minute: float) -> list[Offer]:
        """Fire what is due by then."""
        made = []
        while due := sorted(t for t in self.timers if t.due_us <= MIDNIGHT_US + minute * MINUTE_US):
            self.timers.remove(due[0])
            match self.rules.fire(self.shopper, due[0], self.budget):
                case Offer() as offer:
                    made.append(offer)
                case Timer() as later:
                    self.timers.append(later)
        self.offers |= {offer.offer_id: offer for offer in made}
        return made

    def why(self, minute: float) -> list[tuple[str, str]]:
        now_us = MIDNIGHT_US + round(minute * MINUTE_US)
        told = self.rules.explain(self.user_id, self.events, self.offers.values(), now_us)
        return [(e.outcome, e.text) for e in told]


def test_the_third_view_of_a_product_makes_an_offer() -> None:
    shop = Shop(THRICE)
    assert shop.sees("view", 0) == []
    assert shop.sees("view", 10, "p2") == []
    assert shop.sees("view", 20) == []
    (offer,) = shop.sees("view", 30, category="shoes", session_id="s1")
    assert (offer.rule, offer.version, offer.key, offer.trigger) == ("thrice", 1, "p1", "e3")
    assert (offer.product_id, offer.category, offer.session_id) == ("p1", "shoes", "s1")
    assert offer.reason == "3 x view of product p1 within 30m"
    assert offer.made_at == MIDNIGHT + timedelta(minutes=30)
    assert offer.expires_at == MIDNIGHT + timedelta(days=1, minutes=30)
    assert (offer.delivered, offer.held_out, offer.historical, offer.moot) == (
        True,
        False,
        False,
        False,
    )
    assert offer.offer_id == offer_id("thrice", 1, "u1", "p1", "e3")


def test_times_are_given_in_utc_whatever_zone_the_event_came_in() -> None:
    shop = Shop(EACH)
    click = Click(
        user_id="u1",
        event_type="view",
        timestamp=datetime.fromisoformat("2026-03-01T02:00:00+02:00"),
    )
    made = shop.rules.observe(shop.shopper, click, "e", MIDNIGHT_US, False, shop.budget, print)
    assert made is not None
    assert made[0].made_at.isoformat() == "2026-03-01T00:00:00+00:00"


def test_views_too_far_apart_make_none() -> None:
    shop = Shop(THRICE)
    assert not any(shop.sees("view", minute) for minute in (0, 15.01, 30.02, 60.1, 75))


def test_the_count_starts_again_after_an_offer() -> None:
    shop = Shop(THRICE)
    made = [bool(shop.sees("view", minute)) for minute in range(1, 8)]
    assert made == [False, False, True, False, False, True, False]


def test_a_purchase_inside_the_window_forbids_the_offer() -> None:
    shop = Shop(THRICE)
    shop.sees("view", 0)
    shop.sees("purchase", 1)
    assert not shop.sees("view", 2)
    assert not shop.sees("view", 30)
    assert shop.sees("view", 31.5)


def test_a_purchase_of_something_else_forbids_nothing_but_one_of_unknown_things_does() -> None:
    shop, careful = Shop(THRICE), Shop(THRICE)
    shop.sees("purchase", 0, "p2")
    careful.sees("purchase", 0, None)
    for minute in (1, 2):
        shop.sees("view", minute)
        careful.sees("view", minute)
    assert shop.sees("view", 3)
    assert not careful.sees("view", 3)


def test_a_late_event_is_judged_by_what_came_before_it_in_time() -> None:
    shop = Shop(THRICE)
    shop.sees("view", 0)
    shop.sees("view", 40)
    assert not shop.sees("view", 20), "only two views lie within the 30 minutes before it"
    assert shop.sees("view", 45)


def test_events_without_the_key_or_of_others_do_not_count() -> None:
    shop = Shop(THRICE + 'who = { device_type = ["mobile"], consent = "ads" }\nmin_value = 10')
    good: dict[str, Any] = {"device_type": "mobile", "consent": {"ads": True}, "price": Decimal(10)}
    changes: list[dict[str, Any]] = [
        {"product": None},
        {"device_type": "desktop"},
        {"device_type": None},
        {"consent": {"ads": False}},
        {"consent": None},
        {"price": Decimal("9.99")},
        {"price": None},
    ]
    for minute, change in enumerate(changes * 3):
        assert not shop.sees("view", minute / 10, **(good | change))
    assert not shop.sees("view", 10, **good)
    assert not shop.sees("view", 11, **(good | {"price": Decimal(5), "quantity": 2}))
    assert shop.sees("view", 12, **good)


def test_cooldown_counts_from_the_last_offer_of_the_rule() -> None:
    shop = Shop(EACH + 'cooldown = "10m"')
    made = [minute for minute in range(25) if shop.sees("view", minute, f"p{minute}")]
    assert made == [0, 10, 20]


def test_a_cap_counts_all_and_a_daily_cap_counts_the_days_of_the_events() -> None:
    ever, daily = Shop(EACH + "cap_per_user = 2"), Shop(EACH + "cap_per_user_per_day = 1")
    minutes = [0, 1, 1439, 1440, 1441, 2880]
    assert [m for m in minutes if ever.sees("view", m)] == [0, 1]
    assert [m for m in minutes if daily.sees("view", m)] == [0, 1440, 2880]


def test_a_budget_is_asked_only_when_nothing_else_forbids_the_offer() -> None:
    shop = Shop(EACH + 'budget_per_day = 2\ncooldown = "10m"')
    made = [m for m in range(0, 50, 5) if shop.sees("view", m)]
    assert made == [0, 10]
    assert shop.sees("view", 1440)


def test_held_out_offers_are_recorded_not_delivered_and_count_as_others_do() -> None:
    rule = EACH + 'holdout = 0.5\ncooldown = "10m"'
    shops = [Shop(rule, user_id=f"u{n}") for n in range(400)]
    offers = [shop.sees("view", 0)[0] for shop in shops]
    out = [offer for offer in offers if offer.held_out]
    assert all(offer.delivered != offer.held_out for offer in offers)
    assert 150 < len(out) < 250
    assert not any(shop.sees("view", 5) for shop in shops)
    assert [held_out(s.rules.rules[0], s.user_id) for s in shops] == [o.held_out for o in offers]


def test_offers_of_history_are_not_delivered() -> None:
    (offer,) = Shop(EACH).sees("view", 0, old=True)
    assert (offer.historical, offer.delivered) == (True, False)


def test_a_cart_left_in_history_is_history_and_one_touched_since_is_news() -> None:
    left, touched = Shop(ABANDONED), Shop(ABANDONED)
    left.sees("add_to_cart", 0, old=True)
    left.shopper = left.rules.restore(
        "u1", [(click, event_id, at_us, False) for click, event_id, at_us, _ in left.events], ()
    )
    assert [(offer.historical, offer.delivered) for offer in left.reaches(30)] == [(True, False)]
    touched.sees("add_to_cart", 0, old=True)
    touched.sees("add_to_cart", 20)
    touched.timers = [timer for timer in touched.timers if not timer.historical]
    assert [(offer.historical, offer.delivered) for offer in touched.reaches(50)] == [(False, True)]


def test_a_purchase_makes_the_offers_about_it_moot_even_when_it_arrives_late() -> None:
    shop = Shop(THRICE)
    for minute in (5, 6, 7):
        shop.sees("view", minute)
    for minute in (5, 6, 7):
        shop.sees("view", minute, "p2")
    (moot,) = shop.sees("purchase", 4)
    assert (moot.product_id, moot.moot, moot.delivered) == ("p1", True, True)
    assert shop.sees("purchase", 8) == []
    assert shop.sees("purchase", 3000, "p2") == [], "it had expired"


def test_an_abandoned_cart_makes_one_offer_when_its_time_comes() -> None:
    shop = Shop(ABANDONED)
    shop.sees("add_to_cart", 0, price=Decimal(5))
    shop.sees("add_to_cart", 10, "p2")
    assert shop.reaches(39.9) == []
    (offer,) = shop.reaches(40)
    assert (offer.key, offer.trigger, offer.cart_id) == ("", "e0", None)
    assert offer.made_at == MIDNIGHT + timedelta(minutes=40)
    assert offer.reason == "nothing done with the cart for 30m"
    assert shop.reaches(1000) == []
    assert (
        shop.rules.fire(shop.shopper, Timer(MIDNIGHT_US, "u1", "abandoned", "", False), shop.budget)
        is None
    )


def test_a_new_cart_after_an_abandoned_one_makes_its_own_offer() -> None:
    shop = Shop(ABANDONED)
    shop.sees("add_to_cart", 0)
    (first,) = shop.reaches(30)
    shop.sees("add_to_cart", 31)
    (second,) = shop.reaches(61)
    assert (first.trigger, second.trigger) == ("e0", "e1")


def test_nobody_who_bought_gets_a_mail_about_the_cart() -> None:
    bought, late, unnamed, emptied = (Shop(ABANDONED) for _ in range(4))
    bought.sees("add_to_cart", 0)
    bought.sees("purchase", 29.9)
    late.sees("purchase", 5)
    late.sees("add_to_cart", 4)
    unnamed.sees("add_to_cart", 0)
    unnamed.sees("purchase", 1, "p9", cart_id="c7")
    emptied.sees("add_to_cart", 0)
    emptied.sees("remove_from_cart", 1)
    assert [shop.reaches(1000) for shop in (bought, late, unnamed, emptied)] == [[], [], [], []]


def test_the_purchase_of_another_cart_leaves_a_named_cart_alone() -> None:
    shop = Shop(ABANDONED)
    shop.sees("add_to_cart", 0, cart_id="c1")
    shop.sees("purchase", 1, cart_id="c2")
    assert [offer.cart_id for offer in shop.reaches(30)] == ["c1"]


def test_all_cart_activity_puts_the_offer_off() -> None:
    shop = Shop(ABANDONED)
    shop.sees("add_to_cart", 0)
    shop.sees("add_to_cart", 1, "p2")
    shop.sees("remove_from_cart", 20)
    shop.sees("begin_checkout", 45, None)
    assert shop.reaches(74) == []
    assert len(shop.reaches(75)) == 1


def test_a_cart_is_offered_something_only_when_it_is_worth_enough() -> None:
    shop = Shop(ABANDONED + "min_value = 100")
    shop.sees("add_to_cart", 0, price=Decimal("33.34"), quantity=2)
    assert shop.reaches(35) == []
    shop.sees("add_to_cart", 36, price=Decimal("33.34"))
    assert len(shop.reaches(66)) == 1


def test_a_cart_refused_by_a_cooldown_is_asked_again_after_later_activity() -> None:
    shop = Shop(ABANDONED + 'cooldown = "2h"')
    shop.sees("add_to_cart", 0)
    assert len(shop.reaches(30)) == 1
    shop.sees("add_to_cart", 40)
    assert shop.reaches(100) == []
    shop.sees("add_to_cart", 130)
    assert [offer.trigger for offer in shop.reaches(200)] == ["e1"]


def test_an_idle_product_is_waited_on_by_itself() -> None:
    shop = Shop(ABANDONED.replace("cart", "product", 2).replace("add_to_product", "add_to_cart"))
    shop.sees("add_to_cart", 0, "p1")
    shop.sees("add_to_cart", 0, "p2")
    shop.sees("purchase", 10, "p1")
    (offer,) = shop.reaches(60)
    assert (offer.key, offer.product_id) == ("p2", "p2")
    shop.sees("add_to_cart", 70, "p1")
    assert [offer.trigger for offer in shop.reaches(100)] == ["e3"]


def test_ids_of_offers_keep_their_parts_apart() -> None:
    assert offer_id("r", 1, "a", "b:c", "d") != offer_id("r", 1, "a:b", "c", "d")
    assert offer_id("r", 1, "a", "", "d") != offer_id("r", 11, "a", "", "d")
    assert offer_id("r", 1, "ü", "k", "e") == offer_id("r", 1, "ü", "k", "e")
    assert len(offer_id("r", 1, "u", "k", "e")) == 32


def test_explain_says_how_far_a_count_has_come_and_what_forbids() -> None:
    shop = Shop(THRICE + 'cooldown = "1d"')
    shop.sees("view", 0)
    shop.sees("view", 1)
    assert shop.why(2) == [("not_made", "2 of 3 view of product p1 within 30m")]
    shop.sees("purchase", 2)
    shop.sees("view", 3)
    assert shop.why(4) == [("not_made", "purchase at 2026-03-01T00:02:00Z")]
    for minute in (5, 6, 7, 8, 9, 10):
        shop.sees("view", minute, f"p{2 + minute // 8}")
    assert shop.why(11) == [
        ("not_made", "cooldown until 2026-03-02T00:07:00Z"),
        ("made", "3 x view of product p2 within 30m; expires 2026-03-02T00:07:00Z"),
        ("not_made", "purchase at 2026-03-01T00:02:00Z"),
    ]


def test_explain_says_what_the_rule_wants_of_whom() -> None:
    shop = Shop(EACH + 'who = { device_type = ["mobile"], consent = "marketing" }\nmin_value = 9')
    shop.sees("view", 0, device_type="desktop")
    assert shop.why(1) == [("not_made", "device is desktop, rule wants mobile")]
    shop.sees("view", 1, device_type="mobile")
    assert shop.why(1) == [("not_made", "consent marketing missing")]
    shop.sees("view", 2, device_type="mobile", consent={"marketing": True}, price=Decimal(5))
    assert shop.why(2) == [("not_made", "value is 5, rule wants at least 9")]


def test_explain_tells_of_caps_budgets_and_the_control_group() -> None:
    capped, daily = Shop(EACH + "cap_per_user = 1"), Shop(EACH + "cap_per_user_per_day = 1")
    poor, out = Shop(EACH + "budget_per_day = 1"), Shop(EACH + "holdout = 1")
    for shop in (capped, daily, poor):
        shop.sees("view", 0)
        shop.sees("view", 1)
    out.sees("view", 0, old=True)
    assert capped.why(2)[0] == ("not_made", "cap of 1 a user reached")
    assert daily.why(2)[0] == ("not_made", "cap of 1 a day reached")
    assert poor.why(2)[0] == ("not_made", "budget of 1 a day spent")
    text = (
        "view; expires 2026-03-02T00:00:00Z; control group, not delivered; history, not delivered"
    )
    assert out.why(2) == [("held_out", text)]


def test_explain_says_when_a_cart_falls_due_and_what_became_of_it() -> None:
    shop = Shop(ABANDONED)
    shop.sees("add_to_cart", 0)
    assert shop.why(10) == [("waiting", "fires at 2026-03-01T00:30:00Z")]
    assert shop.reaches(30)
    (outcome, text), *_ = shop.why(31)
    assert (outcome, text.split(";")[0]) == ("made", "nothing done with the cart for 30m")
    shop.sees("add_to_cart", 40)
    shop.sees("purchase", 41)
    assert ("not_made", "cart bought at 2026-03-01T00:41:00Z") in shop.why(42)
    assert shop.why(42)[1][1].endswith("moot: bought since")
