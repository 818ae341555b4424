"""`scripts/destroy-aws` leaves nothing behind, though tables, buckets and queues are full."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.infra.drive import Drive
from tests.infra.subscribers import EVERYTHING, LOW_STOCK
from tests.infra.terraform import TerraformFailed

LISTED = {
    "apigateway": ("get_rest_apis", "items"),
    "apigatewayv2": ("get_apis", "Items"),
    "budgets": ("describe_budgets", "Budgets"),
    "cloudwatch": ("describe_alarms", "MetricAlarms"),
    "dynamodb": ("list_tables", "TableNames"),
    "events": ("list_rules", "Rules"),
    "firehose": ("list_delivery_streams", "DeliveryStreamNames"),
    "glue": ("get_databases", "DatabaseList"),
    "kinesis": ("list_streams", "StreamNames"),
    "lambda": ("list_functions", "Functions"),
    "logs": ("describe_log_groups", "logGroups"),
    "s3": ("list_buckets", "Buckets"),
    "sns": ("list_topics", "Topics"),
    "sqs": ("list_queues", "QueueUrls"),
    "wafv2": ("list_web_acls", "WebACLs"),
}
"""What lists what a service holds; more of the same service is in `left`."""
_TOLD = {
    "budgets": {"AccountId": "123456789012"},
    "wafv2": {"Scope": "REGIONAL"},
}


def held(drive: Drive) -> dict[str, list[Any]]:
    """Everything in the account, by kind, but what somebody else made."""
    client = drive.emulator.client
    found = {}
    for service, (operation, key) in LISTED.items():
        answer = getattr(client(service), operation)(**_TOLD.get(service, {}))
        found[f"{service} {key}"] = answer.get(key, [])
    lists: dict[str, Any] = {
        "athena": [
            one
            for one in client("athena").list_work_groups()["WorkGroups"]
            if one["Name"] != "primary"
        ],
        "composite alarms": client("cloudwatch").describe_alarms().get("CompositeAlarms", []),
        "dashboards": client("cloudwatch").list_dashboards()["DashboardEntries"],
        "crawlers": client("glue").get_crawlers()["Crawlers"],
        "jobs": client("glue").get_jobs()["Jobs"],
        "keys": [one["KeyId"] for one in _keys(client("kms"))],
        "mappings": client("lambda").list_event_source_mappings()["EventSourceMappings"],
        "policies": client("iam").list_policies(Scope="Local")["Policies"],
        "roles": client("iam").list_roles()["Roles"],
        "subscriptions": client("sns").list_subscriptions()["Subscriptions"],
    }
    theirs = (EVERYTHING, LOW_STOCK)
    queues = found["sqs QueueUrls"]
    lists["sqs QueueUrls"] = [url for url in queues if url.rpartition("/")[2] not in theirs]
    return found | lists


def _keys(kms: Any) -> Iterator[dict[str, Any]]:
    """Terraform's keys that nobody has asked to be deleted: KMS waits for days until it does. Those
    that services make for themselves have no tags.
    """
    for one in kms.list_keys()["Keys"]:
        known = kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"]
        tags = kms.list_resource_tags(KeyId=one["KeyId"])["Tags"]
        if tags and known["KeyState"] != "PendingDeletion":
            yield known


def test_the_wrong_prefix_removes_nothing(drive: Drive) -> None:
    with pytest.raises(TerraformFailed, match="nothing was removed"):
        drive.stack.destroy("shop")
    assert drive.emulator.client("s3").list_buckets()["Buckets"]


def test_removing_leaves_nothing_of_any_kind(drive: Drive) -> None:
    before = held(drive)
    kinds = {kind for kind, found in before.items() if found}
    assert kinds >= {"sqs QueueUrls", "roles", "logs logGroups", "lambda Functions", "policies"}
    assert ("keys" in kinds) == (drive.stack.profile == "scale")
    drive.close()
    drive.stack.destroy(drive.names.prefix)
    assert drive.stack.left() == []
    assert {kind: found for kind, found in held(drive).items() if found} == {}
