"""Both profiles against what people get wrong on AWS, and what starter must not cost."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.infra.emulator import ACCOUNT
from tests.infra.planned import Planned, Resource, planned
from tests.infra.terraform import ROOT, TerraformFailed, Unavailable

from shopstream.aws.alerting import REMEMBERED_S
from shopstream.aws.carts import LINE_BYTES
from shopstream.aws.names import TABLES
from shopstream.aws.tables import ttls_s
from shopstream.settings import Settings

DAY_S = 86_400
DEAD_LETTER_DAYS = 14
BATCH_MAX = 10  # messages that SQS gives at once


def one_of(resource: Resource, block: str) -> Any:
    """The settings in a block that may stand once."""
    found = resource.values[block]
    assert len(found) == 1, f"{resource.address}: {block}"
    return found[0]


def mappings(plan: Planned, source: str) -> list[Resource]:
    """Event source mappings that read queues (`sqs`), `kinesis` or tables' streams (`dynamodb`)."""
    found = plan.of("aws_lambda_event_source_mapping")
    return [m for m in found if m.values["event_source_arn"].split(":")[2] == source]


def streams_read(plan: Planned) -> list[Resource]:
    return mappings(plan, "kinesis") + mappings(plan, "dynamodb")


def queues(plan: Planned) -> dict[str, Resource]:
    return {one.values["name"]: one for one in plan.of("aws_sqs_queue")}


def redrive(queue: Resource) -> Any:
    """Where a queue's messages go when they were received too often; {} where nowhere."""
    text = queue.values["redrive_policy"] or ""
    return json.loads(text) if text.startswith("{") else {}


# One poison record blocks a shard for as long as the stream keeps it.


def test_each_profile_reads_what_it_should(plan: Planned) -> None:
    read = {
        (m.module, m.values["event_source_arn"].split(":")[2])
        for m in plan.of("aws_lambda_event_source_mapping")
    }
    clicks = "kinesis" if plan.profile == "scale" else "sqs"
    assert read == {
        ('function["Ingestor"]', clicks),
        ('function["OrderProcessor"]', "sqs"),
        ('function["OfferGenerator"]', "dynamodb"),
    }


def test_a_poison_record_is_found_by_halving_its_batch(plan: Planned) -> None:
    assert streams_read(plan)
    assert all(m.values["bisect_batch_on_function_error"] is True for m in streams_read(plan))


def test_a_record_is_tried_a_finite_number_of_times_and_for_a_finite_time(plan: Planned) -> None:
    for mapping in streams_read(plan):
        assert 1 <= mapping.values["maximum_retry_attempts"] <= 100, mapping.address
        # Below what the streams keep, or a record is lost before it is given up.
        assert 60 <= mapping.values["maximum_record_age_in_seconds"] < DAY_S, mapping.address


def test_a_record_that_is_given_up_is_kept_whole(plan: Planned) -> None:
    """A queue would be told only where it is in a stream that keeps a day."""
    bucket = f"shopstream-failures-{ACCOUNT}"
    for mapping in streams_read(plan):
        failed = one_of(mapping, "destination_config")["on_failure"]
        assert failed[0]["destination_arn"] == f"arn:aws:s3:::{bucket}", mapping.address
    (kept,) = [
        one.values["rule"]
        for one in plan.of("aws_s3_bucket_lifecycle_configuration")
        if one.module == 'bucket["failures"]'
    ]
    days = [rule["expiration"][0]["days"] for rule in kept if rule["id"] == "records"]
    assert days == [DEAD_LETTER_DAYS]


def test_somebody_hears_of_a_record_that_is_given_up(plan: Planned) -> None:
    """The queue whose depth has an alarm."""
    (rule,) = [r for r in plan.of("aws_cloudwatch_event_rule") if r.address.endswith(".given_up")]
    detail = json.loads(rule.values["event_pattern"])["detail"]
    assert detail == {"bucket": {"name": [f"shopstream-failures-{ACCOUNT}"]}}
    (target,) = [
        t for t in plan.of("aws_cloudwatch_event_target") if t.values["rule"] == rule.values["name"]
    ]
    assert target.values["arn"].endswith(":shopstream-failures")
    (watched,) = [b for b in plan.of("aws_s3_bucket_notification") if "failures" in b.address]
    assert watched.values["eventbridge"]


