"""The live tables are what the processors have stored, of all shards, as it is now."""

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.ask.published import box_of, publish, rows, settings_of

import shopstream
from shopstream.ask.live import LIVE_TABLES
from shopstream.engine import open_engine
from shopstream.errors import DataDirError
from shopstream.events import Entry
from shopstream.feed import open_feed
from shopstream.stages import settle

VIEW = {
    "event_id": "e1",
    "user_id": "u1",
    "event_type": "view",
    "product_id": "p1",
    "timestamp": "2026-03-01T13:00:00.25+01:00",
    "price": 12.50,
    "page": "/p/\u001b[31m",
    "colour": {"shade": "\ud83d\ude00 red"},
}
ORDER = {
    "order_id": "o1",
    "customer_id": "u2",
    "lines": [{"product_id": "p1", "quantity": 2, "unit_price": 0.1}],
    "currency": "GBP",
    "status": "paid",
    "timestamp": "2026-03-01T12:30:00Z",
}


def send(data_dir: Path, topic: str, *events: Any) -> None:
    """Have events of the past stored by the processors of two shards."""
    settings = settings_of(data_dir, shards=2)
    at_us = 1_772_400_000_000_000
    entry = Entry(
        topic=topic,
        events=[json.dumps(event).encode() for event in events],
        source="load:test",
        received_us=time.time_ns() // 1_000,
        units=len(events),
        historical=True,
        watermark_us=at_us,
    )
    open_engine(settings)
    with open_feed(settings) as feed:
        feed.append([entry])
    settle(settings, direct=True)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with two shards in which something happened, and published tables without rows."""
    data_dir = tmp_path_factory.mktemp("live") / "data"
    views = [{**VIEW, "event_id": f"e{n}", "user_id": f"u{n}"} for n in range(1, 21)]
    send(data_dir, "clicks", *views, *({**VIEW, "event_id": f"again{n}"} for n in range(3)))
    send(data_dir, "orders", ORDER)
    publish(data_dir)
    return data_dir


def test_events_of_all_shards_are_there_canonical(shop: Path) -> None:
    box = box_of(shop)
    assert rows(box, "SELECT count(*) FROM live.events WHERE event_type = 'view'") == [(23,)]
    (event,) = rows(
        box,
        "SELECT timestamp, price, page, extra::JSON->>'$.colour.shade', historical"
        " FROM live.events WHERE event_id = 'e7'",
    )
    at = datetime(2026, 3, 1, 12, 0, 0, 250_000)
    assert event == (at, Decimal("12.5000"), VIEW["page"], "😀 red", True)


def test_an_order_has_its_source_and_its_lines(shop: Path) -> None:
    box = box_of(shop)
    (order,) = rows(box, "SELECT order_id, status, lines_total, lines FROM live.orders")
    assert order[:3] == ("o1", "paid", 1)
    assert json.loads(order[3])[0]["unit_price"] == 0.1
    purchases = "SELECT count(*) FROM live.events WHERE event_type = 'purchase' AND order_id = 'o1'"
    assert rows(box, purchases) == [(1,)]


def test_offers_can_be_joined_with_what_set_them_off(shop: Path) -> None:
    found = rows(
        box_of(shop),
        "SELECT o.user_id, o.rule, o.percent, o.held_out, e.event_type, o.made_at <= o.expires_at"
        " FROM live.offers o JOIN live.events e ON e.event_id = o.trigger",
    )
    assert ("u1", "viewed-three-times", Decimal("10.0000"), False, "view", True) in found


def test_what_comes_in_later_is_there_in_the_next_query(shop: Path) -> None:
    con = shopstream.connect(shop)
    asked = "SELECT count(*) FROM live.events WHERE user_id = 'late'"
    assert con.execute(asked).fetchall() == [(0,)]
    send(shop, "clicks", {**VIEW, "event_id": "late", "user_id": "late"})
    assert con.execute(asked).fetchall() == [(1,)]
    assert not list((shop / "tables" / "readers").iterdir())


def test_a_query_with_a_limit_leaves_the_rest_unread(shop: Path) -> None:
    assert len(rows(box_of(shop), "FROM live.events LIMIT 1")) == 1
    assert not list((shop / "tables" / "readers").iterdir())


@pytest.mark.parametrize("table", list(LIVE_TABLES))
def test_a_live_table_is_described_without_being_read(table: str, data_dir: Path) -> None:
    found = rows(box_of(data_dir), f"DESCRIBE {table}")
    assert [row[:2] for row in found] == [(c.name, c.type) for c in LIVE_TABLES[table].columns]


def test_without_live_tables_the_error_says_what_to_do(data_dir: Path) -> None:
    box = box_of(data_dir)
    with pytest.raises(DataDirError, match="run `shopstream up` first"):
        rows(box, "FROM live.events")
    assert rows(box, "SELECT count(*) FROM gold_daily_sales") == [(3,)]


def test_times_are_utc(shop: Path) -> None:
    (found,) = rows(box_of(shop), "SELECT max(timestamp) FROM live.orders")
    assert found[0].replace(tzinfo=UTC) == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
