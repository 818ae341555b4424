"""Orders of two customers with one id, each accepted in its own shard: what comes of them when the
number of shards changes.
"""

import asyncio
import json
from datetime import timedelta

import pytest
from tests.flows.pipeline import Opener, order
from tests.flows.test_resharding import USERS

from shopstream.ask.live import LIVE_TABLES
from shopstream.collector.lookups import Lookups
from shopstream.domain.partition import shard_of_key
from shopstream.flows.orders import archive_of


def two_customers() -> tuple[str, str]:
    """Of two shards, when there are two."""
    return USERS[0], next(u for u in USERS if shard_of_key(u, 2) != shard_of_key(USERS[0], 2))


def test_orders_of_two_customers_with_one_id_are_both_kept(open_pipeline: Opener) -> None:
    """Each was accepted, as neither's shard knew of the other's."""
    mine, yours = two_customers()
    pipeline = open_pipeline(shards=2)
    pipeline.give(order("o1", 10, customer_id=mine), topic="orders")
    pipeline.give(order("o1", 20, customer_id=yours), topic="orders")
    pipeline.reshard(1)
    assert sorted(o.customer_id or "" for o in pipeline.orders().values()) == sorted([mine, yours])
    lookups = Lookups(pipeline.engine)
    shown = json.loads(asyncio.run(lookups.orders("o1")))["orders"]
    lookups.close()
    assert [(one["source"], one["status"]) for one in shown] == [("http", "placed")] * 2
    lines = LIVE_TABLES["live.orders"].lines(pipeline.tables[0])
    assert [json.loads(line)["source"] for line in lines] == ["http", "http"]
    assert pipeline.check().differences == []
    pipeline.idle(minutes=500 * 24 * 60)
    assert pipeline.orders() == {}
    assert pipeline.check().differences == []


def test_an_order_sent_again_is_known_also_where_another_customers_has_its_id(
    open_pipeline: Opener,
) -> None:
    """In one shard, and in two again: each is a duplicate, and another one with its id no order."""
    mine, yours = two_customers()
    pipeline = open_pipeline(shards=2)

    def send(price: int = 0) -> None:
        pipeline.give(order("o1", 10 + price, customer_id=mine), topic="orders")
        pipeline.give(order("o1", 20 + price, customer_id=yours), topic="orders")

    send()
    for cuts, shards in enumerate((1, 2, 1, 2), 1):
        pipeline.reshard(shards)
        send()
        send(price=1)
        assert pipeline.counts("orders") == {
            "accepted": 2,
            "duplicate": 2 * cuts,
            "quarantined:conflict": 2 * cuts,
        }
        assert pipeline.check().differences == []
    assert {sk for _, sk, _ in pipeline.items("orders")} == {"http#placed"}


@pytest.mark.parametrize("first", [0, 1])
def test_an_order_is_known_also_when_the_other_with_its_id_has_expired(
    open_pipeline: Opener, first: int
) -> None:
    """Whichever of them stands beside the other."""
    pipeline = open_pipeline(shards=2, orders_ttl=timedelta(hours=10))
    customers = two_customers()
    soon, later = (order("o1", 10, customer_id=customers[n]) for n in (first, 1 - first))
    pipeline.give(soon, topic="orders")
    pipeline.idle(minutes=6 * 60)
    pipeline.give(later, topic="orders")
    pipeline.reshard(1)
    pipeline.idle(minutes=5 * 60)
    [left] = pipeline.orders().values()
    assert left.customer_id == later["customer_id"]
    pipeline.give(later, topic="orders")
    assert pipeline.counts("orders") == {"accepted": 2, "duplicate": 1}
    pipeline.give(soon, topic="orders")
    assert pipeline.counts("orders") == {"accepted": 2, "duplicate": 1, "quarantined:conflict": 1}
    pipeline.idle(minutes=6 * 60)
    pipeline.give(soon, topic="orders")
    assert pipeline.counts("orders")["accepted"] == 3
    assert pipeline.check().differences == []


def test_large_orders_of_two_customers_with_one_id_are_archived_apart(
    open_pipeline: Opener,
) -> None:
    pipeline = open_pipeline(shards=2)
    for user_id in two_customers():
        large = order("o1", customer_id=user_id, payload={"of": user_id, "note": "x" * 500_000})
        pipeline.give(large, topic="orders")
    archived = {archive_of(item) for _, _, item in pipeline.items("orders")}
    lake = pipeline.engine.lake()
    assert {json.loads(lake.get(name))["customer_id"] for name in archived} == {*two_customers()}


def test_lines_that_come_later_are_added_to_the_order_of_their_customer(
    open_pipeline: Opener,
) -> None:
    mine, yours = two_customers()
    pipeline = open_pipeline(shards=2)

    def send(*products: str) -> None:
        for user_id in (mine, yours):
            lines = [
                {"product_id": p, "quantity": 1, "unit_price": 1, "line": n}
                for n, p in enumerate(products, 1)
            ]
            known = order("o1", customer_id=user_id) | {"lines": lines}
            pipeline.give(known, topic="orders", on_bad_line="quarantine_line", units=len(lines))

    send("p1")
    pipeline.reshard(1)
    send("p1", "p2")
    orders = pipeline.orders().values()
    found = {o.customer_id: [line.product_id for line in o.lines] for o in orders}
    assert found == {mine: ["p1", "p2"], yours: ["p1", "p2"]}
    assert pipeline.counts("orders") == {"accepted": 4, "duplicate": 2}
    assert pipeline.check().differences == []