def test_an_outage_of_minutes_uses_no_records_tries_up(plan: Planned) -> None:
    for mapping in streams_read(plan):
        assert mapping.values["maximum_retry_attempts"] >= 100, mapping.address


def test_a_stream_is_read_from_its_beginning(plan: Planned) -> None:
    assert all(m.values["starting_position"] == "TRIM_HORIZON" for m in streams_read(plan))


def test_a_table_is_read_one_batch_of_a_shard_at_a_time(plan: Planned) -> None:
    """Several at once keep the order of an item only, and a user's history is several."""
    (mapping,) = mappings(plan, "dynamodb")
    assert mapping.values["parallelization_factor"] == 1


def test_kinesis_is_read_side_by_side(plan: Planned) -> None:
    """It keeps the order of a partition key, which is the user."""
    for mapping in mappings(plan, "kinesis"):
        assert mapping.values["parallelization_factor"] > 1


# Partial responses are ignored.


def test_functions_say_which_messages_failed(plan: Planned) -> None:
    for mapping in plan.of("aws_lambda_event_source_mapping"):
        assert mapping.values["function_response_types"] == ["ReportBatchItemFailures"]


# SQS.


def test_a_message_stays_hidden_six_times_as_long_as_its_function_may_run(plan: Planned) -> None:
    timeouts = {f.module: f.values["timeout"] for f in plan.of("aws_lambda_function")}
    readers = {"shopstream-orders.fifo": "OrderProcessor", "shopstream-clicks.fifo": "Ingestor"}
    read = {name: function for name, function in readers.items() if name in queues(plan)}
    assert len(read) == (2 if plan.profile == "starter" else 1)
    for name, function in read.items():
        hidden = queues(plan)[name].values["visibility_timeout_seconds"]
        assert hidden >= 6 * timeouts[f'function["{function}"]'], name


def test_a_message_is_received_at_least_five_times_before_it_is_given_up(plan: Planned) -> None:
    given_up = {name: redrive(queue) for name, queue in queues(plan).items() if redrive(queue)}
    assert "shopstream-orders.fifo" in given_up
    assert all(5 <= one["maxReceiveCount"] <= 100 for one in given_up.values())
    assert given_up["shopstream-orders.fifo"]["deadLetterTargetArn"].endswith("-orders-dlq.fifo")


def test_every_queue_that_is_worked_on_has_a_dead_letter_queue_of_its_kind(plan: Planned) -> None:
    dead = {name for name in queues(plan) if "-dlq" in name} | {"shopstream-failures"}
    for name, queue in queues(plan).items():
        if name not in dead:
            assert redrive(queue), name
            twin = queues(plan)[name.replace(".fifo", "-dlq.fifo")]
            assert twin.values["fifo_queue"] == queue.values["fifo_queue"]


def test_dead_letters_are_kept_for_fourteen_days(plan: Planned) -> None:
    kept = [name for name in queues(plan) if "-dlq" in name or name.endswith("-failures")]
    assert len(kept) >= 2
    for name in kept:
        assert queues(plan)[name].values["message_retention_seconds"] == 14 * DAY_S, name


def test_a_batch_is_at_most_ten_messages_of_a_queue_in_order(plan: Planned) -> None:
    assert all(m.values["batch_size"] <= BATCH_MAX for m in mappings(plan, "sqs"))


def test_queues_keep_order_by_user_at_a_high_rate(plan: Planned) -> None:
    for name, queue in queues(plan).items():
        if name.endswith(".fifo"):
            assert queue.values["deduplication_scope"] == "messageGroup"
            assert queue.values["fifo_throughput_limit"] == "perMessageGroupId"


def test_who_reads_a_queue_is_kept_from_being_throttled(plan: Planned) -> None:
    """What is throttled counts as received. A new account has ten calls at once, for everybody."""
    reserved = {
        f.values["function_name"]: f.values["reserved_concurrent_executions"]
        for f in plan.of("aws_lambda_function")
    }
    most = {
        m.module: one_of(m, "scaling_config")["maximum_concurrency"] for m in mappings(plan, "sqs")
    }
    if plan.profile == "starter":
        assert set(most) == {'function["Ingestor"]', 'function["OrderProcessor"]'}
        assert sum(most.values()) <= 5
    for module, calls in most.items():
        _, name, _ = module.split('"')
        assert reserved[f"shopstream-{name}"] in (-1, max(calls, reserved[f"shopstream-{name}"]))


