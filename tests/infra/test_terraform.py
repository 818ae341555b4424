"""Terraform is written as it writes itself, is valid, and each module does what its tests say."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.infra.emulator import clean_environment
from tests.infra.terraform import PROGRAM, ROOT, find_plugins

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
