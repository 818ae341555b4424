"""Each event once: in a row, across rows, after a restart, after its user was let go."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.flows.pipeline import Opener, Pipeline, cart_line, click, entry, order, stock

Between = Callable[[Pipeline], None]


def go_on(_: Pipeline) -> None:
    """Nothing happens in between."""


def restart(pipeline: Pipeline) -> None:
    pipeline.restart()


def crowd_out(pipeline: Pipeline) -> None:
    """So many others come that nobody of before is in memory any more."""
    for n in range(8):
        pipeline.give(click(f"other-{n}", source="crowd"), source="crowd")


BETWEEN = pytest.mark.parametrize("between", [go_on, restart, crowd_out])
COMPLETE: dict[str, Any] = {"session_id": "s1", "user_type": "new"}
TOPICS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "clicks": (click(event_id="e1", page="/a"), click(event_id="e1", page="/b")),
    "clicks complete": (
        click(event_id="e1", page="/a", **COMPLETE),
        click(event_id="e1", page="/b", **COMPLETE),
    ),
    "carts": (
        cart_line("u1", "p1", 1) | {"event_id": "e1"},
        cart_line("u1", "p1", 2) | {"event_id": "e1"},
    ),
    "orders": (order("o1", 5), order("o1", 6)),
    "stock": (stock("p1", 9, event_id="e1"), stock("p1", 8, event_id="e1")),
}
EVENTS = pytest.mark.parametrize(
    ("topic", "first", "other"),
    [(name.split()[0], *events) for name, events in TOPICS.items()],
    ids=list(TOPICS),
)


@EVENTS
def test_the_same_in_one_row_is_a_duplicate_and_other_content_a_conflict(
    pipeline: Pipeline, topic: str, first: dict[str, Any], other: dict[str, Any]
) -> None:
    pipeline.give(first, first, other, first, topic=topic)
    assert pipeline.counts(topic) == {
        "accepted": 1,
        "duplicate": 2,
        "quarantined:conflict": 1,
    }
    (rejection,) = [record.rejection for record in pipeline.rejections()]
    assert b'"u1"' in rejection.raw or topic in ("orders", "stock")
    assert pipeline.check().balanced


@BETWEEN
@EVENTS
def test_the_same_later_is_a_duplicate_and_other_content_a_conflict(
    open_pipeline: Opener,
    between: Between,
    topic: str,
    first: dict[str, Any],
    other: dict[str, Any],
) -> None:
    pipeline = open_pipeline(cached_events_max=2)
    pipeline.give(first, topic=topic)
    between(pipeline)
    pipeline.give(first, topic=topic)
    between(pipeline)
    pipeline.give(other, topic=topic)
    assert pipeline.counts(topic) == {"accepted": 1, "duplicate": 1, "quarantined:conflict": 1}
    assert pipeline.check().balanced


def test_the_first_of_two_that_contradict_each_other_stays(pipeline: Pipeline) -> None:
    pipeline.give(click(event_id="e1", page="/a"))
    pipeline.give(click(event_id="e1", page="/b"))
    assert [c.page for c in pipeline.clicks_of("u1")] == ["/a"]
    pipeline.give(order("o1", 5), order("o1", 6), topic="orders")
    assert [o.amount for o in pipeline.orders().values()] == [5]


def test_an_id_is_its_users_own(pipeline: Pipeline) -> None:
    pipeline.give(click("u1", event_id="e1"), click("u2", event_id="e1"))
    assert pipeline.counts() == {"accepted": 2}


@BETWEEN
def test_without_ids_the_same_content_is_the_same_event(
    open_pipeline: Opener, between: Between
) -> None:
    pipeline = open_pipeline(cached_events_max=2)
    same = b'{"timestamp":"2025-11-21T11:00:00+01:00", "event_type":"view","user_id":"u1"}'
    pipeline.give(click())
    between(pipeline)
    pipeline.give(same, click(minutes=0.001))
    assert pipeline.counts() == {"accepted": 2, "duplicate": 1}


def test_a_resend_with_the_session_that_was_made_for_it_is_a_duplicate(
    pipeline: Pipeline,
) -> None:
    pipeline.give(click(event_id="e1"))
    (stored,) = pipeline.clicks_of("u1")
    pipeline.give(click(event_id="e1", session_id=stored.session_id, user_type="new"))
    assert pipeline.counts() == {"accepted": 1, "duplicate": 1}


def test_an_order_is_known_by_source_id_and_status(pipeline: Pipeline) -> None:
    pipeline.give(order("o1"), order("o1", status="paid"), topic="orders")
    pipeline.give(order("o1"), topic="orders", source="load:x")
    pipeline.give(order("o1"), topic="orders", source="replay", identity="http")
    assert pipeline.counts("orders") == {"accepted": 2}
    assert pipeline.counts("orders", "load:x") == {"accepted": 1}
    assert pipeline.counts("orders", "replay") == {"duplicate": 1}
    assert sorted(pipeline.orders()) == [
        ("o1", "http#paid"),
        ("o1", "http#placed"),
        ("o1", "load:x#placed"),
    ]


def test_a_row_of_many_users_resent_in_pieces_adds_nothing(pipeline: Pipeline) -> None:
    events = [click(f"u{n % 7}", n / 60, event_id=f"e{n}") for n in range(200)]
    pipeline.give(*events)
    for start in range(0, 200, 37):
        pipeline.give(*events[start : start + 50])
    counts = pipeline.counts()
    assert counts["accepted"] == 200
    assert sum(len(pipeline.clicks_of(f"u{n}")) for n in range(7)) == 200
    assert pipeline.check().balanced


def test_one_event_in_two_entries_of_a_row_is_one(pipeline: Pipeline) -> None:
    event = click(event_id="e1", **COMPLETE)
    pipeline.take_all(entry(event), entry(event, historical=True), entry(event, source="simulate"))
    assert pipeline.counts() == {"accepted": 1, "duplicate": 1}
    assert pipeline.counts(source="simulate") == {"duplicate": 1}