# DynamoDB.


def tables(plan: Planned) -> dict[str, Resource]:
    return {t.values["name"].removeprefix("shopstream-"): t for t in plan.of("aws_dynamodb_table")}


def test_tables_are_keyed_by_id_and_cost_by_the_request(plan: Planned) -> None:
    assert len(tables(plan)) == 12
    for name, table in tables(plan).items():
        assert table.values["billing_mode"] == "PAY_PER_REQUEST"
        keys = (table.values["hash_key"], table.values["range_key"])
        assert keys == (("id", None) if name == "Idempotency" else ("pk", "sk"))


def test_what_is_old_expires(plan: Planned) -> None:
    for name, table in tables(plan).items():
        ttl = one_of(table, "ttl")
        assert ttl["enabled"], name
        assert ttl["attribute_name"] == ("expiration" if name == "Idempotency" else "expires")


def test_tables_can_be_taken_back_to_any_second(plan: Planned) -> None:
    for name, table in tables(plan).items():
        assert one_of(table, "point_in_time_recovery")["enabled"], name


def test_the_offer_generator_sees_new_items_and_nothing_else(plan: Planned) -> None:
    table = tables(plan)["BrowsingEvents"]
    assert table.values["stream_enabled"]
    assert table.values["stream_view_type"] == "NEW_IMAGE"
    assert [t.address for t in tables(plan).values() if t.values["stream_enabled"]] == [
        table.address
    ]
    (mapping,) = mappings(plan, "dynamodb")
    patterns = [json.loads(f["pattern"]) for f in one_of(mapping, "filter_criteria")["filter"]]
    assert patterns == [{"eventName": ["INSERT"]}]  # what expires is removed, and no news


def test_timers_are_found_by_when_they_are_due(plan: Planned) -> None:
    index = one_of(tables(plan)["Timers"], "global_secondary_index")
    assert (index["name"], index["hash_key"], index["range_key"]) == ("due", "wait", "due")


def test_a_stream_that_is_fallen_behind_is_told_long_before_it_forgets(plan: Planned) -> None:
    watched = [
        a
        for a in plan.of("aws_cloudwatch_metric_alarm")
        if a.values["metric_name"] == "IteratorAge"
    ]
    assert len(watched) == len(streams_read(plan))
    assert all(a.values["threshold"] <= DAY_S * 1000 / 2 for a in watched)


def test_an_alert_is_remembered_as_long_as_its_record_can_come_again(plan: Planned) -> None:
    kept = [queue.values["message_retention_seconds"] for queue in queues(plan).values()]
    kept += [stream.values["retention_period"] * 3600 for stream in plan.of("aws_kinesis_stream")]
    assert 2 * max(kept) <= REMEMBERED_S  # in a queue, then among its dead letters


# SNS.


def test_what_a_subscriber_does_not_take_is_kept(plan: Planned) -> None:
    subscriptions = plan.of("aws_sns_topic_subscription")
    assert len(subscriptions) >= 3
    for one in subscriptions:
        target = json.loads(one.values["redrive_policy"])["deadLetterTargetArn"]
        assert target.endswith(":shopstream-failures"), one.address


# Firehose.


def test_bronze_lies_compressed_by_topic_day_and_hour(plan: Planned) -> None:
    streams = plan.of("aws_kinesis_firehose_delivery_stream")
    assert len(streams) == 5
    for stream in streams:
        topic = stream.values["name"].removeprefix("shopstream-bronze-")
        to = one_of(stream, "extended_s3_configuration")
        assert to["compression_format"] == "GZIP"
        by_hour = "dt=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/"
        assert to["prefix"] == f"bronze/{topic}/{by_hour}"


def test_what_firehose_cannot_deliver_lies_where_no_table_reads_it(plan: Planned) -> None:
    for stream in plan.of("aws_kinesis_firehose_delivery_stream"):
        to = one_of(stream, "extended_s3_configuration")
        assert to["error_output_prefix"].startswith("errors/")
        assert "!{firehose:error-output-type}" in to["error_output_prefix"]
        assert to["cloudwatch_logging_options"][0]["enabled"]


