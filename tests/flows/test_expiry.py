"""What has expired is forgotten, and the ledger still adds up."""

from datetime import timedelta

from tests.flows.pipeline import Opener, Pipeline, cart_line, click, order, stock

DAY_MIN = 24 * 60


def short_lived(open_pipeline: Opener) -> Pipeline:
    return open_pipeline(
        events_ttl=timedelta(days=1),
        offers_ttl=timedelta(days=2),
        orders_ttl=timedelta(days=4),
        quarantine_ttl=timedelta(days=3),
        alerts_ttl=timedelta(days=3),
        archive_ttl=timedelta(days=2),
    )


def fill(pipeline: Pipeline) -> None:
    pipeline.give(*(click(minutes=-m, product_id="p1", event_id=f"e{m}") for m in range(3)))
    pipeline.give(click("u2"), b"not json")
    pipeline.give(cart_line("u3", "p1", 1), topic="carts")
    pipeline.give(order("o1", 5_000, customer_id="u1"), topic="orders")
    pipeline.give(stock("p1", 1), topic="stock")


def test_events_go_after_their_time_then_offers_then_orders(open_pipeline: Opener) -> None:
    pipeline = short_lived(open_pipeline)
    fill(pipeline)
    pipeline.idle(minutes=31)
    pipeline.idle(minutes=DAY_MIN - 32)
    assert len(pipeline.clicks_of("u1")) == 4
    pipeline.idle(minutes=2)
    assert pipeline.items("browsing_events") == []
    assert pipeline.items("stock_levels") == []
    assert [o.rule for o in pipeline.offers()] == ["viewed-three-times", "cart-abandoned"]
    assert pipeline.check().differences == []
    pipeline.idle(minutes=DAY_MIN + 31)
    assert [o.rule for o in pipeline.offers()] == []
    assert len(pipeline.rejections()) == 1
    assert pipeline.check().differences == []
    pipeline.idle(minutes=DAY_MIN)
    assert pipeline.items("quarantine") == []
    assert pipeline.items("alerts") == pipeline.items("alert_feed") == []
    assert len(pipeline.orders()) == 1
    pipeline.idle(minutes=DAY_MIN)
    assert pipeline.orders() == {}
    assert pipeline.items("expiry") == []
    report = pipeline.check()
    assert report.differences == []
    assert report.topics["clicks"].received == 5, "what is forgotten was received all the same"


def test_a_user_of_whom_nothing_is_left_is_unknown_again(open_pipeline: Opener) -> None:
    pipeline = short_lived(open_pipeline)
    fill(pipeline)
    assert {pk for pk, _, _ in pipeline.items("users")} == {"u1", "u2", "u3"}
    pipeline.idle(minutes=DAY_MIN + 1)
    assert {pk for pk, _, _ in pipeline.items("users")} == {"u1", "u3"}, "those have offers"
    pipeline.idle(minutes=2 * DAY_MIN + 1)
    assert pipeline.items("users") == []


def test_a_resend_is_recognised_until_the_event_has_expired(open_pipeline: Opener) -> None:
    pipeline = short_lived(open_pipeline)
    event = click("u2", event_id="e1")
    pipeline.give(event)
    pipeline.idle(minutes=DAY_MIN - 1)
    pipeline.give(event)
    assert pipeline.counts() == {"accepted": 1, "duplicate": 1}
    pipeline.idle(minutes=2)
    pipeline.give(event)
    assert pipeline.counts() == {"accepted": 2, "duplicate": 1}
    assert pipeline.check().differences == []


def test_what_came_later_outlives_what_came_before(open_pipeline: Opener) -> None:
    pipeline = short_lived(open_pipeline)
    pipeline.give(click("u2", event_id="e1"))
    pipeline.idle(minutes=DAY_MIN / 2)
    pipeline.give(click("u2", event_id="e2"))
    pipeline.idle(minutes=DAY_MIN / 2 + 1)
    assert [c.event_id for c in pipeline.clicks_of("u2")] == ["e2"]
    pipeline.restart()
    pipeline.give(click("u2", event_id="e2"))
    assert pipeline.counts() == {"accepted": 2, "duplicate": 1}
    assert pipeline.check().differences == []


def test_much_that_expires_at_once_is_forgotten_in_pieces(open_pipeline: Opener) -> None:
    pipeline = short_lived(open_pipeline)
    for n in range(130):
        pipeline.give(click(f"u{n}"))
    pipeline.idle(minutes=DAY_MIN + 1)
    assert pipeline.items("browsing_events") == pipeline.items("users") == []
    assert pipeline.check().differences == []


def test_archived_files_go_after_their_time_and_an_order_takes_its_own_along(
    open_pipeline: Opener,
) -> None:
    pipeline = open_pipeline(orders_ttl=timedelta(days=2), archive_ttl=timedelta(days=1))
    pipeline.give(*(click("u1", minute, product_id="p1") for minute in (-3, -2, -1)))
    pipeline.give(order("o1", payload={"note": "n" * 500_000}), topic="orders")
    pipeline.idle(last=True)
    lake = pipeline.engine.lake()
    assert len(list(lake.names("archive/offers"))) == 1
    assert len(list(lake.names("archive/orders"))) == 1
    pipeline.idle(minutes=25 * 60)
    assert list(lake.names("archive/offers")) == []
    assert pipeline.check().balanced
    pipeline.idle(minutes=24 * 60)
    assert list(lake.names("archive")) == []
    assert pipeline.check().balanced


def test_a_user_whose_last_lists_go_in_one_sweep_is_unknown_again(open_pipeline: Opener) -> None:
    pipeline = short_lived(open_pipeline)
    pipeline.give(click(event_id="e1"))
    pipeline.give(click(event_id="e2"))
    pipeline.idle(minutes=DAY_MIN + 1)
    assert pipeline.items("browsing_events") == pipeline.items("users") == []


def test_lines_added_to_an_order_expire_with_it(open_pipeline: Opener) -> None:
    pipeline = short_lived(open_pipeline)
    for number in (1, 2):
        later = order("o1", 10)
        later["lines"][0]["line"] = number
        pipeline.give(later, topic="orders", on_bad_line="quarantine_line")
    assert pipeline.check().differences == []
    pipeline.idle(minutes=4 * DAY_MIN + 1)
    assert pipeline.orders() == {}
    assert pipeline.check().differences == []


def test_what_was_spent_of_a_budget_goes_with_its_offers(open_pipeline: Opener) -> None:
    rules = """
[[rule]]
name = "all"
on = ["view"]
offer = { percent = 10, expires = "1h" }
budget_per_day = 5
"""
    pipeline = open_pipeline(rules=rules, offers_ttl=timedelta(days=2))
    pipeline.give(click("u1"), click("u2"))
    pipeline.give(click("u3"))
    assert [item for _, _, item in pipeline.items("budgets")] == [b"3"]
    pipeline.idle(minutes=2 * DAY_MIN + 1)
    assert pipeline.items("budgets") == []


def test_what_history_left_waiting_goes_with_its_user(open_pipeline: Opener) -> None:
    """Nothing comes after it in its history, so it never falls due."""
    pipeline = short_lived(open_pipeline)
    carts = [click("u1", event_type="add_to_cart", product_id="p1", cart_id="c1")]
    pipeline.give(*carts, historical=True)
    assert len(pipeline.items("timers")) == 1
    pipeline.idle(minutes=DAY_MIN + 1)
    assert pipeline.items("timers") == []
    pipeline.give(*(c | {"event_id": "later"} for c in carts), historical=True)
    assert len(pipeline.items("timers")) == 1
