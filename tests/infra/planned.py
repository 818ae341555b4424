"""The plan of a profile, with every value known and nobody asked: neither AWS nor an emulator.

`terraform test` plans the root as it is with a provider that answers out of thin air. An ordinary
plan doesn't know what refers to things that aren't there yet: policies, where failures go, what a
function reads.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.infra.emulator import ACCOUNT, REGION, clean_environment
from tests.infra.terraform import PROGRAM, ROOT, TerraformFailed, Unavailable, find_plugins

_TIMEOUT_S = 600
_BUCKETS = (
    *("lake", "real-time-offers-archive", "raw", "processed", "consumption"),
    *("results", "failures"),
)
_HERE = f"{REGION}:{ACCOUNT}"
# The provider checks that an ARN looks like one. Those of a type are the same, but for `_NAMED`.
_ARNS = {
    "aws_athena_workgroup": f"arn:aws:athena:{_HERE}:workgroup/any",
    "aws_api_gateway_stage": f"arn:aws:apigateway:{REGION}::/restapis/any/stages/live",
    "aws_cloudwatch_event_rule": f"arn:aws:events:{_HERE}:rule/any",
    "aws_cloudwatch_log_group": f"arn:aws:logs:{_HERE}:log-group:any",
    "aws_cloudwatch_metric_alarm": f"arn:aws:cloudwatch:{_HERE}:alarm:any",
    "aws_dynamodb_table": f"arn:aws:dynamodb:{_HERE}:table/any",
    "aws_iam_policy": f"arn:aws:iam::{ACCOUNT}:policy/any",
    "aws_iam_role": f"arn:aws:iam::{ACCOUNT}:role/any",
    "aws_kinesis_firehose_delivery_stream": f"arn:aws:firehose:{_HERE}:deliverystream/any",
    "aws_kinesis_stream": f"arn:aws:kinesis:{_HERE}:stream/any",
    "aws_kms_key": f"arn:aws:kms:{_HERE}:key/11111111-2222-3333-4444-555555555555",
    "aws_lambda_function": f"arn:aws:lambda:{_HERE}:function:any",
    "aws_s3_bucket": "arn:aws:s3:::any",
    "aws_sns_topic": f"arn:aws:sns:{_HERE}:any",
    "aws_sqs_queue": f"arn:aws:sqs:{_HERE}:any.fifo",
    "aws_wafv2_web_acl": f"arn:aws:wafv2:{_HERE}:regional/webacl/any/any",
}
_OTHERS: Mapping[str, Mapping[str, str]] = {
    "aws_api_gateway_rest_api": {"execution_arn": f"arn:aws:execute-api:{_HERE}:any"},
    "aws_apigatewayv2_api": {"execution_arn": f"arn:aws:execute-api:{_HERE}:any"},
    "aws_dynamodb_table": {"stream_arn": f"{_ARNS['aws_dynamodb_table']}/stream/any"},
    "aws_lambda_function": {
        "invoke_arn": f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/a/invocations"
    },
}
# Without it a check warns, which is an error in `terraform test`.
_TOLD = {"alarm_emails": ["owner@example.com"]}
_NAMED = {
    "module.alarms.aws_sns_topic.this": f"arn:aws:sns:{_HERE}:shopstream-alarms",
    "module.failures.aws_sqs_queue.this": f"arn:aws:sqs:{_HERE}:shopstream-failures",
    "module.orders.aws_sqs_queue.dead[0]": f"arn:aws:sqs:{_HERE}:shopstream-orders-dlq.fifo",
    **{
        f'module.bucket["{name}"].aws_s3_bucket.this': f"arn:aws:s3:::shopstream-{name}-{ACCOUNT}"
        for name in (*_BUCKETS, "artifacts")
    },
}


class Resource(NamedTuple):
    """Something that would be made, with its settings as the provider names them."""

    address: str
    type: str
    values: Mapping[str, Any]

    @property
    def module(self) -> str:
        """`function["Ingestor"]` of `module.function["Ingestor"].aws_lambda_function.this`."""
        return self.address.partition(f".{self.type}.")[0].removeprefix("module.")


class Planned:
    """All that a profile would make."""

    def __init__(self, profile: str, resources: list[Resource]) -> None:
        self.profile = profile
        self.resources = resources

    def of(self, *types: str) -> list[Resource]:
        """Those of these types, by address."""
        return sorted(one for one in self.resources if one.type in types)

    def types(self) -> set[str]:
        return {one.type for one in self.resources}

    def documents(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every policy that says what a role or person may do, with its resource's address."""
        for one in self.of("aws_iam_role_policy", "aws_iam_policy"):
            yield one.address, json.loads(one.values["policy"])


def planned(profile: str, folder: Path, variables: Mapping[str, Any]) -> Planned:
    """What the profile would make, worked out in `folder`. `variables` are those it needs besides.

    Raises Unavailable without Terraform or the provider, TerraformFailed with what it said.
    """
    if PROGRAM is None:
        raise Unavailable("terraform is not on the PATH")
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "tests", "*.tfplan")
    shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
    (folder / "tests").mkdir()
    (folder / "tests" / "planned.tftest.hcl").write_text(_test(_TOLD | dict(variables)), "utf-8")
    plugins = find_plugins()
    where = [f"-plugin-dir={plugins}"] if plugins else []
    if _run(folder, "init", "-backend=false", "-no-color", *where).returncode:
        raise Unavailable("terraform finds no provider hashicorp/aws")
    given = f"-var-file=profiles/{profile}.tfvars"
    done = _run(folder, "test", "-json", "-verbose", given)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    plans = [one["test_plan"] for one in said if one["type"] == "test_plan"]
    if done.returncode or not plans:
        wrong = [one["diagnostic"] for one in said if one["type"] == "diagnostic"]
        raise TerraformFailed(json.dumps(wrong, indent=1) + done.stderr)
    made = [
        Resource(one["address"], one["type"], one["change"]["after"])
        for one in plans[0]["resource_changes"]
        if one["mode"] == "managed"
    ]
    return Planned(profile, made)


def _run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    assert PROGRAM is not None
    return subprocess.run(
        [PROGRAM, f"-chdir={folder}", *words],
        env=clean_environment() | {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _test(variables: Mapping[str, Any]) -> str:
    """A test without assertions. JSON's literals are HCL's."""
    data = {
        "aws_caller_identity": {"account_id": ACCOUNT},
        "aws_region": {"name": REGION},
        "aws_partition": {"partition": "aws"},
    }
    lines = ['mock_provider "aws" {', "  override_during = plan"]
    for name, values in data.items():
        lines.append(f'  mock_data "{name}" {{\n    defaults = {json.dumps(values)}\n  }}')
    for name in sorted({*_ARNS, *_OTHERS}):
        values = ({"arn": _ARNS[name]} if name in _ARNS else {}) | dict(_OTHERS.get(name, {}))
        lines.append(f'  mock_resource "{name}" {{\n    defaults = {json.dumps(values)}\n  }}')
    for address, arn in _NAMED.items():
        known = json.dumps({"arn": arn})
        lines.append(f"  override_resource {{\n    target = {address}\n    values = {known}\n  }}")
    given = "\n".join(f"    {name} = {json.dumps(value)}" for name, value in variables.items())
    return "\n".join(
        [*lines, "}", f'run "it" {{\n  command = plan\n  variables {{\n{given}\n  }}\n}}', ""]
    )