# Buckets, policies, secrets.


def test_nothing_is_read_or_written_but_over_tls(plan: Planned) -> None:
    kinds = {"aws_s3_bucket": "aws_s3_bucket_policy", "aws_sns_topic": "aws_sns_topic_policy"}
    for kind, of_kind in kinds.items():
        assert len(plan.of(kind)) == len(plan.of(of_kind)) > 0
    for one in plan.of(*kinds.values(), "aws_sqs_queue"):
        statements = json.loads(one.values["policy"])["Statement"]
        denied = [s for s in statements if s["Effect"] == "Deny"]
        assert denied[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}, one.address
        assert denied[0]["Principal"] == "*"


def test_a_bucket_forbids_its_bucket_and_all_its_objects_without_tls(plan: Planned) -> None:
    for one in plan.of("aws_s3_bucket_policy"):
        (statement,) = json.loads(one.values["policy"])["Statement"]
        bucket, objects = sorted(statement["Resource"])
        assert objects == f"{bucket}/*"
        assert bucket.startswith("arn:aws:s3:::shopstream-")


@pytest.mark.parametrize(
    "part",
    [
        "aws_s3_bucket_public_access_block",
        "aws_s3_bucket_versioning",
        "aws_s3_bucket_server_side_encryption_configuration",
        "aws_s3_bucket_ownership_controls",
        "aws_s3_bucket_lifecycle_configuration",
    ],
)
def test_every_bucket_has(plan: Planned, part: str) -> None:
    assert {one.module for one in plan.of(part)} == {b.module for b in plan.of("aws_s3_bucket")}


def test_no_bucket_can_be_made_public(plan: Planned) -> None:
    for block in plan.of("aws_s3_bucket_public_access_block"):
        for setting in (
            "block_public_acls",
            "block_public_policy",
            "ignore_public_acls",
            "restrict_public_buckets",
        ):
            assert block.values[setting] is True, block.address


def test_bronze_grows_cheaper_with_age_and_stays_readable(plan: Planned) -> None:
    rules = next(
        one.values["rule"]
        for one in plan.of("aws_s3_bucket_lifecycle_configuration")
        if one.module == 'bucket["lake"]'
    )
    bronze = next(rule for rule in rules if rule["id"] == "bronze")
    classes = [step["storage_class"] for step in bronze["transition"]]
    # Athena reads no other Glacier class.
    assert sorted(classes) == ["GLACIER_IR", "STANDARD_IA"]
    assert not bronze["expiration"]


def expirations(plan: Planned, bucket: str) -> dict[str, int]:
    """After how many days objects of a bucket go, by the prefix of their names."""
    rules = next(
        one.values["rule"]
        for one in plan.of("aws_s3_bucket_lifecycle_configuration")
        if one.module == f'bucket["{bucket}"]'
    )
    return {
        rule["filter"][0]["prefix"] or "": rule["expiration"][0].get("days")
        for rule in rules
        if rule["expiration"] and rule["expiration"][0].get("days")
    }


def test_archived_offers_go_when_the_setting_says(plan: Planned) -> None:
    assert expirations(plan, "real-time-offers-archive") == {"": Settings().archive_ttl.days}


def test_files_of_items_stay_longer_than_any_item_that_expires(plan: Planned) -> None:
    days = expirations(plan, "lake")
    kept = ttls_s(Settings())
    longest = max(kept.values()) // DAY_S
    # The ledger's items and the budgets' counters are small.
    for table in kept.keys() - {"budgets", "ledger"}:
        assert longest + 30 < days[f"items/{table}/"] < longest + 60
    assert longest + 30 < days["archive/orders/"] < longest + 60
    # What is always kept has its file always.
    assert not {f"items/{table}/" for table in TABLES if table not in kept} & days.keys()


def plan_with(folder: Path, settings: dict[str, str]) -> Planned:
    (folder / "l.zip").write_bytes(b"")
    try:
        given = {"lambda_zip": str(folder / "l.zip"), "settings": settings}
        return planned("starter", folder / "terraform", given)
    except Unavailable as e:
        pytest.skip(str(e))


