"""What a shop adds to a profile: who hears of its alerts and alarms, and a rule of its own."""

from typing import Any

from tests.infra.emulator import Emulator

from shopstream.rules_file import default_rules_text

EVERYTHING, LOW_STOCK = "office", "warehouse"
"""Queues of somebody else's, which Terraform subscribes to the alerts: all of them, or one kind."""
RULES = f"""{default_rules_text()}
[[rule]]
name = "only-one-a-day"
on = ["search"]
who = {{ consent = "only-one-a-day" }}
offer = {{ percent = 50, expires = "1h" }}
budget_per_day = 1
"""
"""The rules of the stack that is given a file of them: one more, that only its own test meets."""


def subscribers(emulator: Emulator) -> dict[str, Any]:
    """Variables that name who hears of it. Makes the queues, as somebody else would have."""
    sqs = emulator.client("sqs")
    arns = {}
    for name in (EVERYTHING, LOW_STOCK):
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arns[name] = asked["Attributes"]["QueueArn"]
    return {
        "alert_emails": ["shop@example.com"],
        "alarm_emails": ["owner@example.com"],
        "alert_queues": {
            EVERYTHING: {"arn": arns[EVERYTHING]},
            LOW_STOCK: {"arn": arns[LOW_STOCK], "kinds": ["low_stock"]},
        },
    }
