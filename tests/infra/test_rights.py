"""The calls that functions made in all tests before, against their applied policies: every one is
allowed, and no permission is there that none of them used, but those with a reason.

Athena reads and writes with the rights of who asks it, so LakeBuilder's calls include what its
statements take.
"""

import re
from collections import defaultdict
from fnmatch import fnmatchcase

from tests.infra.athena_rights import Lake, athena_rights
from tests.infra.drive import Drive
from tests.infra.emulator import ACCOUNT, REGION
from tests.infra.needed import without
from tests.infra.policies import (
    Permission,
    Right,
    Statement,
    allowed,
    permissions,
    rights,
    statements,
    used,
)

from shopstream.aws.names import BRONZE_TOPICS
from shopstream.lake import statements as sql
from shopstream.lake.compiled import compile_lake

OF_LAMBDA = {
    "logs:CreateLogStream": "Lambda's runtime writes the function's log",
    "logs:PutLogEvents": "Lambda's runtime writes the function's log",
    "xray:PutTraceSegments": "X-Ray's daemon sends traces",
    "xray:PutTelemetryRecords": "X-Ray's daemon sends traces",
    "kms:Decrypt": "services use the key with the rights of who calls them",
    "kms:GenerateDataKey": "services use the key with the rights of who calls them",
}
"""Actions that no code of ours calls -> who does."""
OF_SOURCES = {
    "kinesis:DescribeStream": "Lambda reads the stream",
    "kinesis:DescribeStreamSummary": "Lambda reads the stream",
    "kinesis:ListShards": "Lambda reads the stream",
    "dynamodb:ListStreams": "Lambda finds the table's stream",
    "sqs:ChangeMessageVisibility": "Lambda gives messages back",
}
"""Actions by which Lambda reads a function's own sources -> what for."""
OF_FAILURES = {
    "sqs:SendMessage failures",
    "s3:PutObject failures/aws/lambda/*",
}
"""By which Lambda keeps what it gave up: calls in the queue, records of streams in the bucket."""
NOT_COME_TO: dict[str, tuple[str, ...]] = {
    "an item larger than 400 KB; tests/engines": (
        "Collector s3:GetObject lake/items/*",
        "Replay s3:GetObject lake/items/*",
        "CartWatcher s3:GetObject lake/items/*",
        "CartWatcher s3:PutObject lake/items/*",
        "Ingestor s3:GetObject lake/items/*",
        "Ingestor s3:PutObject lake/items/*",
        "OfferGenerator s3:GetObject lake/items/*",
        "OfferGenerator s3:PutObject lake/items/*",
        "OrderProcessor s3:GetObject lake/items/*",
        "OrderProcessor s3:PutObject lake/items/*",
    ),
    "a record larger than a message: only an order is here": (
        "CartProcessor s3:PutObject lake/claims/*",
        "Ingestor s3:GetObject lake/claims/*",
        "Replay s3:PutObject lake/claims/*",
    ),
    "an order larger than an item; tests/flows": (
        "Ingestor s3:GetObject lake/archive/*",
        "Ingestor s3:PutObject lake/archive/*",
        "OrderProcessor s3:GetObject lake/archive/*",
        "OrderProcessor s3:PutObject lake/archive/*",
    ),
    "a line larger than Firehose takes; tests/aws": (
        "Ingestor s3:PutObject lake/bronze/*",
        "OrderProcessor s3:PutObject lake/bronze/*",
    ),
    "a file that can't be read; tests/aws": ("CartProcessor s3:PutObject raw/failed/*",),
    "without it what isn't there is said to be forbidden": (
        "CartWatcher s3:ListBucket lake",
        "Collector s3:ListBucket lake",
        "Ingestor s3:ListBucket lake",
        "OfferGenerator s3:ListBucket lake",
        "OrderProcessor s3:ListBucket lake",
    ),
    "an event or a timer at which the rules fail; tests/flows": (
        "CartWatcher dynamodb:GetItem table/Ledger",
        "CartWatcher dynamodb:PutItem table/Ledger",
        "CartWatcher dynamodb:GetItem table/Quarantine",
        "CartWatcher dynamodb:PutItem table/Quarantine",
        "OfferGenerator dynamodb:GetItem table/Ledger",
        "OfferGenerator dynamodb:PutItem table/Ledger",
        "OfferGenerator dynamodb:GetItem table/Quarantine",
        "OfferGenerator dynamodb:PutItem table/Quarantine",
    ),
    "a put that finds something there reads it: what came again; tests/flows": (
        "Ingestor dynamodb:GetItem table/Alerts",
        "Ingestor dynamodb:GetItem table/BrowsingEvents",
        "Ingestor dynamodb:GetItem table/Ledger",
        "Ingestor dynamodb:GetItem table/Orders",
        "Ingestor dynamodb:GetItem table/Quarantine",
        "Ingestor dynamodb:GetItem table/State",
        "OrderProcessor dynamodb:GetItem table/Alerts",
        "OrderProcessor dynamodb:GetItem table/BrowsingEvents",
        "OrderProcessor dynamodb:GetItem table/Ledger",
        "OrderProcessor dynamodb:GetItem table/Orders",
        "OrderProcessor dynamodb:GetItem table/Products",
        "OrderProcessor dynamodb:GetItem table/Quarantine",
        "OrderProcessor dynamodb:GetItem table/State",
        "OrderProcessor dynamodb:GetItem table/StockLevels",
        "CartWatcher dynamodb:GetItem table/Offers",
        "CartWatcher dynamodb:GetItem table/Timers",
        "OfferGenerator dynamodb:GetItem table/Offers",
        "OfferGenerator dynamodb:GetItem table/Timers",
    ),
    "an offer that a later timer makes moot; tests/flows": (
        "CartWatcher dynamodb:BatchWriteItem table/Offers",
    ),
    "a rule with a daily budget: only the file of rules of one profile has one": (
        "CartWatcher dynamodb:UpdateItem table/Budgets",
        "OfferGenerator dynamodb:UpdateItem table/Budgets",
    ),
    "an alert that could not be handed on, or waits in the outbox; tests/aws": (
        "CartWatcher dynamodb:DeleteItem table/Idempotency",
        "CartWatcher sns:Publish invalid-orders",
        "Ingestor dynamodb:DeleteItem table/Idempotency",
        "OrderProcessor dynamodb:DeleteItem table/Idempotency",
    ),
    "a message of Segment that is an invalid order": ("Ingestor sns:Publish invalid-orders",),
    "rejected orders that go back to their queue and are resolved; tests/aws": (
        "OrderProcessor dynamodb:BatchWriteItem table/Quarantine",
        "Replay sqs:GetQueueUrl orders.fifo",
        "Replay sqs:SendMessage orders.fifo",
    ),
    "history's watermark, when orders are loaded": ("OrderProcessor dynamodb:PutItem table/State",),
    "Lambda looks whether the bucket for what it gives up is there": (
        "Ingestor s3:ListBucket failures",
        "OfferGenerator s3:ListBucket failures",
    ),
    "Athena asks for `default` in some accounts; terraform/permissions.tf": (
        "LakeBuilder glue:CreateDatabase catalog",
        "LakeBuilder glue:CreateDatabase database/default",
        "LakeBuilder glue:GetDatabase database/default",
    ),
    "a statement gives all its actions on all its resources; these ask nothing of tables": (
        "LakeBuilder glue:GetDatabase table/ecommerce_analytics_db/*",
        "LakeBuilder glue:GetDatabases table/ecommerce_analytics_db/*",
    ),
    "by itself only where no Spark job reads the archive; `shopstream build` may everywhere": (
        "LakeBuilder s3:GetBucketLocation real-time-offers-archive",
        "LakeBuilder s3:GetObject real-time-offers-archive/offers/*",
    ),
}
"""Why these tests don't come to it -> `FUNCTION ACTION RESOURCE`, as `short` says it."""


