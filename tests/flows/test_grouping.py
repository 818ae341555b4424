"""What comes out depends on what came in: not on micro-batches, restarts, memory or shards."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.flows.pipeline import (
    MINUTE_US,
    NOW_US,
    Opener,
    Pipeline,
    cart_line,
    click,
    entry,
    order,
    stock,
)

from shopstream.events import TOPICS, Entry

RULES = """
[[rule]]
name = "twice"
on = ["view"]
count = 2
same = "product"
within = "1h"
without = ["purchase"]
offer = { percent = 10, expires = "1h" }
cooldown = "5m"
budget_per_day = 3

[[rule]]
name = "left"
on = ["add_to_cart"]
same = "cart"
idle = "10m"
without = ["purchase"]
offer = { percent = 5, expires = "1h" }

[[rule]]
name = "back"
on = ["search"]
who = { user_type = ["returning"] }
offer = { amount = 1, currency = "EUR", expires = "1h" }
holdout = 0.3
"""
Users: TypeAlias = st.SearchStrategy[str]
LIVE, HISTORICAL = ["u1", "u2", "ü3"], ["h1", "h2"]
_product = st.sampled_from(["p1", "p2"])
_minutes = st.integers(-120, 0)


@st.composite
def _clicks(draw: st.DrawFn, users: Users) -> dict[str, Any]:
    kinds = ["view", "view", "view", "add_to_cart", "remove_from_cart", "purchase", "search"]
    fields: dict[str, Any] = {"event_type": draw(st.sampled_from(kinds))}
    if draw(st.booleans()):
        fields["event_id"] = f"e{draw(st.integers(0, 12))}"
    if draw(st.booleans()):
        fields |= {"session_id": draw(st.sampled_from(["s1", "s2"])), "user_type": "returning"}
    if draw(st.booleans()):
        fields["x"] = 1
    if draw(st.integers(0, 9)) == 0:
        fields["price"] = -1
    return click(draw(users), draw(_minutes), product_id=draw(_product), **fields)


@st.composite
def _orders(draw: st.DrawFn, customers: list[str]) -> dict[str, Any]:
    """An order id belongs to one customer: shards go by customer, and each knows its own orders."""
    prices = draw(st.lists(st.sampled_from([0, 5, 600]), min_size=1, max_size=3))
    number = draw(st.integers(0, len(customers)))
    fields: dict[str, Any] = {"customer_id": [*customers, None][number]}
    fields["status"] = draw(st.sampled_from(["placed", "paid", "cancelled"]))
    return order(f"o{number}", *prices, minutes=draw(_minutes), **fields)


def _events(topic: str, names: list[str]) -> st.SearchStrategy[Any]:
    users = st.sampled_from(names)
    match topic:
        case "clicks":
            return _clicks(users) | st.sampled_from([b"not json", b"\xff", b"{}"])
        case "orders":
            return _orders(names)
        case "carts":
            return st.builds(cart_line, users, _product, st.integers(0, 2), _minutes)
        case _:
            return st.builds(stock, _product, st.sampled_from([0, 3, 9]), _minutes)


@st.composite
def _entries(draw: st.DrawFn) -> Entry:
    topic = draw(st.sampled_from(["clicks", "clicks", "clicks", "carts", "orders", "stock"]))
    historical = draw(st.integers(0, 3)) == 0
    names = HISTORICAL if historical else LIVE
    events = draw(st.lists(_events(topic, names), min_size=1, max_size=4))
    facts: dict[str, Any] = {"historical": historical}
    if historical:
        facts |= {"source": "load:x", "watermark_us": NOW_US + draw(_minutes) * MINUTE_US}
    if topic == "orders" and draw(st.booleans()):
        facts["on_bad_line"] = "quarantine_line"
        facts["units"] = sum(len(found["lines"]) for found in events)
    return entry(*events, topic=topic, **facts)


rows_of_entries = st.lists(st.lists(_entries(), min_size=1, max_size=3), min_size=1, max_size=8)


SLOW = settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes: do it by hand
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.slow
@SLOW
@given(
    rows=rows_of_entries, steps=st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=8)
)
def test_tables_and_ledger_do_not_depend_on_grouping_restarts_or_memory(
    rows: list[list[Entry]], steps: list[tuple[int, bool]]
) -> None:
    with (
        TemporaryDirectory() as folder,
        Pipeline(Path(folder, "whole"), rules=RULES) as whole,
        Pipeline(Path(folder, "parts"), rules=RULES, cached_events_max=2) as parts,
    ):
        for row in rows:
            whole.append(*row)
            parts.append(*row)
        whole.process_all()
        for events_max, restarted in steps:
            parts.process(events_max=events_max)
            if restarted:
                parts.restart()
        parts.process_all()
        whole.idle(minutes=60, last=True)
        parts.idle(minutes=60, last=True)
        expected, found = whole.snapshot(), parts.snapshot()
        for name in expected:
            assert found[name] == expected[name], name
        assert whole.check().differences == []
        assert parts.check().differences == []


@pytest.mark.slow
@SLOW
@given(rows=rows_of_entries)
def test_two_shards_make_what_one_makes(rows: list[list[Entry]]) -> None:
    # A budget is split, and a timer fires by its own shard's watermark: neither is compared.
    unlimited = RULES.replace("budget_per_day = 3\n", "").replace('idle = "10m"', 'within = "1m"')
    with (
        TemporaryDirectory() as folder,
        Pipeline(Path(folder, "one"), rules=unlimited) as one,
        Pipeline(Path(folder, "two"), rules=unlimited, shards=2) as two,
    ):
        for row in rows:
            one.append(*row)
            two.append(*row)
        one.process_all()
        two.process_all()
        expected, found = one.snapshot(), two.snapshot()
        same = ("offers", "orders", "stock_levels", "products", "users", "browsing_events")
        for name in (*same, "quarantine"):
            assert found[name] == expected[name], name
        for topic in TOPICS:
            for source in ("http", "load:x"):
                assert two.counts(topic, source) == one.counts(topic, source)
        assert two.check().differences == []


def test_a_row_out_of_order_makes_what_the_same_row_makes_sorted(open_pipeline: Opener) -> None:
    """Within a row a user's events are taken in the order of event time."""
    minutes = [0, 7, 3, 9, 1, 8, 2, 6, 5, 4]
    events = [
        click(f"u{n % 2}", m - 10, product_id="p1", event_id=f"e{m}", page=f"/{m}")
        for n, m in enumerate(minutes)
    ]
    mixed, ordered = open_pipeline(), open_pipeline()
    mixed.give(*events)
    ordered.give(*sorted(events, key=lambda e: str(e["timestamp"])))
    assert mixed.snapshot() == ordered.snapshot()
    assert [o.rule for o in mixed.offers()] == ["viewed-three-times"] * 2


def test_a_late_event_is_kept_and_counts_for_those_after_it(pipeline: Pipeline) -> None:
    for minutes in (-2, -5):
        pipeline.give(click(minutes=minutes, product_id="p1", event_id=f"e{minutes}"))
    assert pipeline.offers() == []
    pipeline.give(click(minutes=0, product_id="p1", event_id="e0"))
    assert [offer.trigger for offer in pipeline.offers()] == ["e0"]


def test_daily_budgets_are_split_over_the_shards_and_never_overspent(
    open_pipeline: Opener,
) -> None:
    rules = """
[[rule]]
name = "all"
on = ["view"]
offer = { percent = 10, expires = "1h" }
budget_per_day = 5
"""
    for shards in (1, 2, 3):
        pipeline = open_pipeline(rules=rules, shards=shards)
        for n in range(60):
            pipeline.give(click(f"u{n}", event_id="e"))
            if n == 30:
                pipeline.restart()
        assert len(pipeline.offers()) == 5
        pipeline.give(*(click(f"u{n}", -24 * 60, event_id="yesterday") for n in range(60)))
        assert len(pipeline.offers()) == 10, "each day has its own budget"
