"""Alerts by SNS, as a queue that subscribes to them gets them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from tests.engines.aws_resources import ACCOUNT, REGION, Deployment

from shopstream.aws.clients import Clients
from shopstream.aws.notifier import MESSAGE_BYTES_MAX, SnsNotifier
from shopstream.errors import NotDelivered
from shopstream.events import Alert, AlertKind


class Subscribed:
    """Both topics, each with a queue that takes what its filter lets through."""

    def __init__(self, deployment: Deployment, **filters: Mapping[str, Any]) -> None:
        self.clients, names = deployment.clients, deployment.names
        self.notifier = SnsNotifier(self.clients, names)
        self.queues = {}
        for kind, topic in (("alerts", names.alerts), ("invalid", names.invalid_orders)):
            arn = self.clients.sns.create_topic(Name=topic)["TopicArn"]
            queue = f"{topic}-mine"
            self.queues[kind] = self.clients.sqs.create_queue(QueueName=queue)["QueueUrl"]
            self.clients.sns.subscribe(
                TopicArn=arn,
                Protocol="sqs",
                Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
                Attributes={"FilterPolicy": json.dumps(filters.get(kind, {}))}
                if filters.get(kind)
                else {},
            )

    def messages(self, kind: str) -> list[dict[str, Any]]:
        found = self.clients.sqs.receive_message(QueueUrl=self.queues[kind], MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in found.get("Messages", [])]

    def alerts(self, kind: str) -> list[Alert]:
        return [msgspec.json.decode(m["Message"], type=Alert) for m in self.messages(kind)]


@pytest.fixture
def deployment(aws: Clients, tmp_path: Path) -> Deployment:
    return Deployment(aws, tmp_path)


def alert(kind: AlertKind = "large_order", **values: Any) -> Alert:
    known: dict[str, Any] = {
        "alert_id": "a1",
        "subject": "Order 7 of 1200 EUR",
        "body": "Order 7 of Ünïcode: 1200 EUR.\nTwo lines.",
        "at": datetime(2026, 11, 21, 15, tzinfo=UTC),
        "data": {"order_id": "7"},
    }
    return Alert(**known | values, kind=kind)


def test_an_alert_arrives_as_it_is(deployment: Deployment) -> None:
    subscribed = Subscribed(deployment)
    subscribed.notifier.deliver(alert())
    assert subscribed.alerts("alerts") == [alert()]
    assert subscribed.alerts("invalid") == []


def test_invalid_orders_have_a_topic_of_their_own(deployment: Deployment) -> None:
    subscribed = Subscribed(deployment)
    for kind in get_args(AlertKind):
        subscribed.notifier.deliver(alert(kind))
    assert [a.kind for a in subscribed.alerts("invalid")] == ["invalid_order"]
    kinds = set(get_args(AlertKind)) - {"invalid_order"}
    assert {a.kind for a in subscribed.alerts("alerts")} == kinds


def test_subscriptions_can_choose_by_kind(deployment: Deployment) -> None:
    subscribed = Subscribed(deployment, alerts={"kind": ["large_order"]})
    subscribed.notifier.deliver(alert("low_stock", alert_id="other kind"))
    subscribed.notifier.deliver(alert(alert_id="wanted"))
    assert [a.alert_id for a in subscribed.alerts("alerts")] == ["wanted"]


def test_the_idempotency_key_is_an_attribute(deployment: Deployment) -> None:
    subscribed = Subscribed(deployment)
    subscribed.notifier.deliver(alert())
    [message] = subscribed.messages("alerts")
    assert {key: found["Value"] for key, found in message["MessageAttributes"].items()} == {
        "alert_id": "a1",
        "kind": "large_order",
    }


@pytest.mark.parametrize(
    "subject",
    ["", "\r\nBcc: x@example.org", "Ünï 😀 " * 40, "x" * 500, "\x1b[31mred", " blank"],
)
def test_any_subject_is_made_one_that_sns_takes(deployment: Deployment, subject: str) -> None:
    subscribed = Subscribed(deployment)
    subscribed.notifier.deliver(alert(subject=subject))
    [message] = subscribed.messages("alerts")
    sent = message["Subject"]
    assert 1 <= len(sent) < 100
    assert sent.isascii()
    assert sent.isprintable()
    assert msgspec.json.decode(message["Message"], type=Alert).subject == subject


@pytest.mark.parametrize(
    "large",
    [
        {"data": {"x": "y" * 300_000}},
        {"body": "line\n" * 100_000},
        {"body": "😀" * 100_000},
        {"subject": "\x01" * 300_000},
        {"body": "\\" * 300_000, "data": {"x": '"' * 300_000}, "subject": '"' * 100_000},
    ],
)
def test_what_is_too_long_is_cut_until_sns_takes_it(
    deployment: Deployment, large: dict[str, Any]
) -> None:
    subscribed = Subscribed(deployment)
    subscribed.notifier.deliver(alert(**large))
    [message] = subscribed.messages("alerts")
    found = msgspec.json.decode(message["Message"], type=Alert)
    assert (found.alert_id, found.kind) == ("a1", "large_order")
    assert len(message["Message"].encode()) < MESSAGE_BYTES_MAX


def test_a_topic_that_is_not_there_is_told_and_the_alert_can_come_again(
    deployment: Deployment,
) -> None:
    notifier = SnsNotifier(deployment.clients, deployment.names)
    with pytest.raises(NotDelivered, match=r"publish to .*-alerts: AWS answered NotFound"):
        notifier.deliver(alert())