def calls_made(drive: Drive) -> dict[str, set[Right]]:
    """What each function's calls, and those that AWS made for it, take: no call is no run of the
    other tests.
    """
    if not drive.functions.calls():
        without("no function has made a call: run the other tests of tests/infra with it")
    found: dict[str, set[Right]] = defaultdict(set)
    for call in drive.functions.calls():
        # What is asked about a query doesn't name the workgroup that it belongs to.
        named = {"WorkGroup": drive.names.workgroup} | call.named
        found[call.function].update(rights(call.service, call.operation, named, REGION, ACCOUNT))
    for function, action, resource in drive.poller.made_for:
        found[function].add(Right(action, resource))
    lake = lake_of(drive)
    for text in (*(one.text for one in drive.statements()), *tending(drive)):
        found[drive.names.function("lake_builder")].update(athena_rights(text, lake))
    return found


def lake_of(drive: Drive) -> Lake:
    """Where Athena finds and puts what LakeBuilder's statements name."""
    names = drive.names
    group = drive.emulator.client("athena").get_work_group(WorkGroup=names.workgroup)["WorkGroup"]
    results = group["Configuration"]["ResultConfiguration"]["OutputLocation"]
    places = {
        table: place.removeprefix("s3://").rstrip("/")
        for table, place in drive.glue_tables().items()
    }
    warehouse, answers = f"{names.lake}/warehouse", results.removeprefix("s3://").rstrip("/")
    return Lake(f"{REGION}:{ACCOUNT}", names.database, places, warehouse, answers)


