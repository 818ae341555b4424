"""`make deploy` and `make destroy`: what they ask Terraform for, and when they don't.

In Terraform's place stands a program that writes down what it was told; tests of the removal with
the real one are elsewhere.
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STAND_IN = """#!/bin/sh
echo "$@" >> "$TOLD"
case "$*" in *"output -raw prefix"*) [ -n "$DEPLOYED" ] && printf %s "$DEPLOYED" || exit 1 ;; esac
"""
PACKAGER = """#!/bin/sh
echo "$(basename "$0") $*" >> "$TOLD"
case "$1" in -c) echo 3.12 ;; esac
"""


class Checkout:
    """A folder with the scripts and profiles of the repository and programs that stand in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told_file = folder / "told"
        shutil.copytree(REPOSITORY / "scripts", folder / "scripts")
        shutil.copytree(REPOSITORY / "terraform" / "profiles", folder / "terraform" / "profiles")
        (folder / "README.md").write_text("shopstream")
        self._program(folder / "programs" / "terraform", STAND_IN)
        self._program(folder / ".venv" / "bin" / "shopstream", PACKAGER)
        self._program(folder / ".venv" / "bin" / "python", PACKAGER)

    def _program(self, path: Path, text: str) -> None:
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
        "-chdir=terraform apply -var-file=profiles/starter.tfvars"
        " -var architecture=arm64 -var runtime=python3.12 -auto-approve",
    ]


def test_with_glue_its_package_is_built_as_well(checkout: Checkout) -> None:
    assert checkout.run("deploy-aws", "scale").returncode == 0
    assert "shopstream package glue -o build/shopstream-glue.zip" in checkout.told()


def test_what_one_wants_otherwise_comes_after_the_profile(checkout: Checkout) -> None:
    (checkout.folder / "terraform" / "own.tfvars").write_text('prefix = "mine"\n')
    checkout.run("deploy-aws", "starter")
    assert "-var-file=profiles/starter.tfvars -var-file=own.tfvars" in checkout.told()[-1]


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


def test_a_machine_answers_by_a_variable(checkout: Checkout) -> None:
    done = checkout.run("destroy-aws", "starter", DEPLOYED="mine", CONFIRM="mine")
    assert done.returncode == 0, done.stderr
    assert "destroy" in checkout.told()[-1]


def test_nothing_is_destroyed_where_nothing_is_deployed(checkout: Checkout) -> None:
    done = checkout.run("destroy-aws", "starter", CONFIRM="mine")
    assert done.returncode == 1
    assert "Nothing is deployed from here" in done.stderr
