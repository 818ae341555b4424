"""Look-ups while the processor that writes the tables is another and goes on writing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shopstream.domain.partition import shard_of_key
from shopstream.events import Offer
from shopstream.local.tables import RocksTables

NOW = datetime.now(UTC).replace(microsecond=0)
VIEW = b'{"event_id":"e%d","user_id":"u1","event_type":"view","timestamp":"2026-01-31T12:00:0%dZ"}'
ADD = (
    b'{"event_id":"a1","user_id":"u1","event_type":"add_to_cart","product_id":"p1","quantity":2,'
    b'"price":12.50,"currency":"EUR","cart_id":"c1","timestamp":"2026-01-31T12:00:00Z"}'
)


def offer(offer_id: str, **changes: Any) -> Offer:
    made = Offer(
        offer_id=offer_id,
        rule="viewed",
        version=1,
        user_id="u1",
        key="p1",
        trigger="e1",
        percent=Decimal("10.5"),
        reason="viewed three times",
        made_at=NOW,
        expires_at=NOW + timedelta(days=1),
        delivered=True,
    )
    return msgspec.structs.replace(made, **changes)


class Tables:
    """The tables as a processor writes them."""

    def __init__(self, tables: RocksTables) -> None:
        self._tables = tables

    def put(self, table: str, pk: str, sk: str, item: bytes) -> None:
        batch = self._tables.batch()
        batch.put(table, pk, sk, item)
        self._tables.write(batch)

    def put_offer(self, made: Offer) -> None:
        self.put("offers", made.user_id, made.offer_id, msgspec.json.encode(made))


@pytest.fixture
def tables(collector: Any) -> Iterator[Tables]:
    writer = RocksTables(collector.engine.dir.tables(0))
    yield Tables(writer)
    writer.close()


def get(collector: Any, path: str) -> Any:
    answer = collector.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_before_any_processor_has_run_the_answer_is_503(start_collector: Any) -> None:
    answer = start_collector().client.get("/v1/users/u1/offers")
    assert (answer.status_code, answer.json()["code"]) == (503, "no_tables")
    assert "retry-after" in answer.headers


def test_offers_are_those_that_can_be_used_now(collector: Any, tables: Tables) -> None:
    for made in (
        offer("o1"),
        offer("o2", made_at=NOW + timedelta(seconds=1)),
        offer("o3", delivered=False, held_out=True),
        offer("o4", moot=True),
        offer("o5", historical=True),
        offer("o6", expires_at=NOW - timedelta(seconds=1)),
        offer("o7", delivered=False),
        offer("o8", user_id="u2"),
    ):
        tables.put_offer(made)
    found = get(collector, "/v1/users/u1/offers")
    assert found["user_id"] == "u1"
    assert [o["offer_id"] for o in found["offers"]] == ["o2", "o1"]
    assert found["offers"][0]["percent"] == 10.5
    every = get(collector, "/v1/users/u1/offers?all=1")["offers"]
    assert {o["offer_id"] for o in every} == {f"o{n}" for n in range(1, 8)}
    assert len(get(collector, "/v1/users/u1/offers?all=1&limit=3")["offers"]) == 3


def test_an_offer_made_while_the_collector_runs_is_seen_at_once(
    collector: Any, tables: Tables
) -> None:
    for n in range(5):
        tables.put_offer(offer(f"new{n}", user_id="u3"))
        import time

        time.sleep(0.03)
        assert len(get(collector, "/v1/users/u3/offers")["offers"]) == n + 1


def test_events_come_latest_first_in_canonical_form(collector: Any, tables: Tables) -> None:
    odd = b'{"user_id":"u1","event_type":"view",\r"timestamp":"2026-01-31T13:00:00+01:00","x":[1]}'
    tables.put("browsing_events", "u1", f"{0:020d}", VIEW % (1, 1) + b"\n" + VIEW % (2, 2))
    tables.put("browsing_events", "u1", f"{2:020d}", odd)
    events = get(collector, "/v1/users/u1/events")["events"]
    assert [e.get("event_id") for e in events] == [None, "e2", "e1"]
    assert (events[0]["timestamp"], events[0]["extra"]) == ("2026-01-31T12:00:00Z", {"x": [1]})
    assert len(get(collector, "/v1/users/u1/events?limit=2")["events"]) == 2
    assert get(collector, "/v1/users/nobody/events") == {"user_id": "nobody", "events": []}


def test_the_cart_is_what_the_events_left_in_it(collector: Any, tables: Tables) -> None:
    tables.put("browsing_events", "u4", f"{0:020d}", ADD.replace(b"u1", b"u4"))
    (cart,) = get(collector, "/v1/users/u4/cart")["carts"]
    assert (cart["cart_id"], cart["currency"]) == ("c1", "EUR")
    assert cart["touched_at"] == "2026-01-31T12:00:00Z"
    assert [(x["product_id"], x["quantity"], x["unit_price"]) for x in cart["lines"]] == [
        ("p1", 2, 12.5)
    ]
    assert get(collector, "/v1/users/nobody/cart")["carts"] == []


def test_an_order_comes_with_all_its_states(collector: Any, tables: Tables) -> None:
    for status in ("placed", "paid"):
        tables.put("orders", "o1", f"load:a#b#{status}", b'{"order_id":"o1"}')
    found = get(collector, "/v1/orders/o1")
    assert [(o["source"], o["status"]) for o in found["orders"]] == [
        ("load:a#b", "paid"), ("load:a#b", "placed"),
    ]  # fmt: skip
    answer = collector.client.get("/v1/orders/none")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("user", ["a/b", "ü", "a b", "../x", "%", "u?x", "<img onerror>"])
def test_ids_of_any_printable_text_can_be_asked_for(
    collector: Any, tables: Tables, user: str
) -> None:
    from urllib.parse import quote

    tables.put_offer(offer("o1", user_id=user))
    found = get(collector, f"/v1/users/{quote(user, safe='')}/offers")
    assert (found["user_id"], len(found["offers"])) == (user, 1)


@pytest.mark.parametrize("user", ["%00", "x" * 257, "%1b[31m", "x%00"])
def test_ids_that_can_be_nobodys_get_400(collector: Any, tables: Tables, user: str) -> None:
    answer = collector.client.get(f"/v1/users/{user}/offers")
    assert (answer.status_code, answer.json()["code"]) == (400, "id")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "limit=-1", "all=2", "all="])
def test_queries_that_make_no_sense_get_400(collector: Any, tables: Tables, query: str) -> None:
    assert collector.client.get(f"/v1/users/u1/offers?{query}").status_code == 400


def test_users_and_orders_are_found_in_every_shard(start_collector: Any) -> None:
    collector = start_collector(shards=2)
    shards = [RocksTables(collector.engine.dir.tables(n)) for n in range(2)]
    for n, user in enumerate(("a", "b", "c", "d")):
        there = Tables(shards[shard_of_key(user, 2)])
        there.put_offer(offer("o1", user_id=user))
        there.put("orders", f"o{n}", "http#paid", b"{}")
    assert {shard_of_key(user, 2) for user in "abcd"} == {0, 1}
    for n, user in enumerate(("a", "b", "c", "d")):
        assert len(get(collector, f"/v1/users/{user}/offers")["offers"]) == 1
        assert len(get(collector, f"/v1/orders/o{n}")["orders"]) == 1
    for shard in shards:
        shard.close()
