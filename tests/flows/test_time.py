"""When timers fire, and what history may not do."""

import pytest
from tests.flows.pipeline import (
    HOUR_US,
    MINUTE_US,
    NOW_US,
    Opener,
    Pipeline,
    click,
    order,
)

HISTORY = {"source": "load:x", "historical": True}


def put_in_cart(user: str = "u1", minutes: float = 0) -> dict[str, object]:
    event_id = f"cart{minutes}"
    return click(user, minutes, event_type="add_to_cart", product_id="p1", event_id=event_id)


def test_a_live_timer_fires_by_the_clock_in_a_silence(pipeline: Pipeline) -> None:
    pipeline.give(put_in_cart())
    pipeline.idle(minutes=29)
    assert pipeline.offers() == []
    pipeline.idle(minutes=1)
    (offer,) = pipeline.offers("cart-abandoned")
    assert offer.delivered
    assert not offer.historical
    assert offer.trigger == "cart0"
    pipeline.idle(minutes=60)
    assert len(pipeline.offers()) == 1, "once for each cart"


def test_a_live_timer_fires_when_others_move_event_time_on(pipeline: Pipeline) -> None:
    pipeline.give(put_in_cart())
    pipeline.give(click("u2", 31), received_us=NOW_US + 31 * MINUTE_US)
    assert [o.user_id for o in pipeline.offers("cart-abandoned")] == ["u1"]


def test_an_event_ahead_of_its_arrival_does_not_move_the_clock_ahead(pipeline: Pipeline) -> None:
    pipeline.give(put_in_cart(minutes=-28))
    pipeline.give(click("u2", 4))
    assert pipeline.offers() == [], "4 minutes ahead of arrival, and it is 28 minutes since"
    pipeline.idle(minutes=2)
    assert len(pipeline.offers()) == 1


def test_a_timer_survives_a_restart_and_is_checked_again_when_it_is_due(
    pipeline: Pipeline,
) -> None:
    pipeline.give(put_in_cart("u1"), put_in_cart("u2"), put_in_cart("u3"))
    pipeline.restart()
    pipeline.give(click("u2", 1, event_type="purchase", product_id="p1"))
    pipeline.give(click("u3", 3, event_type="begin_checkout"), received_us=NOW_US + 3 * MINUTE_US)
    pipeline.restart()
    pipeline.idle(minutes=31)
    assert [o.user_id for o in pipeline.offers()] == ["u1"]
    pipeline.idle(minutes=2)
    assert [o.user_id for o in pipeline.offers()] == ["u1", "u3"], "30 minutes after its checkout"
    assert pipeline.items("timers") == []


def test_an_order_stops_the_timer_of_its_customer(pipeline: Pipeline) -> None:
    pipeline.give(put_in_cart())
    pipeline.give(order("o1", customer_id="u1", minutes=1), topic="orders")
    pipeline.idle(minutes=60)
    assert pipeline.offers() == []


def test_a_historical_timer_fires_by_the_watermark_of_history_only(pipeline: Pipeline) -> None:
    began = NOW_US - 5 * HOUR_US
    pipeline.give(put_in_cart(minutes=-300), watermark_us=began, **HISTORY)
    pipeline.idle(minutes=120)
    pipeline.give(click("u2", 120), received_us=pipeline.now_us)
    assert pipeline.offers() == [], "neither the clock nor what is live moves history on"
    pipeline.give(click("u3", -260), watermark_us=began + 40 * MINUTE_US, **HISTORY)
    (offer,) = pipeline.offers()
    assert (offer.user_id, offer.historical) == ("u1", True)
    assert not offer.delivered


def test_history_stays_history_after_a_restart(pipeline: Pipeline) -> None:
    began = NOW_US - 5 * HOUR_US
    pipeline.give(put_in_cart(minutes=-300), watermark_us=began, **HISTORY)
    pipeline.restart()
    pipeline.give(click("u3", -260), watermark_us=began + 40 * MINUTE_US, **HISTORY)
    (offer,) = pipeline.offers()
    assert offer.historical
    assert not offer.delivered


def test_offers_and_alerts_of_history_are_recorded_and_not_delivered(pipeline: Pipeline) -> None:
    views = [click(minutes=-m, product_id="p1", event_id=f"e{m}") for m in range(3)]
    pipeline.give(*views, **HISTORY)
    pipeline.give(order("o1", 5_000), topic="orders", **HISTORY)
    (offer,) = pipeline.offers()
    assert (offer.historical, offer.delivered) == (True, False)
    (alert,) = pipeline.alerts()
    assert alert.historical
    assert pipeline.counts("alerts", "large_order") == {"historical_raised": 1}


def test_a_purchase_makes_the_offers_for_that_product_moot(pipeline: Pipeline) -> None:
    for minutes in (-3, -2, -1):
        viewed = [click(minutes=minutes, product_id=product) for product in ("p1", "p2")]
        pipeline.give(*viewed)
    made = pipeline.offers()
    pipeline.restart()
    pipeline.give(order("o1", customer_id="u1"), topic="orders")
    assert [(o.product_id, o.moot) for o in pipeline.offers() if o.product_id == "p1"] == [
        ("p1", True)
    ]
    assert all(not o.moot for o in pipeline.offers() if o.product_id != "p1")
    assert len(pipeline.offers()) == len(made)
    pipeline.idle(last=True)
    assert all(b'"moot"' not in line for line in pipeline.archived()), "archived as it was made"
    assert pipeline.check().balanced


def test_offers_are_archived_once_through_restarts(open_pipeline: Opener) -> None:
    pipeline = open_pipeline()
    for n in range(6):
        events = [click(f"u{n}", -m, product_id="p1", event_id=f"e{m}") for m in range(3)]
        pipeline.give(*events)
        if n % 2:
            pipeline.restart()
        if n == 3:
            pipeline.idle(minutes=1)
    pipeline.idle(last=True)
    lake = pipeline.engine.lake()
    lines = [n for name in lake.names("archive/offers") for n in lake.get(name).splitlines()]
    assert len(lines) == len(set(lines)) == len(pipeline.offers()) == 6
    assert pipeline.items("archive_feed") == []
    assert pipeline.check().balanced


@pytest.mark.parametrize("restarted", [False, True])
def test_a_cart_that_history_began_is_news_once_touched_also_after_a_restart(
    open_pipeline: Opener, restarted: bool
) -> None:
    pipeline = open_pipeline()
    began = click("u1", -3, event_type="add_to_cart", product_id="p1", event_id="h")
    past = NOW_US - 3 * MINUTE_US
    pipeline.give(began, source="load:x", historical=True, watermark_us=past)
    if restarted:
        pipeline.restart()
    pipeline.give(click("u1", 0, event_type="add_to_cart", product_id="p1", event_id="l"))
    pipeline.idle(minutes=60)
    assert [(o.rule, o.delivered) for o in pipeline.offers()] == [("cart-abandoned", True)]
    assert pipeline.check().differences == []
