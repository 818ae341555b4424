"""The simulated shop: repeatable, believable, and invalid only where it was asked to be."""

import subprocess
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from shopstream.domain.failures import Limits
from shopstream.domain.validation import read_event
from shopstream.errors import ConfigError
from shopstream.events import TOPICS, Rejection
from shopstream.simulator import KINDS, Kind, Simulated, simulate
from shopstream.simulator.spoiling import SPOILS, spoiled

START_US = 1_790_000_000_000_000 // 86_400_000_000 * 86_400_000_000
LATER_US = START_US + 10 * 86_400_000_000


def made(kind: Kind, count: int, **options: Any) -> list[Simulated]:
    options = {"seed": 1, "start_us": START_US, "per_s": count / 86_400} | options
    return list(simulate(kind, count, **options))


def decoded(events: list[Simulated], topic: str = "") -> list[dict[str, Any]]:
    decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
    return [decode(e.raw) for e in events if topic in ("", e.topic)]


def rejected(events: list[Simulated]) -> list[Rejection]:
    found = [read_event(e.topic, e.raw, LATER_US, Limits()) for e in events]
    return [event for event in found if isinstance(event, Rejection)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(kind: Kind) -> None:
    events = made(kind, 300, invalid_percent=5)
    assert events == made(kind, 300, invalid_percent=5)
    assert events != made(kind, 300, invalid_percent=5, seed=2)


def test_the_bytes_do_not_depend_on_the_process() -> None:
    program = (
        "from hashlib import sha256; from shopstream.simulator import simulate;"
        "print(sha256(b''.join(e.raw for e in simulate('shop', 2_000, seed=3,"
        f"start_us={START_US}, per_s=1, invalid_percent=5))).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    here = b"".join(e.raw for e in made("shop", 2_000, seed=3, per_s=1, invalid_percent=5))
    assert run.stdout.strip() == sha256(here).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_valid_and_of_their_topic(kind: Kind) -> None:
    events = made(kind, 3_000)
    assert len(events) == 3_000
    assert not rejected(events)
    assert {e.topic for e in events} == (set(TOPICS) if kind == "shop" else {kind})


def test_every_event_has_an_id_of_its_own() -> None:
    events = decoded(made("shop", 5_000))
    ids = [e["event_id"] if "event_id" in e else (e["order_id"], e["status"]) for e in events]
    assert len(set(ids)) == 5_000


def test_another_day_has_other_ids() -> None:
    days = [made("clicks", 100, start_us=START_US + n * 86_400_000_000) for n in (0, 1)]
    first, second = ({e["event_id"] for e in decoded(day)} for day in days)
    assert not first & second


def test_visits_go_from_looking_to_buying() -> None:
    types = Counter(e["event_type"] for e in decoded(made("clicks", 20_000)))
    assert set(types) == {
        *("view", "click", "add_to_cart", "remove_from_cart"),
        *("begin_checkout", "purchase", "search"),
    }
    assert types["view"] > types["add_to_cart"] > types["begin_checkout"]
    per_session: dict[str, list[str]] = defaultdict(list)
    for event in decoded(made("clicks", 5_000)):
        per_session[event["session_id"]].append(event["event_type"])
    for steps in per_session.values():
        if "purchase" in steps:
            assert steps.index("add_to_cart") < steps.index("purchase")
            assert steps.index("begin_checkout") < steps.index("purchase")


def test_purchases_orders_and_stock_agree() -> None:
    events = made("shop", 20_000)
    bought: dict[str, dict[str, int]] = defaultdict(dict)
    for click in decoded(events, "clicks"):
        if click["event_type"] == "purchase":
            bought[click["order_id"]][click["product_id"]] = click["quantity"]
    orders = [o for o in decoded(events, "orders") if o["status"] in ("paid", "placed")]
    assert {o["order_id"] for o in orders} <= set(bought)
    for order in orders:
        lines = {line["product_id"]: line["quantity"] for line in order["lines"]}
        assert lines == bought[order["order_id"]]
    levels = [s["stock_on_hand"] for s in decoded(events, "stock")]
    assert min(levels) >= 0
    per_product: dict[str, list[int]] = defaultdict(list)
    for stock in decoded(events, "stock"):
        per_product[stock["product_id"]].append(stock["stock_on_hand"])
    changes = [b - a for of in per_product.values() for a, b in pairwise(of)]
    assert min(changes) < 0 < max(changes)


def test_a_few_products_sell_most_and_some_visitors_return() -> None:
    clicks = decoded(made("clicks", 20_000))
    views = Counter(c["product_id"] for c in clicks if c["event_type"] == "view")
    assert sum(n for _, n in views.most_common(100)) > 0.4 * views.total()
    users = Counter(c["user_type"] for c in clicks)
    assert 0.2 < users["returning"] / users.total() < 0.8


def test_nights_are_quiet_and_times_go_forward() -> None:
    times = [c["timestamp"] for c in decoded(made("clicks", 20_000))]
    assert times == sorted(times)
    hours = Counter(time[11:13] for time in times)
    assert hours["20"] > 5 * hours["03"]


def test_live_events_follow_each_other_at_the_rate() -> None:
    times = [c["timestamp"][17:26] for c in decoded(made("clicks", 5, per_s=4, live=True))]
    assert times == ["00.000000", "00.250000", "00.500000", "00.750000", "01.000000"]


@pytest.mark.parametrize("kind", KINDS)
def test_spoiled_events_are_all_invalid_in_many_ways(kind: Kind) -> None:
    events = made(kind, 1_000, invalid_percent=100)
    found = rejected(events)
    assert len(found) == 1_000
    assert len({r.reason for r in found}) >= 7
    assert not any(b"\n" in e.raw for e in events)


@pytest.mark.parametrize("topic", TOPICS)
def test_each_way_of_spoiling_spoils(topic: str) -> None:
    from random import Random

    raw = next(e.raw for e in made("shop", 5_000) if e.topic == topic)
    seen = {spoiled(topic, raw, Random(n)) for n in range(500)}
    assert len(seen) >= len(SPOILS[topic]) + 4
    assert len(rejected([Simulated(topic, raw) for raw in seen])) == len(seen)


def test_the_share_of_spoiled_events_is_as_asked() -> None:
    assert 150 < len(rejected(made("shop", 10_000, invalid_percent=2))) < 250


def test_padded_orders_have_the_size_and_stay_valid() -> None:
    events = made("orders", 40, target_kb=200)
    assert not rejected(events)
    assert all(190 * 1024 < len(e.raw) < 210 * 1024 for e in events)
    assert "note" in decoded(events)[0]["payload"]["notes"][0]


def test_only_orders_may_be_large() -> None:
    assert all(len(e.raw) < 256 * 1024 for e in made("clicks", 10, target_kb=250))
    with pytest.raises(ConfigError, match="--target-kb 251: wanted at most 250 for clicks"):
        made("clicks", 10, target_kb=251)
