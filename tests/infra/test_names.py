"""Terraform makes exactly what `aws/names.py` says, in both profiles."""

from collections.abc import Mapping
from typing import Any

from tests.infra.emulator import ACCOUNT
from tests.infra.planned import Planned

from shopstream.aws.names import BRONZE_TOPICS, DUE_INDEX, FUNCTIONS, TABLES, Names

NAMES = Names("shopstream", ACCOUNT)


def named(plan: Planned, type: str, attribute: str = "name") -> set[str]:
    return {one.values[attribute] for one in plan.of(type)}


def values_of(plan: Planned, type: str, name: str) -> Mapping[str, Any]:
    return next(one.values for one in plan.of(type) if one.values["name"] == name)


def test_the_tables(plan: Planned) -> None:
    wanted = {NAMES.table(name) for name in TABLES}
    assert named(plan, "aws_dynamodb_table") == wanted | {NAMES.idempotency}


def test_every_table_is_keyed_as_the_ports_are(plan: Planned) -> None:
    for name in TABLES:
        table = values_of(plan, "aws_dynamodb_table", NAMES.table(name))
        assert (table["hash_key"], table["range_key"]) == ("pk", "sk")
        assert table["ttl"][0]["attribute_name"] == "expires"
    seen = values_of(plan, "aws_dynamodb_table", NAMES.idempotency)
    assert (seen["hash_key"], seen["range_key"]) == ("id", None)
    assert seen["ttl"][0]["attribute_name"] == "expiration"


def test_timers_are_found_by_when_they_are_due(plan: Planned) -> None:
    (index,) = values_of(plan, "aws_dynamodb_table", NAMES.table("timers"))[
        "global_secondary_index"
    ]
    assert (index["name"], index["hash_key"], index["range_key"]) == (DUE_INDEX, "wait", "due")
    assert index["projection_type"] == "ALL"


def test_only_what_somebody_reads_has_a_stream(plan: Planned) -> None:
    streamed = [
        t.values["name"] for t in plan.of("aws_dynamodb_table") if t.values["stream_enabled"]
    ]
    assert streamed == [NAMES.table("browsing_events")]


def test_the_functions_and_their_handlers(plan: Planned) -> None:
    handlers = {
        one.values["function_name"]: one.values["handler"] for one in plan.of("aws_lambda_function")
    }
    assert handlers == {
        NAMES.function(name): f"shopstream.aws.handlers.{name}" for name in FUNCTIONS
    }


def test_functions_know_where_they_are(plan: Planned) -> None:
    clicks = "kinesis" if plan.profile == "scale" else "sqs"
    for one in plan.of("aws_lambda_function"):
        variables = one.values["environment"][0]["variables"]
        assert variables["SHOPSTREAM_ENGINE"] == "aws"
        assert variables["SHOPSTREAM_AWS_PREFIX"] == NAMES.prefix
        assert variables["SHOPSTREAM_AWS_ACCOUNT"] == ACCOUNT
        assert variables["SHOPSTREAM_AWS_CLICKS"] == clicks


def test_the_queues_and_the_stream(plan: Planned) -> None:
    queues = {NAMES.queue("orders"), NAMES.dead_letters("orders"), NAMES.failures}
    if plan.profile == "scale":
        assert named(plan, "aws_kinesis_stream") == {NAMES.stream}
    else:
        assert named(plan, "aws_kinesis_stream") == set()
        queues |= {NAMES.queue("clicks"), NAMES.dead_letters("clicks")}
    assert named(plan, "aws_sqs_queue") == queues


def test_the_topics_and_deliveries(plan: Planned) -> None:
    assert named(plan, "aws_sns_topic") == {NAMES.alerts, NAMES.invalid_orders, NAMES.alarms}
    delivered = {NAMES.delivery(topic) for topic in BRONZE_TOPICS}
    assert named(plan, "aws_kinesis_firehose_delivery_stream") == delivered


def test_the_buckets(plan: Planned) -> None:
    places = ("raw", "processed", "consumption", "results", "artifacts", "failures")
    wanted = {NAMES.lake, NAMES.offers_archive} | {NAMES.bucket(place) for place in places}
    assert named(plan, "aws_s3_bucket", "bucket") == wanted


def test_the_database_and_the_workgroup(plan: Planned) -> None:
    assert named(plan, "aws_glue_catalog_database") == {NAMES.database}
    assert named(plan, "aws_athena_workgroup") == {NAMES.workgroup}
