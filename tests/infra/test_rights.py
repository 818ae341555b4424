"""The calls that functions made in all tests before, against their applied policies: every one is
allowed, and no permission is there that none of them used, but those with a reason.
"""

from collections import defaultdict
from fnmatch import fnmatchcase

import pytest
from tests.infra.drive import Drive
from tests.infra.emulator import ACCOUNT, REGION
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

MADE_BY_LAMBDA = {
    "logs:CreateLogStream": "Lambda's runtime writes the function's log",
    "logs:PutLogEvents": "Lambda's runtime writes the function's log",
    "xray:*": "X-Ray's daemon sends traces",
    "kms:*": "services use the key with the rights of who calls them",
    "kinesis:*": "event source mappings read the stream",
    "dynamodb:ListStreams": "event source mappings find the table's stream",
    "sqs:SendMessage": "Lambda tells the failures queue of what it gave up",
    "sqs:ChangeMessageVisibility": "event source mappings give messages back",
}
"""Actions that no code of ours calls -> who does."""
NOT_COME_TO = {
    "LakeBuilder athena:*": "the emulator's Athena runs nothing: a build ends soon",
    "LakeBuilder glue:*": "Athena reads and writes the catalog with the function's rights",
    "LakeBuilder s3:*": "Athena reads and writes the lake with the function's rights",
    "LakeBuilder sns:*": "a model that failed; tests/aws/test_builder.py",
    "LakeBuilder dynamodb:*": "a build that ended; tests/aws/test_builder.py",
    "* s3:* arn:aws:s3:::*lake*/items/*": "an item larger than 400 KB; tests/engines",
    "* s3:* arn:aws:s3:::*lake*/claims/*": "a record larger than a message; only an order is here",
    "* s3:* arn:aws:s3:::*lake*/archive/*": "an order larger than an item; tests/flows",
    "* s3:PutObject arn:aws:s3:::*lake*/bronze/*": "a line larger than Firehose takes; tests/aws",
    "* s3:PutObject arn:aws:s3:::*raw*/failed/*": "a file that can't be read; tests/aws",
    "* s3:ListBucket *": "what isn't there is then said to be absent rather than forbidden",
    "* dynamodb:*Item */*-Ledger": "an event at which the rules fail; tests/flows",
    "* dynamodb:*Item */*-Quarantine": "an event at which the rules fail; tests/flows",
    "* dynamodb:UpdateItem */*-Budgets": "a rule with a daily budget; the default rules have none",
    "* dynamodb:*Item */*-Offers": "an offer decided on again, or made moot after it; tests/flows",
    "* dynamodb:*Item */*-Idempotency": "an alert that could not be handed on; tests/aws",
    "* dynamodb:GetItem */*": "what a record that comes again is compared with; tests/flows",
    "Ingestor dynamodb:PutItem */*": "a message of Segment that is an order; tests/aws",
    "OrderProcessor dynamodb:PutItem */*-State": "history's watermark, when orders are loaded",
    "* firehose:PutRecordBatch *": "a topic that travels on this way only within another's message",
    "Ingestor sns:Publish *": "a message of Segment that is a large or invalid order",
    "Replay sqs:GetQueueUrl *": "rejected orders go back to their queue",
    "Replay sqs:SendMessage *": "rejected orders go back to their queue",
}
"""(function action resource) patterns of what these tests don't come to -> when it is used."""


def needed(drive: Drive) -> dict[str, set[Right]]:
    """What each function's calls, and those that AWS made for it, take."""
    found: dict[str, set[Right]] = defaultdict(set)
    for call in drive.functions.calls():
        # What is asked about a query doesn't name the workgroup that it belongs to.
        named = {"WorkGroup": drive.names.workgroup} | call.named
        found[call.function].update(rights(call.service, call.operation, named, REGION, ACCOUNT))
    for function, action, resource in drive.poller.made_for:
        found[function].add(Right(action, resource))
    return found


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
    calls = needed(drive)
    if not calls:
        pytest.skip("no function has made a call: run the other tests of tests/infra with it")
    refused = [
        f"{function}: {right.action} on {right.resource} {dict(right.context) or ''}"
        for function, wanted in sorted(calls.items())
        for given in [applied(drive, function)]
        for right in sorted(wanted)
        if not allowed(right, given)
    ]
    assert not refused, "\n".join(refused)


def test_no_permission_is_there_for_nothing(drive: Drive) -> None:
    calls = needed(drive)
    if not calls:
        pytest.skip("no function has made a call: run the other tests of tests/infra with it")
    idle = [
        f"{function}: {one.action} on {one.resource}"
        for function in sorted(drive.functions.by_name)
        for one in sorted(permissions(applied(drive, function)))
        if not used(one, calls[function]) and not _explained(function, one)
    ]
    assert not idle, "\n".join(idle)


def _explained(function: str, permission: Permission) -> str:
    by_lambda = _first(permission.action, MADE_BY_LAMBDA)
    handler = function.rpartition("-")[2]
    return by_lambda or _first(f"{handler} {permission.action} {permission.resource}", NOT_COME_TO)


def _first(text: str, patterns: dict[str, str]) -> str:
    return next((why for pattern, why in patterns.items() if fnmatchcase(text, pattern)), "")


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
