"""How a deployment stands, as AWS tells: queues, how far functions are behind, alarms."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from shopstream.aws.clients import asked
from shopstream.aws.queues import Queue, queues

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

    from shopstream.aws.clients import Clients
    from shopstream.aws.names import Names
    from shopstream.settings import Settings

LOOK_BACK = timedelta(minutes=15)
"""Metrics come with minutes of delay; what is older says nothing about now."""
_PERIOD_S = 60


class Alarm(Struct):
    """An alarm of CloudWatch in state ALARM, since when and why."""

    name: str
    since: datetime
    reason: str


class Behind(Struct):
    """How far something is behind, in seconds; None when nothing was measured of late."""

    name: str
    age_s: float | None


class AwsStanding(Struct):
    """`ages` are those of the oldest message in a queue, of the record that a function is at in
    its stream, and of the oldest record that Firehose has not delivered.
    """

    prefix: str
    region: str
    queues: list[Queue]
    ages: list[Behind]
    alarms: list[Alarm]


def standing(clients: Clients, names: Names, settings: Settings, now: datetime) -> AwsStanding:
    """How it stands now. Raises AwsError when AWS can't be asked, or knows no such deployment."""
    found = queues(clients, names, settings)
    return AwsStanding(
        prefix=names.prefix,
        region=clients.sqs.meta.region_name,
        queues=found,
        ages=_ages(clients, names, settings, now),
        alarms=_alarms(clients, names),
    )


def _alarms(clients: Clients, names: Names) -> list[Alarm]:
    found: list[Alarm] = []
    with asked("look at the alarms"):
        pages = clients.cloudwatch.get_paginator("describe_alarms")
        for page in pages.paginate(
            AlarmNamePrefix=f"{names.prefix}-",
            StateValue="ALARM",
            AlarmTypes=["MetricAlarm", "CompositeAlarm"],
        ):
            found += [
                Alarm(alarm["AlarmName"], alarm["StateUpdatedTimestamp"], alarm["StateReason"])
                for alarm in (*page.get("MetricAlarms", []), *page.get("CompositeAlarms", []))
            ]
    return sorted(found, key=lambda alarm: alarm.since)


def _ages(clients: Clients, names: Names, settings: Settings, now: datetime) -> list[Behind]:
    asked_for = list(_measured(names, settings))
    queries: list[MetricDataQueryTypeDef] = [
        {
            "Id": f"m{n}",
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": metric,
                    "Dimensions": [{"Name": dimension, "Value": name}],
                },
                "Period": _PERIOD_S,
                "Stat": "Maximum",
            },
        }
        for n, (name, namespace, metric, dimension, _) in enumerate(asked_for)
    ]
    with asked("read the metrics"):
        answer = clients.cloudwatch.get_metric_data(
            MetricDataQueries=queries,
            StartTime=now - LOOK_BACK,
            EndTime=now,
            ScanBy="TimestampDescending",
        )
    values = {one["Id"]: one["Values"] for one in answer["MetricDataResults"]}
    return [
        Behind(name, round(values[f"m{n}"][0] * scale, 1) if values.get(f"m{n}") else None)
        for n, (name, *_, scale) in enumerate(asked_for)
    ]


def _measured(names: Names, settings: Settings) -> Iterable[tuple[str, str, str, str, float]]:
    """Name, namespace, metric, dimension, and seconds in its unit."""
    streamed = settings.aws_clicks == "kinesis"
    for topic in ("orders",) if streamed else ("clicks", "orders"):
        yield names.queue(topic), "AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", 1.0
    for handler in ("ingestor", "offer_generator") if streamed else ("offer_generator",):
        yield names.function(handler), "AWS/Lambda", "IteratorAge", "FunctionName", 0.001
    for topic in ("clicks", "orders", "carts", "stock", "quarantine"):
        stream = names.delivery(topic)
        yield (
            stream, "AWS/Firehose", "DeliveryToS3.DataFreshness", "DeliveryStreamName", 1.0
        )  # fmt: skip
