"""The law of builds, with the real builder on real tables: the same rows in all tables, however
what arrived was cut and ordered, and whether it was built bit by bit or at once.
"""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.lake.real_lake import (
    ARRIVAL,
    Event,
    RealLake,
    cart,
    click,
    entry,
    instant,
    offer,
    order,
    stock,
)

pytestmark = pytest.mark.slow

PATIENT = settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
"""An example takes seconds: it isn't made smaller."""
DAYS = st.integers(17, 20)
MINUTES = st.sampled_from([5, 20, 600, 615, 660, 1430])
USERS = st.sampled_from("uv")
PRODUCTS = st.sampled_from("pq")
TOPICS = ["clicks", "orders", "carts", "stock", "offers"]
STATUSES = ["placed", "paid", "cancelled", "refunded"]


def lines(draw: st.DrawFn) -> list[dict[str, Any]]:
    line = st.fixed_dictionaries(
        {
            "product_id": PRODUCTS,
            "quantity": st.integers(1, 3),
            "unit_price": st.sampled_from(["0.1", "7"]),
        },
        optional={
            "line": st.sampled_from(["1", "2", "3"]),
            "category": st.sampled_from("xy"),
        },
    )
    return draw(st.lists(line, min_size=1, max_size=2))


@st.composite
def contradicting(draw: st.DrawFn) -> tuple[str, Event]:
    """An event with one of few ids, which others with other contents have too."""
    topic = draw(
        st.sampled_from(["clicks", "clicks", "orders", "orders", "carts", "stock", "offers"])
    )
    day, minute = draw(DAYS), draw(MINUTES)
    when = {"timestamp": instant(day, minute)}
    if topic == "clicks":
        event = click(draw(st.sampled_from("abcdef")), day, draw(USERS), minute)
        event |= {"event_type": draw(st.sampled_from(["view", "add_to_cart", "purchase"]))}
        event |= {
            "product_id": draw(PRODUCTS),
            "device_type": draw(st.sampled_from(["mobile", "desktop"])),
        }
        event |= draw(st.sampled_from([{}, {}, {"session_id": "s1"}, {"session_id": "s2"}]))
        event |= draw(st.sampled_from([{}, {"order_id": "a"}, {"order_id": "b"}]))
    elif topic == "orders":
        event = order(draw(st.sampled_from("abc")), day, draw(st.sampled_from(STATUSES)), minute)
        event |= {"lines": lines(draw), "by_line": draw(st.booleans()), "amount": "7"}
        event |= {"customer_id": draw(USERS)}
    elif topic == "carts":
        event = cart(draw(USERS), draw(PRODUCTS), day, minute)
        event |= {"event_id": draw(st.sampled_from("abc")), "quantity": draw(st.integers(0, 2))}
    elif topic == "stock":
        event = stock(draw(PRODUCTS), draw(st.integers(0, 9)), day, minute)
        event |= {"event_id": draw(st.sampled_from("abc"))}
    else:
        # An offer's id is made of rule, user and trigger: it doesn't contradict these.
        event = offer(draw(st.sampled_from("abc")), day, minute, reason=draw(USERS))
        event |= {"delivered": draw(st.booleans()), "historical": draw(st.booleans())}
        when = {}
    return topic, event | when


def compare(bits: dict[str, list[Event]], once: dict[str, list[Event]]) -> None:
    for name, rows in once.items():
        assert bits[name] == rows, name


@PATIENT
@given(data=st.data())
def test_files_of_any_positions_in_any_order_make_the_same_tables(data: st.DataObject) -> None:
    """Positions say who came first, also where a later file holds an earlier one."""
    drawn = data.draw(st.lists(contradicting(), min_size=5, max_size=30))
    events = [(position, topic, event) for position, (topic, event) in enumerate(drawn)]
    arrived = data.draw(st.permutations(events))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(events) - 1), min_size=1, max_size=2)))
    bounds = [0, *cuts, len(events)]
    with tempfile.TemporaryDirectory() as made:
        bits, once = RealLake(Path(made, "bits")), RealLake(Path(made, "once"))
        for first, after in pairwise(bounds):
            bits.put(arrived[first:after])
            bits.build()
        once.put(events)
        once.build(full=True)
        compare(bits.all_rows(), once.all_rows())


@st.composite
def of_its_own(draw: st.DrawFn, number: int) -> tuple[str, Event, bool]:
    """An event with an id and an instant of its own; whether its lines are judged one by one.

    Of what an order is, all who tell of it say the same.
    """
    topic = draw(st.sampled_from(["clicks", "clicks", "orders", "carts", "stock"]))
    day, minute = draw(DAYS), number * 17 % 1440
    if topic == "clicks":
        kind = draw(st.sampled_from(["view", "add_to_cart", "purchase"]))
        event = click(f"e{number}", day, draw(USERS), minute, event_type=kind)
        event |= {"product_id": draw(PRODUCTS)}
        event |= draw(st.sampled_from([{}, {}, {"session_id": f"s{day}"}]))
        event |= draw(st.sampled_from([{}, {"order_id": "a"}, {"order_id": "b"}]))
    elif topic == "orders":
        status = draw(st.sampled_from(STATUSES))
        id, by_line = draw(st.sampled_from([(f"o{number}", False), ("a", False), ("b", True)]))
        place = 17 + STATUSES.index(status) if id in "ab" else day
        event = order(id, place, status, 700 if id in "ab" else minute, customer_id="u")
        if by_line:
            event["lines"][0] |= {"line": str(number)}
        return topic, event, by_line
    elif topic == "carts":
        event = cart(draw(USERS), draw(PRODUCTS), day, minute)
    else:
        event = stock(draw(PRODUCTS), draw(st.integers(0, 9)), day, minute)
    return topic, event, False


@PATIENT
@given(data=st.data())
def test_events_that_arrive_in_any_order_make_the_same_tables(data: st.DataObject) -> None:
    """Through log and lander; some come twice. What says how they came is left out."""
    events = [data.draw(of_its_own(number)) for number in range(data.draw(st.integers(6, 25)))]
    twice = data.draw(st.lists(st.sampled_from(events), max_size=4))
    arrived = data.draw(st.permutations(events)) + twice
    bad = entry("clicks", {"event_id": "x"})
    entries = [
        entry(topic, event, on_bad_line="quarantine_line" if by_line else "reject_order")
        for topic, event, by_line in arrived
    ]
    cut = data.draw(st.integers(1, len(arrived) - 1))
    with tempfile.TemporaryDirectory() as made:
        bits, once = RealLake(Path(made, "bits")), RealLake(Path(made, "once"))
        for part in ([bad, *entries[:cut]], entries[cut:]):
            bits.append(*part)
            bits.land()
            bits.build()
        once.append(*reversed([bad, *entries]))
        once.land()
        once.build()
        compare(bits.all_rows(*ARRIVAL), once.all_rows(*ARRIVAL))
        assert bits.build().build == 0
