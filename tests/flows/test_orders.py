"""Orders and stock through the pipeline: lines that come later, orders too large, alerts once."""

import json
from decimal import Decimal
from typing import Any

from tests.flows.pipeline import Pipeline, click, entry, order, stock

from shopstream.domain.orders import ITEM_BYTES_MAX, item_bytes
from shopstream.events import Entry, Order


def lines(*numbers: int, **changed: Any) -> list[dict[str, Any]]:
    known = {"product_id": "p", "quantity": 1, "unit_price": 10}
    return [known | {"line": n} | changed for n in numbers]


def by_line(*found: dict[str, Any], **facts: Any) -> Entry:
    """Orders whose lines are judged one by one."""
    units = sum(max(1, len(one["lines"])) for one in found)
    known: dict[str, Any] = {"topic": "orders", "on_bad_line": "quarantine_line", "units": units}
    return entry(*found, **known | facts)


def only(pipeline: Pipeline) -> Order:
    (found,) = pipeline.orders().values()
    return found


def test_good_lines_make_the_order_and_each_bad_one_is_quarantined(pipeline: Pipeline) -> None:
    bad = lines(3, quantity=0) + lines(4, unit_price=0)
    pipeline.take_all(by_line(order(lines=[*lines(1, 2), *bad]), lines=[100]))
    assert pipeline.counts("orders") == {
        "accepted": 2,
        "quarantined:quantity": 1,
        "quarantined:price": 1,
    }
    assert only(pipeline).amount == 20
    assert [r.rejection.line for r in pipeline.rejections()] == [3, 4]
    assert [a.kind for a in pipeline.alerts()] == ["invalid_order"], "one for the order"
    assert pipeline.check().differences == []


def test_lines_that_come_later_join_the_order(pipeline: Pipeline) -> None:
    pipeline.take_all(by_line(order(lines=lines(1, 2), customer_id="c")))
    pipeline.restart()
    pipeline.take_all(
        by_line(order(lines=lines(2, 3), customer_id="c"), source="replay", identity="http")
    )
    assert [line.line for line in only(pipeline).lines] == [1, 2, 3]
    assert only(pipeline).amount == 30
    assert pipeline.counts("orders") == {"accepted": 2}
    assert pipeline.counts("orders", "replay") == {"accepted": 1, "duplicate": 1}
    assert len(pipeline.clicks_of("c")) == 3
    assert pipeline.check().differences == []


def test_a_line_that_contradicts_a_known_one_is_a_conflict(pipeline: Pipeline) -> None:
    pipeline.take_all(by_line(order(lines=lines(1, 2))), by_line(order(lines=lines(2, quantity=5))))
    assert pipeline.counts("orders") == {"accepted": 2, "quarantined:conflict": 1}
    assert only(pipeline).amount == 20
    assert pipeline.check().differences == []


def test_repeated_lines_of_one_order_are_real(pipeline: Pipeline) -> None:
    pipeline.take_all(by_line(order(lines=lines(1, 2, 3))))
    assert only(pipeline).amount == 30
    pipeline.take_all(by_line(order(lines=lines(1, 2, 3))))
    assert pipeline.counts("orders") == {"accepted": 3, "duplicate": 3}


def test_an_order_bad_in_itself_counts_all_its_lines(pipeline: Pipeline) -> None:
    pipeline.take_all(by_line(order(lines=lines(1, 2, 3), currency="XXZ")))
    assert pipeline.counts("orders") == {"quarantined:currency": 3}
    assert pipeline.check().differences == []


def test_an_order_too_large_is_archived_trimmed_and_still_the_same_order(
    pipeline: Pipeline,
) -> None:
    large = order("big", 5, payload={"note": "x" * 500_000}, customer_id="c")
    pipeline.give(large, topic="orders")
    ((_, _, item),) = pipeline.items("orders")
    stored = json.loads(item)
    assert item_bytes(stored) <= ITEM_BYTES_MAX
    assert stored["trimmed"] == ["payload"]
    archived = json.loads(pipeline.engine.lake().get(stored["archive"]))
    assert archived["payload"] == large["payload"]
    pipeline.restart()
    pipeline.give(large, topic="orders")
    pipeline.give(large | {"payload": {"note": "y" * 500_000}}, topic="orders")
    assert pipeline.counts("orders") == {
        "accepted": 1,
        "duplicate": 1,
        "quarantined:conflict": 1,
    }
    assert pipeline.check().differences == []


