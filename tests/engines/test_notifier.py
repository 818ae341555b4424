"""The contract of `ports.Notifier`, for every engine and everybody who can be told."""

from datetime import UTC, datetime
from typing import get_args

import pytest
from tests.engines.receivers import Receiver

from shopstream.errors import NotDelivered
from shopstream.events import Alert, AlertKind

# Apprise loads all its services, and one of them loads a module that Python 3.13 is without.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def alert(
    alert_id: str, kind: AlertKind = "large_order", *, text: str = "", body: str = "of 1,240 GBP"
) -> Alert:
    return Alert(
        alert_id=alert_id,
        kind=kind,
        subject=f"Order {alert_id} {text}",
        body=body and f"Order {alert_id} {body}",
        at=datetime(2026, 11, 21, 15, tzinfo=UTC),
        data={"order_id": alert_id},
    )


def test_what_was_delivered_the_receiver_has(receiver: Receiver) -> None:
    notifier = receiver.notifier()
    for alert_id in ("a1", "a2", "a3"):
        notifier.deliver(alert(alert_id))
    assert sorted(receiver.ids()) == ["a1", "a2", "a3"]


def test_alerts_of_all_kinds_can_be_delivered(receiver: Receiver) -> None:
    kinds: list[AlertKind] = sorted(get_args(AlertKind))
    notifier = receiver.notifier()
    for kind in kinds:
        notifier.deliver(alert(f"id-of-{kind}", kind))
    assert sorted(receiver.ids()) == [f"id-of-{kind}" for kind in kinds]


def test_what_the_receiver_did_not_take_is_told_and_can_come_again(receiver: Receiver) -> None:
    notifier = receiver.notifier()
    with receiver.refusing(), pytest.raises(NotDelivered):
        notifier.deliver(alert("a1"))
    notifier.deliver(alert("a2"))
    notifier.deliver(alert("a1"))
    assert sorted(receiver.ids()) == ["a1", "a2"]


def test_an_alert_that_comes_again_is_known_by_the_same_id(receiver: Receiver) -> None:
    receiver.notifier().deliver(alert("a1"))
    after_a_crash = receiver.notifier()
    after_a_crash.deliver(alert("a1"))
    after_a_crash.deliver(alert("a2"))
    assert set(receiver.ids()) == {"a1", "a2"}


@pytest.mark.parametrize(
    "text",
    [
        "\r\nBcc: all@example.com",
        "\x00\x1b[2J\x7f\u202e",
        "Ünï 😀 <b>&amp;</b> %s {0} \\ \"'",
        "x" * 5_000,
    ],
)
def test_no_text_keeps_an_alert_from_its_receiver_or_makes_more_of_it(
    receiver: Receiver, text: str
) -> None:
    receiver.notifier().deliver(alert("a1", text=text, body=text))
    assert receiver.ids() == ["a1"]


@pytest.mark.parametrize("body", ["", "line\n" * 100_000, "😀" * 100_000])
def test_no_length_keeps_an_alert_from_its_receiver(receiver: Receiver, body: str) -> None:
    receiver.notifier().deliver(alert("a1", body=body))
    assert receiver.ids() == ["a1"]
