"""The policy for who deploys: something of every service, on this deployment's things by name."""

import json
import re
import subprocess
from typing import Any

from tests.infra.emulator import ACCOUNT, REGION, clean_environment
from tests.infra.needed import TOOLS, without
from tests.infra.terraform import ROOT

PAGE = ROOT.parent / "docs" / "aws-deployer.json"
SERVICES = {
    "api_gateway": "apigateway",
    "apigatewayv2": "apigateway",
    "athena": "athena",
    "budgets": "budgets",
    "cloudwatch_event": "events",
    "cloudwatch_log": "logs",
    "cloudwatch": "cloudwatch",
    "dynamodb": "dynamodb",
    "glue": "glue",
    "iam": "iam",
    "kinesis_firehose": "firehose",
    "kinesis_stream": "kinesis",
    "kms": "kms",
    "lambda": "lambda",
    "quicksight": "",  # says docs/aws.md
    "s3": "s3",
    "sns": "sns",
    "sqs": "sqs",
    "wafv2": "wafv2",
}
"""How types of resources begin, longer ones first where one begins another -> IAM's name."""
ON_ALL = {
    "CrawlersAndEncryptionOfTheJob",
    "DeliveryOfLogs",
    "NewKey",
    "NewSourcesOfFunctions",  # held to the functions by its condition
    "SeeLimits",
    "Subscriptions",
    "TagsOfANewKey",  # held to the tag by its condition
}
"""Statements with actions that IAM checks against no resource, or whose names AWS makes up."""


def statements() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(PAGE.read_text("utf-8"))["Statement"]
    return found


def service(resource_type: str) -> str:
    name = resource_type.removeprefix("aws_")
    return next(SERVICES[one] for one in sorted(SERVICES, reverse=True) if name.startswith(one))


def test_everything_that_is_made_may_be_made() -> None:
    files = [file.read_text("utf-8") for file in ROOT.rglob("*.tf")]
    types = {t for text in files for t in re.findall(r'^resource "(aws_\w+)"', text, re.MULTILINE)}
    assert len(types) > 40
    allowed = {action.partition(":")[0] for one in statements() for action in one["Action"]}
    assert {service(one) for one in types} - {""} <= allowed


def test_it_is_held_to_one_deployment() -> None:
    for one in statements():
        assert not [action for action in one["Action"] if "*" in action], one["Sid"]
        assert ("*" in one["Resource"]) == (one["Sid"] in ON_ALL), one["Sid"]
    roles = next(one for one in statements() if one["Sid"] == "HandRolesToServices")
    assert roles["Resource"] == ["arn:aws:iam::ACCOUNT:role/PREFIX-*"]
    assert set(roles["Condition"]["StringEquals"]) == {"iam:PassedToService"}


_LINT = """
import sys
from parliament import analyze_policy_string
for one in analyze_policy_string(sys.stdin.read()).findings:
    print(f"{one.issue}: {one.detail}")
"""


def test_it_says_what_iam_understands() -> None:
    if not (TOOLS / "checkov").exists():
        without("checkov is not installed: make checkov")
    text = PAGE.read_text("utf-8").replace("REGION", REGION).replace("PREFIX", "shopstream")
    done = subprocess.run(
        [str(TOOLS / "python"), "-W", "ignore", "-c", _LINT],
        input=text.replace("ACCOUNT", ACCOUNT),
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Actions on two kinds of things are missed on one of them; and whoever writes the policies of
    # buckets can read them.
    known = ("RESOURCE_MISMATCH:", "RESOURCE_POLICY_PRIVILEGE_ESCALATION:", "RESOURCE_STAR:")
    assert [line for line in done.stdout.splitlines() if not line.startswith(known)] == []
