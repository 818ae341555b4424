"""Alerts on their way to SNS, whatever becomes of it: functions called as Lambda calls them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from tests.aws.conftest import Faults, Stack, forget_what_is_open
from tests.aws.events import Context, failed, queue_event
from tests.aws.test_ingestor import AT_US, order, packed

from shopstream.aws import alerting, handlers
from shopstream.aws.builder import site_of
from shopstream.aws.outbox import Outbox
from shopstream.aws.wire import Record, as_text, pack
from shopstream.events import Alert, Entry


@pytest.fixture(autouse=True)
def _nothing_was_told(stack: Stack) -> None:
    forget_what_is_open()
    stack.told(stack.names.alerts)
    for alert_id in waiting(stack):
        Outbox(stack.items).remove(alert_id)


class Silence:
    """SNS doesn't answer until `over`. `asked` counts the calls."""

    def __init__(self) -> None:
        self.asked = 0
        self.over = False
        handlers._engine().clients.session.register("before-send.sns.Publish", self._before)

    def _before(self, **_: Any) -> None:
        self.asked += 1
        if not self.over:
            raise ReadTimeoutError(endpoint_url="https://sns")


def take(*bodies: bytes, stack: Stack) -> list[str]:
    texts = [(f"c{n}", as_text(body)) for n, body in enumerate(bodies)]
    event = queue_event(stack.names.queue("orders"), texts)
    return failed(handlers.order_processor(event, Context()))


def large(*order_ids: str) -> list[bytes]:
    return [packed("orders", order(order_id, "5000")) for order_id in order_ids]


def minute(*left_ms: int) -> None:
    handlers.cart_watcher({}, Context(*left_ms))


def told(stack: Stack) -> list[str]:
    """The orders that subscribers hear of."""
    return sorted(alert["data"]["order_id"] for alert in stack.told(stack.names.alerts))


def waiting(stack: Stack) -> list[str]:
    return [alert_id for alert_id, _ in Outbox(stack.items).waiting()]


def test_while_sns_is_silent_no_record_fails_or_waits_and_no_alert_is_lost(stack: Stack) -> None:
    silence = Silence()
    assert take(*large("a1", "b1", "c1"), stack=stack) == []
    assert all(stack.orders(order_id) for order_id in ("a1", "b1", "c1"))
    assert silence.asked == 1, "the others did not wait for it again"
    assert len(waiting(stack)) == 3
    minute()
    assert silence.asked == 1
    silence.over = True
    minute()
    assert told(stack) == [], "it was down half a minute ago"
    forget_what_is_open()
    minute()
    assert told(stack) == ["a1", "b1", "c1"]
    assert waiting(stack) == []
    minute()
    assert told(stack) == []


def test_it_is_asked_again_before_the_clock_comes_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert alerting.PAUSE_S < 60
    monkeypatch.setattr(alerting, "PAUSE_S", 0.0)
    silence = Silence()
    take(*large("a2", "b2"), stack=stack)
    assert silence.asked == 2
    silence.over = True
    minute()
    assert told(stack) == ["a2", "b2"]


def test_what_sns_refuses_keeps_no_other_alert(stack: Stack, faults: Faults) -> None:
    faults.fail("Publish", "never3")
    assert take(*large("never3", "a3"), stack=stack) == []
    assert told(stack) == ["a3"]
    take(*large("b3"), stack=stack)
    minute()
    assert told(stack) == ["b3"]
    assert len(waiting(stack)) == 1
    faults.heal()
    minute()
    assert told(stack) == ["never3"]


def test_a_record_that_comes_again_publishes_what_waits_once(stack: Stack, faults: Faults) -> None:
    body = large("a4")
    faults.fail("Publish", "")
    take(*body, stack=stack)
    faults.fail("PutItem", "-Ledger")
    assert take(*body, stack=stack) == [], "it was settled: nothing is left to do"
    faults.heal()
    minute()
    take(*body, stack=stack)
    minute()
    assert told(stack) == ["a4"]


def test_what_went_out_before_its_row_could_be_removed_does_not_go_out_again(
    stack: Stack, faults: Faults
) -> None:
    faults.fail("Publish", "")
    take(*large("a5"), stack=stack)
    faults.heal()
    faults.fail("BatchWriteItem", "outbox")
    minute()
    assert told(stack) == ["a5"]
    assert len(waiting(stack)) == 1
    faults.heal()
    minute()
    assert waiting(stack) == []
    assert told(stack) == []


def test_a_row_that_cannot_be_read_holds_up_neither_alerts_nor_timers(
    stack: Stack, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.items.put_new("state", "outbox", "", b'{"alert_id":')
    faults.fail("Publish", "")
    take(*large("a6"), stack=stack)
    faults.heal()
    capsys.readouterr()
    minute()
    assert told(stack) == ["a6"]
    assert '"AlertsWaiting":[1.0]' in capsys.readouterr().out


def test_a_run_leaves_most_of_its_time_to_timers(stack: Stack, faults: Faults) -> None:
    faults.fail("Publish", "")
    take(*large("a7", "b7", "c7"), stack=stack)
    faults.heal()
    minute(*range(55_000, 0, -5_000))
    assert 0 < len(waiting(stack)) < 3
    minute()
    assert told(stack) == ["a7", "b7", "c7"]


def test_alerts_about_history_are_recorded_and_go_nowhere(stack: Stack) -> None:
    entry = Entry(
        topic="orders",
        events=[order("a8", "5000"), order("b8", "-1")],
        source="load:x",
        received_us=AT_US,
        units=2,
        historical=True,
    )
    stack.told(stack.names.invalid_orders)
    before = len(list(stack.items.scan("alerts")))
    assert take(pack(Record("history", entry)), stack=stack) == []
    minute()
    assert len(list(stack.items.scan("alerts"))) == before + 2
    assert stack.told(stack.names.alerts) == stack.told(stack.names.invalid_orders) == []
    assert waiting(stack) == []


def test_what_a_build_finds_wrong_goes_out_with_the_next_minute(
    stack: Stack, faults: Faults
) -> None:
    alert = Alert(
        alert_id="a9",
        kind="model_failed",
        subject="Table gold_funnel failed its tests",
        body="",
        at=datetime(2026, 11, 21, tzinfo=UTC),
    )
    faults.fail("Publish", "")
    site_of(handlers._engine(), lambda: 900.0).alert(alert)
    minute()
    assert stack.told(stack.names.alerts) == []
    faults.heal()
    minute()
    assert [told["kind"] for told in stack.told(stack.names.alerts)] == ["model_failed"]
