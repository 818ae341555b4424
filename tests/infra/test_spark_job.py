"""The Glue job as it is planned: it may do what it does, and somebody hears when it fails."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.infra.emulator import ACCOUNT, REGION
from tests.infra.planned import Planned, planned
from tests.infra.policies import Permission, Right, allowed, permissions, statements, used
from tests.infra.terraform import TerraformFailed, Unavailable

from shopstream.lake.model import load_models
from shopstream.lake.spark_table import STAGED

GLUE = f"arn:aws:glue:{REGION}:{ACCOUNT}"
NOT_SEEN = {
    "s3:GetBucketLocation": "an S3 client asks where it doesn't know the region",
    "s3:AbortMultipartUpload": "a large file whose writer died",
    "glue:GetTables": "Glue's own start asks what the catalog has",
    "glue:GetDatabases": "the same",
    "logs:*": "Glue's agent, in the role's name",
    "cloudwatch:*": "the same",
    "kms:*": "by way of S3",
    "*/glue/temp/*": "Glue's own scratch folder",
}
"""What it may do beyond what is worked out here, and for whom."""


on_scale = pytest.mark.parametrize("plan", ["scale"], indirect=True)
"""The profile whose lake Spark builds."""


def job(plan: Planned) -> Mapping[str, Any]:
    (found,) = plan.of("aws_glue_job")
    return found.values


def granted(plan: Planned) -> list[Any]:
    policies = [p for p in plan.of("aws_iam_role_policy") if p.module == "etl[0]"]
    return statements(json.loads(policy.values["policy"]) for policy in policies)


def needed(plan: Planned) -> Iterator[Right]:
    """What a run does, by what it is told: Hadoop's file system looks for what it reads, Iceberg's
    reads and writes objects by their names.
    """
    told = job(plan)["default_arguments"]
    for name in ("--bronze", "--archive"):
        for key in ("", "/clicks", "/clicks/dt=2026-11-21", "/clicks/dt=2026-11-21/hour=09"):
            yield from looked_for(told[name] + key)
        yield of_object("GetObject", told[name] + "/clicks/dt=2026-11-21/hour=09/lines.gz")
    for url in (told["--extra-py-files"], job(plan)["command"][0]["script_location"]):
        yield from looked_for(url)
    for model in load_models():
        staged = f"{STAGED}_{model}_rows"
        for table, folder in ((model, model), (staged, f"{STAGED}/{staged}")):
            place = told["--warehouse"] + folder
            for action in ("GetObject", "PutObject", "DeleteObject"):
                yield of_object(action, f"{place}/data/rows.parquet")
            for operation in ("GetTable", "CreateTable", "UpdateTable"):
                yield from of_table(operation, told["--database"], table)
        yield from of_table("DeleteTable", told["--database"], staged)
    yield Right("glue:GetDatabase", f"{GLUE}:database/{told['--database']}")
    yield Right("glue:GetDatabase", f"{GLUE}:catalog")


def looked_for(url: str) -> Iterator[Right]:
    """What EMRFS and S3A ask before they believe that something is a file, a folder or not there: a
    HEAD of the name, of the name as older folders are marked, of the name with a slash; then a
    list. Without a right on a name S3 answers 403 even where there is no such object.
    """
    place = urlsplit(url)
    for key in (url, f"{url}_$folder$", f"{url}/"):
        yield of_object("GetObject", key)
    bucket = f"arn:aws:s3:::{place.netloc}"
    yield Right("s3:ListBucket", bucket, (("s3:prefix", f"{place.path.lstrip('/')}/"),))


def of_object(action: str, url: str) -> Right:
    return Right(f"s3:{action}", f"arn:aws:s3:::{url.removeprefix('s3://')}")


def of_table(operation: str, database: str, table: str) -> Iterator[Right]:
    """Glue asks for a right on the catalog, the database and the table."""
    for on in ("catalog", f"database/{database}", f"table/{database}/{table}"):
        yield Right(f"glue:{operation}", f"{GLUE}:{on}")


@on_scale
def test_the_job_may_do_all_that_it_does(plan: Planned) -> None:
    given = granted(plan)
    assert [right for right in needed(plan) if not allowed(right, given)] == []


@on_scale
def test_the_job_may_do_nothing_that_it_does_not_do(plan: Planned) -> None:
    rights = [*needed(plan)]
    unused = [p for p in permissions(granted(plan)) if not used(p, rights) and not excused(p)]
    assert unused == []


def excused(permission: Permission) -> bool:
    service = permission.action.partition(":")[0]
    known = NOT_SEEN.keys() & {permission.action, f"{service}:*"}
    return bool(known) or permission.resource.endswith("/glue/temp/*")


@on_scale
def test_the_job_cannot_take_away_a_table_that_readers_know(plan: Planned) -> None:
    given = granted(plan)
    database = job(plan)["default_arguments"]["--database"]
    for model in load_models():
        assert not allowed(Right("glue:DeleteTable", f"{GLUE}:table/{database}/{model}"), given)
    lake = f"arn:aws:s3:::shopstream-lake-{ACCOUNT}"
    for action in ("PutObject", "DeleteObject"):
        assert not allowed(Right(f"s3:{action}", f"{lake}/bronze/clicks/lines.gz"), given)


@on_scale
def test_a_run_that_does_not_end_well_reaches_the_topic_of_alarms(plan: Planned) -> None:
    (rule,) = [r for r in plan.of("aws_cloudwatch_event_rule") if r.module == "etl[0]"]
    assert json.loads(rule.values["event_pattern"]) == {
        "source": ["aws.glue"],
        "detail-type": ["Glue Job State Change"],
        "detail": {"jobName": [job(plan)["name"]], "state": ["ERROR", "FAILED", "TIMEOUT"]},
    }
    (target,) = [t for t in plan.of("aws_cloudwatch_event_target") if t.module == "etl[0]"]
    assert target.values["rule"] == rule.values["name"]
    assert target.values["arn"] == f"arn:aws:sns:{REGION}:{ACCOUNT}:shopstream-alarms"
    (policy,) = [p for p in plan.of("aws_sns_topic_policy") if p.module == "alarms"]
    (said,) = [
        statement
        for statement in json.loads(policy.values["policy"])["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    assert (said["Effect"], said["Action"]) == ("Allow", "sns:Publish")
    # Whether EventBridge says the account isn't written anywhere: nothing may depend on it.
    assert {how.endswith("IfExists") for how in said["Condition"]} == {True}


@on_scale
def test_what_a_run_says_when_it_failed_is_one_text_with_its_name(plan: Planned) -> None:
    (target,) = [t for t in plan.of("aws_cloudwatch_event_target") if t.module == "etl[0]"]
    (said,) = target.values["input_transformer"]
    text = said["input_template"]
    for name in said["input_paths"]:
        assert f"<{name}>" in text
        text = text.replace(f"<{name}>", "x")
    assert isinstance(json.loads(text), str)


@on_scale
def test_a_failed_run_is_not_tried_again_before_its_time(plan: Planned) -> None:
    assert job(plan)["max_retries"] == 0
    assert job(plan)["execution_property"][0]["max_concurrent_runs"] == 1


def sized(folder: Path, **given: Any) -> Planned:
    files = {"lambda_zip": "l.zip", "glue_package": "g.zip", "glue_script": "g.py"}
    for name in files.values():
        (folder / name).write_bytes(b"")
    paths = {variable: str(folder / name) for variable, name in files.items()}
    try:
        return planned("scale", folder / "terraform", paths | given)
    except Unavailable as e:
        pytest.skip(str(e))


def test_the_size_of_the_job_is_the_users(tmp_path: Path) -> None:
    size = {"glue_workers": 10, "glue_worker_type": "G.2X", "glue_timeout_minutes": 240}
    made = job(sized(tmp_path, **size))
    assert (made["number_of_workers"], made["worker_type"], made["timeout"]) == (10, "G.2X", 240)


@pytest.mark.parametrize(
    ("name", "value"),
    [("glue_workers", 1), ("glue_worker_type", "G.3X"), ("glue_timeout_minutes", 1.5)],
)
def test_a_size_that_glue_does_not_have_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(TerraformFailed, match=name):
        sized(tmp_path, **{name: value})
