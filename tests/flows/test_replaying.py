"""A dry run of a replay judges as the processor would."""

import json
from typing import Any

import pytest
from tests.flows.pipeline import Pipeline, order

from shopstream.domain.failures import Limits
from shopstream.events import Failure, Rejection
from shopstream.flows.replaying import ReplayReport, replay_all
from shopstream.flows.work import QuarantineRecord

NOW_US = 1_763_720_000_000_000
TRACK = {"type": "track", "event": "Product Viewed", "userId": "u", "messageId": "m"}
GA4 = {"client_id": "c", "events": [{"name": "view_item", "params": {"item_id": "p"}}]}


def dry_run(
    event: Any,
    dialect: str,
    topic: str = "clicks",
    on_bad_line: str = "reject_order",
    **set_fields: str,
) -> ReplayReport:
    rejection = Rejection(
        topic=topic,
        failures=[Failure("value", "f", "v", "w")],
        raw=json.dumps(event).encode(),
    )
    record = QuarantineRecord(
        id="0-1",
        rejection=rejection,
        source="http",
        at_us=NOW_US,
        dialect=dialect,
        on_bad_line=on_bad_line,
    )
    return replay_all([record], set_fields, None, now_us=lambda: NOW_US, limits=Limits())


@pytest.mark.parametrize(
    ("event", "dialect", "why"),
    [
        (TRACK, "segment", ""),
        (TRACK | {"properties": {"price": -1}}, "segment", "rejected again: price: -1 is not"),
        (TRACK | {"event": ""}, "segment", "rejected again: event"),
        (GA4, "ga4", ""),
        (GA4 | {"events": []}, "ga4", "rejected again: events"),
        ({"user_id": "u"}, "shopstream", "rejected again: event_type"),
    ],
)
def test_every_dialect_is_judged(event: Any, dialect: str, why: str) -> None:
    report = dry_run(event, dialect)
    assert report.replayed == 1
    assert report.rejected_again == bool(why)
    assert [reason["why"].startswith(why) for reason in report.reasons] == [True] * bool(why)


def test_what_was_put_in_is_judged() -> None:
    event = {"user_id": "u", "event_type": "view", "timestamp": "2025-11-21T10:00:00Z", "price": -1}
    assert dry_run(event, "shopstream").rejected_again == 1
    assert dry_run(event, "shopstream", price="1").rejected_again == 0
    assert dry_run(event, "shopstream", price="many").rejected_again == 1


def test_an_order_that_was_rejected_whole_is_judged_by_line_once_it_is_mended() -> None:
    event = order("o1", *[0] * 100, payload="x" * 10_000)
    assert dry_run(event, "shopstream", "orders", "quarantine_line").rejected_again == 1
    mended = dry_run(event, "shopstream", "orders", "quarantine_line", payload="{}")
    assert mended.rejected_again == 100


def test_large_rejections_are_appended_a_few_at_a_time(pipeline: Pipeline) -> None:
    orders = [order(f"o{n}", 10, amount=11, payload="x" * 1_000_000) for n in range(20)]
    for one in orders:
        pipeline.give(one, topic="orders")
    found = pipeline.rejections()
    start = pipeline.log.end()
    report = replay_all(
        found, {"amount": "10"}, pipeline.log, now_us=lambda: NOW_US, limits=Limits()
    )
    rows = pipeline.log.extents(start, 100)
    assert (report.replayed, len(found)) == (20, 20)
    assert [row.size // 1_000_000 for row in rows] == [9, 9, 2]
    pipeline.process_all()
    assert pipeline.counts("orders", "replay") == {"accepted": 20}
    assert pipeline.check().balanced
