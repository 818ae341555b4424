"""The lander judges as the processor does: its tally is the ledger, duplicates being accepted."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.domain.test_landing import HOSTILE
from tests.flows.pipeline import NOW_US, Opener, Pipeline, cart_line, click, entry, order, stock

from shopstream.domain.failures import Limits
from shopstream.domain.landing import Range
from shopstream.events import Entry, Failure, Rejection
from shopstream.flows.landing import Landing, land_range
from shopstream.flows.work import ACCEPTED, DUPLICATE, QUARANTINED


def land(pipeline: Pipeline) -> Landing:
    """Land all of the log."""
    whole = Range(0, pipeline.log.end())
    return land_range(whole, pipeline.log.rows(*whole), pipeline.engine.lake(), Limits())


def by_ledger(pipeline: Pipeline) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for processor in pipeline.processors:
        for (topic, source, outcome), units in processor.ledger.cells.items():
            kind, _, reason = outcome.partition(":")
            if kind in (ACCEPTED, DUPLICATE) or reason == "conflict":
                found[topic, source, ""] += units
            elif kind == QUARANTINED:
                found[topic, source, reason] += units
    return +found


def by_lander(landing: Landing) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for (_, *cell), units in landing.tally:
        found[tuple(cell)] += units  # type: ignore[index]  # three parts
    return found


def segment(**more: Any) -> dict[str, Any]:
    product = {"product_id": "p1", "price": 3, "quantity": 2}
    known = {"type": "track", "messageId": "m1", "userId": "u1", "event": "Order Completed"}
    properties = {"order_id": "o7", "currency": "EUR", "products": [product]}
    return known | {"properties": properties} | more


def arrivals() -> Iterator[Entry]:
    """All that may arrive: topics, dialects, orders by line, what was refused on the way in."""
    yield entry(*(click(f"u{n}") for n in range(20)), source="simulate")
    yield entry(click(event_id="e1"), click(event_id="e1"), click(event_id="e1", page="/x"))
    yield entry(order("o1"), order("o1"), order("o1", 11), order("o2", -1), topic="orders")
    three = order("o3", 1, 0, 3)
    for _ in range(2):
        yield entry(three, topic="orders", on_bad_line="quarantine_line", units=3, identity="erp")
    large = order("o4", *[0] * 200, payload="x" * 1_000_000)
    yield entry(large, topic="orders", on_bad_line="quarantine_line", units=200)
    long = order("o5", *[0] * 10_001)
    yield entry(long, topic="orders", on_bad_line="quarantine_line", units=10_001)
    yield entry(stock("p1", 3), stock("p1", 3), stock("p2", -1), topic="stock")
    yield entry(cart_line("u1", "p1", 2), cart_line("u1", "p1", 0), {"x": 1}, topic="carts")
    yield entry(segment(), {"type": "nonsense"}, segment(messageId="m2"), dialect="segment")
    refused = Rejection(topic="clicks", failures=[Failure("json", "event", "x", "JSON")], raw=b"x")
    yield entry(msgspec.json.encode(refused), dialect="rejected", source="load:x")
    yield entry(b"0-1", dialect="resolved", units=0)


@pytest.mark.parametrize("shards", [1, 3])
def test_the_tally_is_the_ledger_with_duplicates_and_conflicts_as_accepted(
    open_pipeline: Opener, shards: int
) -> None:
    pipeline = open_pipeline(shards=shards)
    pipeline.append(*arrivals())
    for one in arrivals():
        pipeline.append(one)
    pipeline.process_all()
    assert by_lander(land(pipeline)) == by_ledger(pipeline)


@pytest.mark.parametrize("topic", ["clicks", "orders", "carts", "stock"])
def test_hostile_input_is_judged_alike(pipeline: Pipeline, topic: str) -> None:
    for raw in HOSTILE.values():
        pipeline.append(entry(raw, topic=topic))
    pipeline.append(entry(*HOSTILE.values(), topic=topic))
    pipeline.process_all()
    assert by_lander(land(pipeline)) == by_ledger(pipeline)


@pytest.mark.parametrize("price", ["1_0", " 5 ", "5.", ".5", "+5", "05", "1e", ""])
def test_an_amount_that_python_would_take_is_refused_by_all(pipeline: Pipeline, price: str) -> None:
    """Also among events that are judged together because each has all that it needs."""
    whole: dict[str, Any] = {"session_id": "s1", "user_type": "new", "device_type": "mobile"}
    for n, bad in enumerate([price, {"price": price}]):
        events = [click(f"u{n}", event_id=f"{n}", price=f"{n}.50", **whole) for n in range(3)]
        more: dict[str, Any] = {"price": bad} if n == 0 else {"extra": bad, "price": "2.50"}
        pipeline.give(*events, click("odd", event_id=f"odd-{n}", **whole, **more))
    assert pipeline.reasons() == ["price"]
    assert pipeline.counts()["accepted"] == 4
    assert by_lander(land(pipeline)) == by_ledger(pipeline)


def test_what_arrived_in_different_hours_lands_in_different_files(pipeline: Pipeline) -> None:
    hour_us = 3_600_000_000
    first = entry(click("u1"), click("u2", minutes=-3_000), {"x": 1})
    second = entry(click("u3"), received_us=NOW_US + hour_us)
    pipeline.append(first, second)
    found = {(file.topic, file.arrived): file for file in land(pipeline).files}
    assert {(*key, file.rows) for key, file in found.items()} == {
        ("clicks", "2025-11-21T10", 2),
        ("quarantine", "2025-11-21T10", 1),
        ("clicks", "2025-11-21T11", 1),
    }
    assert found["clicks", "2025-11-21T10"].days == ["2025-11-19", "2025-11-21"]
    assert found["quarantine", "2025-11-21T10"].days == ["2025-11-21"]
    for file in found.values():
        day, hour = file.arrived.split("T")
        positions = f"{0:020d}-{3:020d}"
        assert file.name == f"bronze/{file.topic}/dt={day}/hour={hour}/{positions}.json.zst"
