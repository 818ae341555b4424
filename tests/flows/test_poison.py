"""An event that makes the code fail goes to the quarantine, and its neighbours do not."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
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

from shopstream.domain import offers
from shopstream.domain.offers import Timer
from shopstream.engine import open_engine
from shopstream.events import Click
from shopstream.flows import clicks, processor
from shopstream.flows.tries import STARTS_MAX, TRIES_MAX
from shopstream.processor import run_processor
from shopstream.settings import Settings


class Fatal(BaseException):
    """Ends a test's process in the middle, as far as the pipeline can tell."""


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules fail for clicks on the page /poison."""
    observe = offers.RuleSet.observe

    def failing(self: Any, shopper: Any, click: Click, *rest: Any) -> Any:
        if click.page == "/poison":
            raise ZeroDivisionError("by what it says")
        return observe(self, shopper, click, *rest)

    monkeypatch.setattr(offers.RuleSet, "observe", failing)


def views(count: int, *poisonous: int) -> list[dict[str, Any]]:
    return [
        click(f"u{n % 3}", -n, event_id=f"e{n}", page="/poison" if n in poisonous else "/")
        for n in range(count)
    ]


@pytest.mark.usefixtures("poison")
def test_poison_is_quarantined_and_its_neighbours_are_kept(pipeline: Pipeline) -> None:
    pipeline.give(*views(10, 2, 7))
    assert pipeline.counts() == {"accepted": 8, "quarantined:poison": 2}
    messages = [record.rejection.failures[0].message for record in pipeline.rejections()]
    assert all("ZeroDivisionError: by what it says" in message for message in messages)
    assert sum(len(pipeline.clicks_of(f"u{n}")) for n in range(3)) == 8
    assert pipeline.check().balanced


@pytest.mark.usefixtures("poison")
def test_rows_around_a_poisoned_one_go_on_as_ever(pipeline: Pipeline) -> None:
    pipeline.append(entry(*views(4)))
    pipeline.append(
        entry(*(e | {"event_id": f"x{e['event_id']}"} for e in views(4, 1)), lines=[5, 6, 7, 8]),
        entry(order("o1", 5_000, customer_id="u1"), topic="orders"),
        entry(stock("p1", 1), topic="stock"),
        entry(cart_line("u1", "p1", 1), topic="carts"),
    )
    pipeline.append(entry(click("u9", event_id="last")))
    pipeline.process_all()
    assert pipeline.counts() == {"accepted": 8, "quarantined:poison": 1}
    (record,) = pipeline.rejections()
    assert record.rejection.line == 6
    assert len(pipeline.orders()) == 1
    assert sorted(alert.kind for alert in pipeline.alerts()) == ["large_order", "low_stock"]
    assert pipeline.check().balanced
    pipeline.restart()
    pipeline.give(*views(10))
    assert pipeline.counts()["duplicate"] == 4


@pytest.mark.parametrize("deadly", [0, 3, 11])
def test_an_event_at_which_the_process_dies_is_given_up_after_bounded_tries(
    open_pipeline: Opener, monkeypatch: pytest.MonkeyPatch, deadly: int
) -> None:
    observe = offers.RuleSet.observe

    def dying(self: Any, shopper: Any, click: Click, *rest: Any) -> Any:
        if click.page == "/poison":
            raise Fatal
        return observe(self, shopper, click, *rest)

    monkeypatch.setattr(offers.RuleSet, "observe", dying)
    pipeline = open_pipeline()
    events = views(12, deadly)
    for first in (0, 5, 10):
        pipeline.append(entry(*events[first : first + 5]))
    deaths = 0
    while True:
        try:
            pipeline.process_all()
            break
        except Fatal:
            deaths += 1
            pipeline.restart()
    assert deaths <= 2 * (STARTS_MAX + TRIES_MAX)
    assert pipeline.counts() == {"accepted": 11, "quarantined:poison": 1}
    (record,) = pipeline.rejections()
    assert "the process ended 3 times at it" in record.rejection.failures[0].message
    assert pipeline.check().differences == []


def test_dying_now_and_then_is_blamed_on_no_event(open_pipeline: Opener) -> None:
    pipeline = open_pipeline()
    for n in range(3 * (STARTS_MAX + TRIES_MAX)):
        pipeline.restart()
        if n % STARTS_MAX == 0:
            pipeline.give(click("u1", -n))
    pipeline.process_all()
    assert pipeline.counts() == {"accepted": STARTS_MAX + TRIES_MAX}


def fail_at_timers_of_u1(monkeypatch: pytest.MonkeyPatch) -> None:
    fire = offers.RuleSet.fire

    def failing(self: Any, shopper: Any, timer: Timer, budget: Any) -> Any:
        if timer.user_id == "u1":
            raise ZeroDivisionError("by what was left")
        return fire(self, shopper, timer, budget)

    monkeypatch.setattr(offers.RuleSet, "fire", failing)


def cart(user_id: str, minutes: float) -> dict[str, Any]:
    return click(user_id, minutes, event_type="add_to_cart", product_id="p1")


@pytest.mark.parametrize("by", ["the clock", "others' events"])
def test_a_timer_at_which_the_rules_fail_holds_up_no_other_and_blames_no_event(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    fail_at_timers_of_u1(monkeypatch)
    pipeline.give(cart("u1", 0), cart("u2", 1))
    if by == "the clock":
        pipeline.idle(minutes=40)
    else:
        pipeline.give(click("u3", 40), received_us=NOW_US + 40 * MINUTE_US)
    assert [offer.user_id for offer in pipeline.offers()] == ["u2"]
    assert pipeline.rejections() == []
    assert pipeline.counts("timers", "cart-abandoned") == {"failed": 1}
    ((timer, error),) = pipeline.processors[0].failed
    assert (timer.user_id, str(error)) == ("u1", "by what was left")
    assert pipeline.check().balanced


def test_an_event_that_ends_what_a_bad_timer_waits_for_is_taken(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_timers_of_u1(monkeypatch)
    pipeline.give(cart("u1", -60), cart("u1", -5), click("u1", 0, event_type="purchase"))
    assert pipeline.counts() == {"accepted": 3}
    assert len(pipeline.clicks_of("u1")) == 3
    assert pipeline.check().balanced


def test_a_timer_at_which_the_rules_failed_fires_at_the_start_of_a_release_that_mends_them(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_at_timers_of_u1(patch)
        pipeline.give(cart("u1", 0))
        pipeline.idle(minutes=40)
        pipeline.restart()
        pipeline.idle(minutes=1)
        assert pipeline.counts("timers", "cart-abandoned") == {"failed": 2}, "once a start"
    pipeline.idle(minutes=1)
    assert pipeline.offers() == []
    pipeline.restart()
    pipeline.idle(minutes=1)
    assert [offer.user_id for offer in pipeline.offers()] == ["u1"]
    assert pipeline.items("timers") == []
    assert pipeline.check().balanced


def test_a_timer_at_which_the_rules_failed_is_told_of_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_timers_of_u1(monkeypatch)
    settings = Settings(data_dir=tmp_path)
    log = open_engine(settings).write_log()
    log.append([entry(cart("u1", 0))])
    log.close()
    with capture_logs() as lines:
        run_processor(settings, until_idle=True)
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert (line["user_id"], line["rule"]) == ("u1", "cart-abandoned")
    assert line["error"] == "ZeroDivisionError: by what was left"


def test_poison_that_is_no_poison_any_more_can_be_replayed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(clicks, "encode", lambda _: 1 // 0)
        pipeline.give(click())
    assert pipeline.counts() == {"quarantined:poison": 1}
    (record,) = pipeline.rejections()
    mark = entry(record.id.encode(), dialect="resolved", source="replay", units=0)
    pipeline.take_all(entry(record.rejection.raw, source="replay"), mark)
    assert pipeline.counts(source="replay") == {"accepted": 1}
    assert [bool(r.resolved_us) for r in pipeline.rejections()] == [True]
    assert pipeline.check().balanced


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("committed", range(1, 9))
def test_a_crash_in_the_middle_of_a_row_taken_one_by_one_loses_and_doubles_nothing(
    open_pipeline: Opener, monkeypatch: pytest.MonkeyPatch, committed: int
) -> None:
    pipeline = open_pipeline()
    pipeline.append(
        entry(*views(4, 2)), entry(order("o1", 5_000, customer_id="u1"), topic="orders")
    )
    pipeline.append(entry(*views(6)[4:]))
    commit, done = processor.Processor._commit, 0

    def dying(self: Any, *values: Any, **options: Any) -> None:
        nonlocal done
        if done == committed:
            raise Fatal
        done += 1
        commit(self, *values, **options)

    with monkeypatch.context() as patch:
        patch.setattr(processor.Processor, "_commit", dying)
        try:
            pipeline.process_all()
        except Fatal:
            assert pipeline.check().differences == []
    pipeline.restart()
    pipeline.process_all()
    assert pipeline.counts() == {"accepted": 5, "quarantined:poison": 1}
    assert pipeline.counts("orders") == {"accepted": 1}
    assert len(pipeline.alerts()) == 1
    assert sum(len(pipeline.clicks_of(f"u{n}")) for n in range(3)) == 5 + 1, "and a purchase"
    assert pipeline.check().differences == []


@pytest.mark.parametrize("error", [OSError("disk"), MemoryError()])
def test_what_is_the_machines_fault_is_not_blamed_on_the_event(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(_: Any) -> bytes:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(clicks, "encode", failing)
        with pytest.raises(type(error)):
            pipeline.give(click())
    pipeline.restart()
    pipeline.process_all()
    assert pipeline.counts() == {"accepted": 1}
    assert pipeline.check().balanced


def test_one_event_cannot_poison_its_user(pipeline: Pipeline) -> None:
    """What was once accepted can always be read back, whatever it holds."""
    odd = [
        b'"x":1e400',
        b'"x":[' + b"9" * 5_000 + b"]",
        b'"x":' + b"[" * 99 + b"]" * 99,
        b'"extra":null',
        b'"extra":{"cart_line":1}',
        b'"extra":{"from_order":"o1"}',
        b'"extra":{"from_order":{"a":[]},"cart_line":"x"}',
        b'"page":"\\"extra\\""',
        b'"page":"a\\nb"',
    ]
    for n, text in enumerate(odd):
        complete = {"event_id": "e", "session_id": "s", "user_type": "new"}
        for event in (click(f"u{n}"), click(f"u{n}") | complete):
            pipeline.give(json.dumps(event).encode()[:-1] + b"," + text + b"}")
    pipeline.restart()
    for n in range(len(odd)):
        pipeline.give(click(f"u{n}", 1))
        assert len(pipeline.clicks_of(f"u{n}")) == 3
    assert pipeline.counts() == {"accepted": 3 * len(odd)}
    assert pipeline.check().differences == []


def test_an_event_that_nests_too_deep_or_takes_one_of_our_ids_is_rejected(
    pipeline: Pipeline,
) -> None:
    deep = json.dumps(click("u1")).encode()[:-1] + b',"x":' + b"[" * 101 + b"]" * 101 + b"}"
    pipeline.give(deep, click("u1", event_id="shopstream:order:o1:0"), click("u1"))
    assert pipeline.counts() == {"accepted": 1, "quarantined:json": 1, "quarantined:id": 1}
    assert pipeline.check().differences == []


def test_an_event_that_nests_too_deep_is_rejected_among_good_ones_too(pipeline: Pipeline) -> None:
    whole = [
        click("u1", event_id=f"e{n}", session_id="s", user_type="new", consent={"mail": True})
        for n in range(20)
    ]
    deep = json.dumps(whole.pop()).encode()[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}"
    pipeline.give(*whole, deep)
    assert pipeline.counts() == {"accepted": 19, "quarantined:json": 1}