def test_an_order_of_many_lines_is_counted_whole_though_it_is_trimmed(pipeline: Pipeline) -> None:
    many = [line | {"name": "y" * 1_000} for line in lines(*range(500))]
    pipeline.take_all(by_line(order("big", lines=many)))
    report = pipeline.check()
    assert report.differences == []
    assert report.orders["placed"].lines == 500
    assert report.orders["placed"].worth == {"EUR": Decimal(5_000)}
    pipeline.take_all(by_line(order("big", lines=[*many, *lines(501)])))
    assert pipeline.counts("orders") == {"accepted": 501, "duplicate": 500}
    assert pipeline.check().orders["placed"].lines == 501


def test_alerts_are_raised_once(pipeline: Pipeline) -> None:
    large = order("o1", 5_000)
    bad = order("o2", 0)
    mismatch = order("o3", 10, amount=11)
    for _ in range(2):
        pipeline.give(large, bad, mismatch, topic="orders")
        pipeline.restart()
        pipeline.give(large | {"status": "paid"}, bad, topic="orders")
    kinds = [alert.kind for alert in pipeline.alerts()]
    assert kinds == ["invalid_order", "large_order", "total_mismatch"]
    assert pipeline.check().differences == []


def test_low_stock_is_told_once_until_it_has_recovered(pipeline: Pipeline) -> None:
    for minutes, on_hand in enumerate([9, 5, 4, 0, 6, 5]):
        pipeline.give(stock("p1", on_hand, minutes / 10), topic="stock")
        if minutes == 2:
            pipeline.restart()
    told = [alert.data["stock_on_hand"] for alert in pipeline.alerts()]
    assert sorted(told) == [5, 5]
    assert pipeline.products()["p1"].stock_on_hand == 5


def test_a_late_stock_level_changes_nothing_of_its_product(pipeline: Pipeline) -> None:
    pipeline.give(stock("p1", 9, 0), stock("p1", 0, -5), topic="stock")
    assert pipeline.products()["p1"].stock_on_hand == 9
    assert pipeline.alerts() == []
    assert pipeline.counts("stock") == {"accepted": 2}


SEGMENT_ORDER = {
    "type": "track",
    "event": "Order Completed",
    "userId": "u1",
    "messageId": "m1",
    "timestamp": "2025-11-21T10:00:00Z",
    "properties": {
        "order_id": "o1",
        "total": 25,
        "currency": "EUR",
        "products": [
            {"product_id": "p1", "price": 10, "quantity": 2},
            {"product_id": "p2", "price": 5, "quantity": 1},
        ],
    },
}


def test_a_segment_order_is_an_order_and_purchases_and_all_of_it_adds_up(
    pipeline: Pipeline,
) -> None:
    pipeline.give(SEGMENT_ORDER, dialect="segment")
    pipeline.restart()
    pipeline.give(SEGMENT_ORDER, dialect="segment")
    assert only(pipeline).amount == 25
    bought = [c for c in pipeline.clicks_of("u1") if c.event_type == "purchase"]
    assert {c.product_id for c in bought} == {"p1", "p2"}
    report = pipeline.check()
    assert report.differences == []
    for counts in report.topics.values():
        assert counts.received == counts.accepted + counts.duplicate
        assert counts.accepted == counts.duplicate


def test_a_segment_message_that_is_none_is_quarantined_as_it_came(pipeline: Pipeline) -> None:
    pipeline.give({"userId": "u1"}, b"[]", {"type": "fly", "userId": "u1"}, dialect="segment")
    assert sum(pipeline.counts().values()) == 3
    assert {r.dialect for r in pipeline.rejections()} == {"segment"}
    assert pipeline.check().differences == []


def test_ga4_events_are_ours(pipeline: Pipeline) -> None:
    item = {"item_id": "p1", "price": 3.5, "quantity": 2, "item_category": "toys"}
    params = {"currency": "EUR", "items": [item]}
    message = {
        "client_id": "c1",
        "timestamp_micros": 1_763_719_200_000_000,
        "events": [
            {"name": "view_item", "params": params},
            {"name": "purchase", "params": params | {"transaction_id": "t1", "value": 7}},
        ],
    }
    pipeline.give(message, dialect="ga4")
    assert {c.event_type for c in pipeline.clicks_of("c1")} == {"view", "purchase"}
    assert [o.order_id for o in pipeline.orders().values()] == ["t1"]
    assert pipeline.check().differences == []
    pipeline.give(message, dialect="ga4")
    assert pipeline.check().topics["orders"].duplicate == 1


def test_a_purchase_sent_as_a_click_and_as_an_order_is_two_events(pipeline: Pipeline) -> None:
    pipeline.give(click(event_type="purchase", product_id="p1", order_id="o1"))
    pipeline.give(order("o1", 5, customer_id="u1"), topic="orders")
    assert len(pipeline.clicks_of("u1")) == 2
    assert pipeline.check().differences == []
