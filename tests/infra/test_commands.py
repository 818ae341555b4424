"""`make deploy` and `make destroy`: what they ask Terraform for, and when they don't.

In Terraform's place stands a program that writes down what it was told. With the real one they make
and remove the stacks of all other tests here (`terraform.py`, `test_removal.py`).
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = """#!/bin/sh
echo "$@" >> "$TOLD"
case "$*" in
    *"output -raw prefix"*) [ -n "$DEPLOYED" ] && printf %s "$DEPLOYED" || exit 1 ;;
    *"output -raw reader_policy_arn"*) printf %s "$POLICY" ;;
    *"show -json"*) echo "$PLANNED" ;;
esac
"""
PACKAGER = f"""#!/bin/sh
case "$1" in scripts/*) exec "{sys.executable}" "$@" ;; esac
echo "$(basename "$0") $*" >> "$TOLD"
case "$1" in -c) echo 3.12 ;; esac
"""
AWS = """#!/bin/sh
echo "aws $*" >> "$TOLD"
case "$*" in *PolicyRoles*) echo "analyst robot" ;; *PolicyUsers*) echo ana ;; esac
"""


class Checkout:
    """A folder with the scripts and profiles of the repository and programs that stand in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told_file = folder / "told"
        shutil.copytree(REPOSITORY / "scripts", folder / "scripts")
        shutil.copytree(REPOSITORY / "terraform" / "profiles", folder / "terraform" / "profiles")
        (folder / "README.md").write_text("shopstream")
        self.program(folder / "programs" / "terraform", STAND_IN)
        self.program(folder / ".venv" / "bin" / "shopstream", PACKAGER)
        self.program(folder / ".venv" / "bin" / "python", PACKAGER)

    def program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(
        self, command: str, *words: str, typed: str = "", **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.folder / "scripts" / command, *words],
            env={
                "PATH": f"{self.folder / 'programs'}:{os.environ['PATH']}",
                "TOLD": str(self.told_file),
                "DEPLOYED": "",
                "POLICY": "",
                "PLANNED": "{}",
            }
            | environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def told(self) -> list[str]:
        return self.told_file.read_text().splitlines() if self.told_file.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_deploy_builds_for_the_python_it_has_and_applies_the_profile(checkout: Checkout) -> None:
    done = checkout.run("deploy-aws", "starter", "-auto-approve")
    assert done.returncode == 0, done.stderr
    assert checkout.told()[1:] == [
        "shopstream package lambda -o build/shopstream-lambda.zip --arch arm64 --python 3.12",
        "-chdir=terraform init -input=false",
        "-chdir=terraform plan -var-file=profiles/starter.tfvars -input=false -out=deploy.tfplan"
        " -var architecture=arm64 -var runtime=python3.12",
        "-chdir=terraform show -json deploy.tfplan",
        "-chdir=terraform apply -input=false deploy.tfplan",
    ]


@pytest.mark.parametrize("answer", ["", "y\n", "no\n"])
def test_deploy_changes_nothing_until_somebody_says_yes(checkout: Checkout, answer: str) -> None:
    done = checkout.run("deploy-aws", "starter", typed=answer)
    assert done.returncode == 1
    assert "Nothing was changed." in done.stderr
    assert not any("apply" in told for told in checkout.told())
    assert checkout.run("deploy-aws", "starter", typed="yes\n").returncode == 0
    assert checkout.told()[-1] == "-chdir=terraform apply -input=false deploy.tfplan"


def planned(**changes: Any) -> str:
    """A plan that would do so to the queue and the table that are there."""
    made: list[dict[str, Any]] = [
        {"type": "aws_sqs_queue", "change": {"before": {"name": "mine-clicks.fifo"}}},
        {"type": "aws_s3_bucket", "change": {"before": {"name": None, "bucket": "mine-lake"}}},
        {"type": "aws_kms_key", "change": {"before": {"description": "Encrypts mine."}}},
        {"type": "aws_iam_role", "change": {"before": {"name": "mine-Ingestor"}}},
    ]
    for one in made:
        one["change"]["actions"] = changes.get(one["type"], ["no-op"])
    return json.dumps({"resource_changes": made})


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"aws_sqs_queue": ["delete"]}, "aws_sqs_queue mine-clicks.fifo"),
        ({"aws_s3_bucket": ["delete", "create"]}, "aws_s3_bucket mine-lake"),
        ({"aws_kms_key": ["delete"]}, "aws_kms_key Encrypts mine."),
    ],
)
def test_deploy_removes_nothing_that_holds_data_unless_it_is_told_to(
    checkout: Checkout, changes: dict[str, list[str]], lost: str
) -> None:
    plan = planned(**changes)
    done = checkout.run("deploy-aws", "scale", "-auto-approve", PLANNED=plan)
    assert done.returncode == 1
    assert f"This would remove, with what is in it:\n  {lost}\n" in done.stderr
    assert not any("apply" in told for told in checkout.told())
    done = checkout.run("deploy-aws", "scale", "-auto-approve", PLANNED=plan, LOSE="yes")
    assert done.returncode == 0, done.stderr
    assert "apply" in checkout.told()[-1]


def test_deploy_removes_what_holds_no_data_without_asking_twice(checkout: Checkout) -> None:
    plan = planned(aws_iam_role=["delete"], aws_sqs_queue=["update"], aws_s3_bucket=["create"])
    assert checkout.run("deploy-aws", "scale", "-auto-approve", PLANNED=plan).returncode == 0


@pytest.mark.parametrize("name", ["runtime", "architecture"])
def test_deploy_overrules_no_value_in_silence(checkout: Checkout, name: str) -> None:
    (checkout.folder / "terraform" / "own.tfvars").write_text(f'{name} = "other"\n')
    done = checkout.run("deploy-aws", "starter", "-auto-approve")
    assert done.returncode == 1
    assert f"own.tfvars sets {name}" in done.stderr
    assert checkout.told() == []


def test_with_glue_its_package_is_built_as_well(checkout: Checkout) -> None:
    assert checkout.run("deploy-aws", "scale", "-auto-approve").returncode == 0
    assert "shopstream package glue -o build/shopstream-glue.zip" in checkout.told()


def test_what_one_wants_otherwise_comes_after_the_profile(checkout: Checkout) -> None:
    (checkout.folder / "terraform" / "own.tfvars").write_text('prefix = "mine"\n')
    checkout.run("deploy-aws", "starter")
    (plan,) = [told for told in checkout.told() if " plan " in told]
    assert "-var-file=profiles/starter.tfvars -var-file=own.tfvars" in plan


def test_a_profile_that_does_not_exist_is_named_with_those_that_do(checkout: Checkout) -> None:
    done = checkout.run("deploy-aws", "huge")
    assert done.returncode == 1
    assert "no profile huge. There are: scale starter" in done.stderr
    assert checkout.told() == []


def test_destroy_asks_for_the_prefix_first(checkout: Checkout) -> None:
    done = checkout.run("destroy-aws", "scale", typed="shopstream\n", DEPLOYED="mine")
    assert done.returncode == 1
    assert "'shopstream' isn't 'mine'; nothing was removed." in done.stderr
    assert not any("destroy" in told or "apply" in told for told in checkout.told())


def test_destroy_first_lets_buckets_and_tables_go(checkout: Checkout) -> None:
    done = checkout.run("destroy-aws", "scale", typed="mine\n", DEPLOYED="mine")
    assert done.returncode == 0, done.stderr
    given = "-var-file=profiles/scale.tfvars -auto-approve -var allow_destroy=true"
    assert checkout.told()[-2:] == [
        f"-chdir=terraform apply {given} -target=module.bucket -target=module.table",
        f"-chdir=terraform destroy {given}",
    ]


def test_destroy_relieves_those_who_were_given_the_readers_policy_by_hand(
    checkout: Checkout,
) -> None:
    checkout.program(checkout.folder / "programs" / "aws", AWS)
    arn = "arn:aws:iam::123456789012:policy/mine-reader"
    done = checkout.run("destroy-aws", "scale", DEPLOYED="mine", CONFIRM="mine", POLICY=arn)
    assert done.returncode == 0, done.stderr
    assert [told for told in checkout.told() if "detach" in told] == [
        f"aws iam detach-role-policy --role-name analyst --policy-arn {arn}",
        f"aws iam detach-role-policy --role-name robot --policy-arn {arn}",
        f"aws iam detach-user-policy --user-name ana --policy-arn {arn}",
    ]
    assert "destroy" in checkout.told()[-1]


def test_a_machine_answers_by_a_variable(checkout: Checkout) -> None:
    done = checkout.run("destroy-aws", "starter", DEPLOYED="mine", CONFIRM="mine")
    assert done.returncode == 0, done.stderr
    assert "destroy" in checkout.told()[-1]


def test_nothing_is_destroyed_where_nothing_is_deployed(checkout: Checkout) -> None:
    done = checkout.run("destroy-aws", "starter", CONFIRM="mine")
    assert done.returncode == 1
    assert "Nothing is deployed from here" in done.stderr
