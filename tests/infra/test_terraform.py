"""Terraform is written as it writes itself, is valid, and each module does what its tests say."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.infra.emulator import clean_environment
from tests.infra.planned import planned
from tests.infra.terraform import PROGRAM, ROOT, TerraformFailed, find_plugins

from shopstream.packaging import glue_libraries

MODULES = sorted(folder.name for folder in (ROOT / "modules").iterdir() if folder.is_dir())


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    if PROGRAM is None:
        pytest.skip("terraform is not on the PATH")
    return subprocess.run(
        [PROGRAM, f"-chdir={folder}", *words],
        env=clean_environment() | {"CHECKPOINT_DISABLE": "1", "AWS_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of `terraform/`, as init writes into the folder that it is run in."""
    ignored = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate*", "*.tfvars~")
    return Path(shutil.copytree(ROOT, tmp_path / "terraform", ignore=ignored))


def init(folder: Path) -> None:
    plugins = find_plugins()
    where = [f"-plugin-dir={plugins}"] if plugins else []
    done = run(folder, "init", "-backend=false", "-no-color", *where)
    if done.returncode and not plugins:
        pytest.skip(f"terraform finds no provider hashicorp/aws: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_formatted() -> None:
    done = run(ROOT, "fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_root_is_valid(copy: Path) -> None:
    init(copy)
    done = run(copy, "validate", "-json")
    said = json.loads(done.stdout)
    assert said["valid"], said["diagnostics"]
    assert said["warning_count"] == 0, said["diagnostics"]


def test_the_example_of_a_remote_state_is_valid(copy: Path) -> None:
    (copy / "backend.tf.example").rename(copy / "backend.tf")
    init(copy)
    assert json.loads(run(copy, "validate", "-json").stdout)["valid"]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_does_what_its_tests_say(module: str, copy: Path) -> None:
    folder = copy / "modules" / module
    assert list(folder.glob("tests/*.tftest.hcl")), f"{module} has no tests"
    init(folder)
    done = run(folder, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", [ROOT, *(ROOT / "modules" / name for name in MODULES)])
def test_every_variable_is_described_and_validated(folder: Path) -> None:
    for name, block in blocks(folder / "variables.tf", "variable"):
        assert "\n  description = " in block, f"{folder.name}: variable {name}"
        # Of yes and no there is nothing to get wrong.
        checked = "\n  validation {" in block or re.search(r"\n  type +=  *bool\n", block)
        assert checked, f"{folder.name}: variable {name}"
    for name, block in blocks(folder / "outputs.tf", "output"):
        assert "\n  description = " in block, f"{folder.name}: output {name}"


WRONG = {
    "prefix": "Shop_1",
    "region": "Frankfurt",
    "tags": {"aws:owner": "us"},
    "clicks": "kafka",
    "builds": "dbt",
    "build_schedule": "hourly",
    "reserved_concurrency": {"Nobody": 1},
    "queue_concurrency": {"clicks": 1},
    "crawler_schedule": "rate(1 day)",
    "reader_roles": ["service-role/quicksight"],
    "reader_groups": ["all analysts"],
    "dashboards": True,  # for nobody
    "dashboard_principals": ["ana"],
    "lambda_zip": "functions.tar",
    "runtime": "python3.9",
    "architecture": "arm",
    "settings": {"engine": "local"},
    "rules_file": "no/such/rules.toml",
    "log_retention_days": 2,
    "requests_per_s_max": 0,
    "requests_per_ip_max": 1,
    "glue_script": "job.scala",
    "glue_package": "job.tar",
    "glue_python_modules": ["msgspec"],
    "glue_worker_type": "G.3X",
    "glue_workers": 1,
    "glue_timeout_minutes": 0,
    "alert_emails": ["somebody"],
    "alert_queues": {"office": {"arn": "office"}},
    "alarm_emails": ["somebody"],
    "budget_usd": -1,
    "lake_buffer_s": 901,
    "bronze_infrequent_after_days": 29,
    "bronze_glacier_after_days": 30,
    "results_expire_after_days": 0,
    "first_day": "yesterday",
    "scan_gib_max": 0,
}
"""A value of each variable of the root that its validation is there for."""
ON_OTHERS = {"dashboards", "build_schedule", "bronze_glacier_after_days"}
"""Judged only where the variable that they depend on is right."""


def test_wrong_values_are_refused_before_anything_is_planned(copy: Path) -> None:
    checked = {name for name, b in blocks(ROOT / "variables.tf", "variable") if "validation {" in b}
    assert checked == WRONG.keys()
    names = sorted(WRONG.keys() - ON_OTHERS)
    given = "".join(f"    {name} = {json.dumps(WRONG[name])}\n" for name in names)
    expected = ", ".join(f"var.{name}" for name in names)
    (copy / "tests").mkdir()
    (copy / "tests" / "refused.tftest.hcl").write_text(
        'mock_provider "aws" {}\nrun "it" {\n  command = plan\n'
        f"  variables {{\n{given}  }}\n  expect_failures = [{expected}]\n}}\n",
        "utf-8",
    )
    init(copy)
    done = run(copy, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr


def test_values_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "l.zip").touch()
    given = {name: WRONG[name] for name in ON_OTHERS} | {"lambda_zip": str(tmp_path / "l.zip")}
    with pytest.raises(TerraformFailed) as refused:
        planned("starter", tmp_path / "terraform", given)
    for name in ON_OTHERS:
        assert f"{name}: " in str(refused.value)


def blocks(file: Path, kind: str) -> list[tuple[str, str]]:
    """The blocks of a kind by name, as their text."""
    return re.findall(
        rf'^{kind} "(\w+)" (\{{.*?^\}})', file.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


def test_the_spark_job_installs_the_libraries_that_its_package_needs() -> None:
    block = dict(blocks(ROOT / "variables.tf", "variable"))["glue_python_modules"]
    default = re.search(r"default += (\[.*\])", block)
    assert default
    assert json.loads(default[1]) == glue_libraries()
