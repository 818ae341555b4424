"""What is missing is told, and fails a run where it was to be expected."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.infra.emulator import NAME
from tests.infra.needed import MODE
from tests.infra.terraform import REPOSITORY


def needed(
    environment: dict[str, str], folder: Path = REPOSITORY
) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if k not in (MODE, NAME)}
    return subprocess.run(
        [sys.executable, "-m", "tests.infra.needed"],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_emulator_that_is_named_and_absent_is_missing(tmp_path: Path) -> None:
    done = needed({NAME: str(tmp_path / "absent.py")})
    assert done.returncode == 1
    assert f"name its program {NAME}" in done.stdout


def test_a_machine_with_the_emulator_must_have_terraform_too(tmp_path: Path) -> None:
    program = tmp_path / "emulator.py"
    program.write_text("")
    done = needed({NAME: str(program), "PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "terraform is not on the PATH" in done.stdout


def test_a_fresh_machine_is_told_and_goes_on(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tests" / "infra", tmp_path / "tests" / "infra")
    done = needed({}, tmp_path)
    assert (done.returncode, "emulator is absent" in done.stdout) == (0, True), done.stderr
    assert needed({MODE: "require"}, tmp_path).returncode == 1


def test_where_all_must_be_there_a_run_without_something_fails(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/infra"]
    done = subprocess.run(
        [*asked, "--collect-only", "-k", "no_test_at_all"],
        cwd=REPOSITORY,
        env=os.environ | {MODE: "require", NAME: str(tmp_path / "absent.py")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"name its program {NAME}" in done.stdout + done.stderr