def tending(drive: Drive) -> list[str]:
    """What the builder does after two dozen publishes: these tests don't have so many."""
    (model,) = (m for m in compile_lake().models.values() if m.name == "bronze_tally")
    database = drive.names.database
    return [sql.optimize(model, database, "2025-11-21"), sql.vacuum(database, model.name)]


def applied(drive: Drive, function: str) -> list[Statement]:
    """All statements of the policies of a function's role."""
    iam = drive.emulator.client("iam")
    role = drive.functions[function].configuration["Role"].rpartition("/")[2]
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = policy["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version)
        documents.append(found["PolicyVersion"]["Document"])
    return statements(documents)


def test_every_call_that_a_function_makes_is_allowed(drive: Drive) -> None:
    calls = calls_made(drive)
    refused = [
        f"{function}: {right.action} on {right.resource} {dict(right.context) or ''}"
        for function, wanted in sorted(calls.items())
        for given in [applied(drive, function)]
        for right in sorted(wanted)
        if not allowed(right, given)
    ]
    assert not refused, "\n".join(refused)


def test_no_permission_is_there_for_nothing(drive: Drive) -> None:
    calls = calls_made(drive)
    found = [
        one
        for function in sorted(drive.functions.by_name)
        for one in idle(drive, function, permissions(applied(drive, function)), calls[function])
    ]
    assert not found, "\n".join(found)


def test_every_excuse_is_for_a_permission_that_is_there(drive: Drive) -> None:
    given = {
        short(function, one)
        for function in drive.functions.by_name
        for one in permissions(applied(drive, function))
    }
    # Only where clicks come by a stream, they can be given up.
    elsewhere = {"Ingestor s3:ListBucket failures"} if drive.stack.profile == "starter" else set()
    assert excused() - given - elsewhere == set()


def test_a_right_on_a_wrong_table_stream_or_topic_is_noticed(drive: Drive) -> None:
    """No excuse is so wide that one more permission would hide behind it."""
    arns = {
        "dynamodb:GetItem": [
            f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{one}"
            for one in drive.outputs["tables"].values()
        ],
        "firehose:PutRecordBatch": [
            f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/{drive.names.delivery(topic)}"
            for topic in BRONZE_TOPICS
        ],
        "s3:GetObject": [f"arn:aws:s3:::{one}/*" for one in drive.outputs["buckets"].values()],
        "sns:Publish": list(drive.outputs["topics"].values()),
        "sqs:SendMessage": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{drive.names.queue('orders')}"],
    }
    wrong = {Permission(action, arn) for action, found in arns.items() for arn in found}
    calls = calls_made(drive)
    for function in drive.functions.by_name:
        more = wrong - permissions(applied(drive, function))
        more = {one for one in more if not used(one, calls[function])}
        assert len(more) >= 10
        assert len(idle(drive, function, more, calls[function])) == len(more)


def idle(drive: Drive, function: str, given: set[Permission], calls: set[Right]) -> list[str]:
    """Permissions that no call needed and that have no reason, by name."""
    own = {m.source_arn for m in drive.poller.mappings if m.function == function}
    unused = {one for one in given if not used(one, calls)}
    return sorted(
        name
        for one in unused
        if (name := short(function, one)) not in excused()
        and not (one.action in OF_LAMBDA and _is_its_own(one.resource, function))
        and not (one.action in OF_SOURCES and (one.resource in own or one.resource == "*"))
        and name.partition(" ")[2] not in OF_FAILURES
    )


def _is_its_own(resource: str, function: str) -> bool:
    """A function's own log, and what has no name of its own."""
    return f":log-group:/aws/lambda/{function}:" in resource or not resource.startswith(
        "arn:aws:logs:"
    )


def excused() -> set[str]:
    return {name for names in NOT_COME_TO.values() for name in names}


def short(function: str, permission: Permission) -> str:
    """`Ingestor dynamodb:GetItem table/Ledger`: without prefix, region and account."""
    resource = re.sub(r"^arn:aws:[a-z0-9]+:[^:]*:[^:]*:", "", permission.resource)
    resource = resource.replace("shopstream-", "").replace(f"-{ACCOUNT}", "")
    return f"{function.removeprefix('shopstream-')} {permission.action} {resource}"


def test_no_statement_allows_everything_on_data(drive: Drive) -> None:
    """`*` as a resource is for what has no resources."""
    without_resource = ("xray:*", "cloudwatch:PutMetricData", "dynamodb:ListStreams")
    wide = {
        (function, action)
        for function in drive.functions.by_name
        for statement in applied(drive, function)
        if "*" in statement.resources
        for action in statement.actions
        if not any(fnmatchcase(action, one) for one in without_resource)
    }
    assert wide == set()