def test_settings_say_how_long_files_are_kept(tmp_path: Path) -> None:
    plan = plan_with(tmp_path, {"archive_ttl": "1d", "offers_ttl": "36h", "orders_ttl": "800d"})
    assert expirations(plan, "real-time-offers-archive") == {"": 2}
    assert expirations(plan, "lake")["archive/orders/"] == 835


def test_a_setting_that_is_no_duration_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(TerraformFailed, match="a duration like 90d or 36h"):
        plan_with(tmp_path, {"orders_ttl": "1y"})


def statements(plan: Planned) -> Iterator[tuple[str, Any]]:
    for address, document in plan.documents():
        for statement in document["Statement"]:
            yield address, statement


NO_RESOURCES = {
    "cloudwatch:PutMetricData",  # held to a namespace by its condition
    "dynamodb:ListStreams",
    "athena:ListDataCatalogs",
    "athena:ListEngineVersions",
    "athena:ListWorkGroups",
    "glue:GetSecurityConfiguration",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""Actions that AWS checks against no resource."""


def test_policies_name_the_resources_that_they_speak_of(plan: Planned) -> None:
    found = list(statements(plan))
    assert len(found) > 50
    for address, statement in found:
        actions = set(statement["Action"])
        if not actions <= NO_RESOURCES:
            assert "*" not in statement["Resource"], f"{address}: {statement}"
        assert not any(one.startswith("arn:aws:s3:::*") for one in statement["Resource"])


def test_policies_name_their_actions(plan: Planned) -> None:
    for address, statement in statements(plan):
        assert statement["Effect"] == "Allow"
        assert not [one for one in statement["Action"] if "*" in one], address
        assert not set(statement) & {"NotAction", "NotResource", "NotPrincipal"}, address


def test_a_role_is_taken_only_by_one_service(plan: Planned) -> None:
    """Lambda says for which account it asks. Of the others AWS doesn't write that they do, and a
    condition on what isn't said would keep them out.
    """
    for role in plan.of("aws_iam_role"):
        (statement,) = json.loads(role.values["assume_role_policy"])["Statement"]
        assert set(statement["Principal"]) == {"Service"}, role.address
        service = statement["Principal"]["Service"]
        assert service in {f"{s}.amazonaws.com" for s in ("lambda", "firehose", "glue")}
        asked = {"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}
        conditions = {k: v for k, v in statement.items() if k == "Condition"}
        assert conditions == (asked if service.startswith("lambda") else {}), role.address


def test_no_function_holds_a_secret(plan: Planned) -> None:
    for function in plan.of("aws_lambda_function"):
        names = one_of(function, "environment")["variables"]
        assert not [n for n in names if any(w in n for w in ("KEY", "SECRET", "TOKEN", "PASSWORD"))]


def test_no_more_requests_are_let_in_at_once_than_an_account_has(plan: Planned) -> None:
    stages = plan.of("aws_apigatewayv2_stage", "aws_api_gateway_method_settings")
    assert len(stages) == 1
    for stage in stages:
        block = "settings" if plan.profile == "scale" else "default_route_settings"
        assert 0 < one_of(stage, block)["throttling_burst_limit"] <= 5000


def test_only_services_that_publish_may(plan: Planned) -> None:
    allowed = {
        statement["Principal"]["Service"]
        for policy in plan.of("aws_sns_topic_policy")
        for statement in json.loads(policy.values["policy"])["Statement"]
        if statement["Effect"] == "Allow"
    }
    job = {"events.amazonaws.com"} if plan.profile == "scale" else set()
    assert allowed == {"cloudwatch.amazonaws.com"} | job


def test_files_of_carts_find_room_on_disk(plan: Planned) -> None:
    room = {
        function.values["function_name"].removeprefix("shopstream-"): storage["size"]
        for function in plan.of("aws_lambda_function")
        for storage in function.values["ephemeral_storage"]
    }
    assert {name for name, mib in room.items() if mib != 512} == {"CartProcessor", "Promotions"}
    # docs/aws.md says how many lines that is.
    lines = room["CartProcessor"] * 1024**2 // LINE_BYTES
    assert f"{lines // 1_000_000} million lines" in (ROOT.parent / "docs/aws.md").read_text("utf-8")


# What is called without waiting for an answer.


def test_what_fails_without_a_caller_is_kept(plan: Planned) -> None:
    functions = {one.module for one in plan.of("aws_lambda_function")}
    configured = plan.of("aws_lambda_function_event_invoke_config")
    assert {one.module for one in configured} == functions
    for one in configured:
        failed = one_of(one, "destination_config")["on_failure"]
        assert failed[0]["destination"].endswith(":shopstream-failures")
    for target in plan.of("aws_cloudwatch_event_target"):
        if target.address == "aws_cloudwatch_event_target.given_up":
            continue  # it is that queue's own
        assert one_of(target, "dead_letter_config")["arn"].endswith(":shopstream-failures")


def test_logs_are_kept_for_a_time_and_not_for_ever(plan: Planned) -> None:
    groups = plan.of("aws_cloudwatch_log_group")
    assert len(groups) >= len(plan.of("aws_lambda_function"))
    assert all(0 < group.values["retention_in_days"] <= 731 for group in groups)


def test_a_query_cannot_scan_without_limit(plan: Planned) -> None:
    (workgroup,) = plan.of("aws_athena_workgroup")
    settings = one_of(workgroup, "configuration")
    assert settings["enforce_workgroup_configuration"]
    assert 0 < settings["bytes_scanned_cutoff_per_query"] <= 1024**4


# What costs while nobody shops is off in starter.

COSTS_WHILE_IDLE = {
    "aws_kinesis_stream": "by the hour, on demand too",
    "aws_kms_key": "1 USD a month",
    "aws_wafv2_web_acl": "5 USD a month, and 1 for each rule",
    "aws_cloudwatch_dashboard": "3 USD a month beyond the first three",
    "aws_cloudwatch_composite_alarm": "0.50 USD a month",
    "aws_lambda_provisioned_concurrency_config": "by the hour",
    "aws_nat_gateway": "by the hour",
    "aws_vpc_endpoint": "by the hour",
    "aws_lb": "by the hour",
    "aws_quicksight_analysis": "by the author",
    "aws_secretsmanager_secret": "0.40 USD a month",
    "aws_glue_trigger": "runs a job",
    "aws_glue_job": "builds are Athena's there",
    "aws_api_gateway_rest_api": "dearer than the HTTP API by the request, and only there for WAF",
}


def test_starter_has_nothing_that_costs_while_idle(plan: Planned) -> None:
    if plan.profile == "starter":
        assert not plan.types() & set(COSTS_WHILE_IDLE)


def test_starter_keeps_to_the_alarms_that_are_free(plan: Planned) -> None:
    alarms = len(plan.of("aws_cloudwatch_metric_alarm"))
    assert alarms <= 10 if plan.profile == "starter" else alarms > 10


def test_the_page_of_costs_knows_how_many_alarms_are_paid_for(plan: Planned) -> None:
    if plan.profile == "scale":
        paid = len(plan.of("aws_cloudwatch_metric_alarm")) - 10
        page = (ROOT.parent / "docs" / "aws-costs.md").read_text("utf-8")
        assert f"| {paid} × 0.10 |" in page


def test_no_crawler_runs_by_itself_in_starter(plan: Planned) -> None:
    crawlers = plan.of("aws_glue_crawler")
    assert len(crawlers) == 3
    if plan.profile == "starter":
        assert all(crawler.values["schedule"] is None for crawler in crawlers)


def test_every_table_is_built_by_somebody(plan: Planned) -> None:
    targets = {target.values["rule"]: target for target in plan.of("aws_cloudwatch_event_target")}
    asked = next(t.values["input"] for rule, t in targets.items() if rule.endswith("-lake-builder"))
    if plan.profile == "scale":
        assert json.loads(asked) == {"select": ["bronze_tally+"]}  # all others are the job's
        assert plan.of("aws_glue_job")
    else:
        assert asked is None


def test_no_function_is_kept_warm_or_in_a_network_that_costs(plan: Planned) -> None:
    for function in plan.of("aws_lambda_function"):
        assert not function.values["vpc_config"]
        assert not function.values["snap_start"]
    assert not [
        m
        for m in plan.of("aws_lambda_event_source_mapping")
        if m.values["provisioned_poller_config"]
    ]


def test_starter_encrypts_by_keys_that_are_free(plan: Planned) -> None:
    if plan.profile != "starter":
        return
    for one in plan.of("aws_s3_bucket_server_side_encryption_configuration"):
        applied = one.values["rule"][0]["apply_server_side_encryption_by_default"][0]
        assert applied["sse_algorithm"] == "AES256"
    for one in plan.of("aws_sqs_queue"):
        assert one.values["sqs_managed_sse_enabled"]
        assert not one.values["kms_master_key_id"]


def test_starter_reserves_nothing_of_a_new_accounts_ten_calls(plan: Planned) -> None:
    reserved = [f.values["reserved_concurrent_executions"] for f in plan.of("aws_lambda_function")]
    assert set(reserved) == {-1} if plan.profile == "starter" else min(reserved) > 0


# What scale is for.


def test_scale_takes_clicks_by_kinesis_on_demand_and_builds_by_spark(plan: Planned) -> None:
    if plan.profile == "scale":
        (stream,) = plan.of("aws_kinesis_stream")
        assert stream.values["name"] == "shopstream-BrowsingClickstream"
        assert one_of(stream, "stream_mode_details")["stream_mode"] == "ON_DEMAND"
        assert len(plan.of("aws_glue_job")) == len(plan.of("aws_glue_trigger")) == 1


def test_scale_stands_behind_a_firewall_and_encrypts_by_its_own_key(plan: Planned) -> None:
    if plan.profile == "scale":
        assert len(plan.of("aws_wafv2_web_acl_association")) == 1
        (key,) = plan.of("aws_kms_key")
        assert key.values["enable_key_rotation"]
        for one in plan.of("aws_s3_bucket_server_side_encryption_configuration"):
            applied = one.values["rule"][0]["apply_server_side_encryption_by_default"][0]
            assert applied["sse_algorithm"] == "aws:kms"
        for table in plan.of("aws_dynamodb_table"):
            assert one_of(table, "server_side_encryption")["enabled"]


def test_scale_leaves_the_account_a_hundred_calls_that_are_not_reserved(plan: Planned) -> None:
    if plan.profile == "scale":
        reserved = plan.of("aws_lambda_function")
        assert sum(f.values["reserved_concurrent_executions"] for f in reserved) <= 900


# Alarms.


def test_every_alarm_tells_the_topic_of_alarms(plan: Planned) -> None:
    for alarm in plan.of("aws_cloudwatch_metric_alarm"):
        assert alarm.values["alarm_actions"], alarm.address
        assert alarm.values["alarm_description"], alarm.address


def test_who_is_told_of_no_alarm_is_warned(tmp_path: Path) -> None:
    (tmp_path / "l.zip").touch()
    given = {"lambda_zip": str(tmp_path / "l.zip"), "alarm_emails": []}
    with pytest.raises(TerraformFailed, match="alarm_emails is empty"):
        planned("starter", tmp_path / "terraform", given)


def test_every_queue_of_what_was_given_up_is_watched(plan: Planned) -> None:
    dead = {name for name in queues(plan) if "-dlq" in name or name.endswith("-failures")}
    watched = {
        alarm.values["dimensions"].get("QueueName")
        for alarm in plan.of("aws_cloudwatch_metric_alarm")
        if alarm.values["metric_name"] == "ApproximateNumberOfMessagesVisible"
    }
    assert watched == dead


def test_the_runbook_says_what_to_do_about_every_alarm(plan: Planned) -> None:
    runbook = (ROOT.parent / "docs" / "runbook.md").read_text("utf-8")
    for alarm in plan.of("aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm"):
        name = alarm.values["alarm_name"].removeprefix("shopstream-")
        kind = re.search(r"(write-throttles|iterator-age|[a-z]+)$", name)
        assert kind
        assert re.search(rf"`[^`]*-{kind[0]}`|`…-{kind[0]}`", runbook), name


def test_names_begin_with_the_prefix(plan: Planned) -> None:
    attribute = {
        "aws_dynamodb_table": "name",
        "aws_kinesis_firehose_delivery_stream": "name",
        "aws_lambda_function": "function_name",
        "aws_s3_bucket": "bucket",
        "aws_sns_topic": "name",
        "aws_sqs_queue": "name",
    }
    for one in plan.of(*attribute):
        assert one.values[attribute[one.type]].startswith("shopstream-"), one.address
