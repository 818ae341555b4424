"""Checkov and parliament find nothing in `terraform/` that isn't explained where it stands.

Both live in a virtual environment of their own (`make checkov`): they want older libraries than the
package does.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.infra.emulator import clean_environment
from tests.infra.needed import TOOLS, without
from tests.infra.planned import Planned
from tests.infra.terraform import ROOT

# Every module is in use in it.
PROFILE = ROOT / "profiles" / "scale.tfvars"
SKIP = re.compile(r"^\s*#\s*checkov:skip=(?P<check>CKV2?_AWS_\d+)(?::(?P<reason>.*))?$")


def skips() -> list[tuple[Path, str, str]]:
    """Each finding that is explained: the file, the check and the reason."""
    found = []
    for file in sorted(ROOT.rglob("*.tf")):
        for line in file.read_text("utf-8").splitlines():
            if "checkov:skip" in line:
                match = SKIP.match(line)
                assert match, f"{file}: {line}"
                found.append((file, match["check"], match["reason"] or ""))
    return found


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder of both programs."""
    if not (TOOLS / "checkov").exists():
        without("checkov is not installed: make checkov")
    return TOOLS


@pytest.fixture(scope="module")
def results(tools: Path) -> Any:
    program = [str(tools / "python"), str(tools / "checkov")]
    # Nothing is asked of the network.
    asked = ["--framework", "terraform", "--skip-download", "--output", "json", "--soft-fail"]
    done = subprocess.run(
        [*program, "--directory", str(ROOT), "--var-file", str(PROFILE), *asked],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return json.loads(done.stdout)["results"]


def test_checkov_finds_nothing(results: Any) -> None:
    found = {
        (one["check_id"], one["check_name"], one["resource"]) for one in results["failed_checks"]
    }
    assert len(results["passed_checks"]) > 300
    assert not found
    assert not results["parsing_errors"]


def test_nothing_is_explained_that_is_not_found(results: Any) -> None:
    found = {(one["check_id"], one["file_path"]) for one in results["skipped_checks"]}
    said = {(check, f"/{file.relative_to(ROOT).as_posix()}") for file, check, _ in skips()}
    assert said == found


def test_what_is_let_pass_has_a_reason() -> None:
    assert skips()
    assert not [one for one in skips() if len(one[2].split()) < 6]


_LINT = """
import json, sys
from parliament import analyze_policy_string
found = {}
for address, document in json.load(sys.stdin).items():
    findings = analyze_policy_string(json.dumps(document)).findings
    found[address] = [f"{one.issue}: {one.detail}" for one in findings]
json.dump(found, sys.stdout)
"""


def test_policies_say_what_iam_understands(plan: Planned, tools: Path) -> None:
    done = subprocess.run(
        [str(tools / "python"), "-W", "ignore", "-c", _LINT],
        input=json.dumps(dict(plan.documents())),
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) >= 17
    assert not {address: wrong for address, wrong in found.items() if wrong}


def test_the_lock_of_the_tools_names_no_address() -> None:
    lock = (ROOT.parent / "requirements-checkov.lock").read_text("utf-8")
    assert "://" not in lock
    pinned = re.findall(r"^[a-z0-9].*==\S+", lock, re.MULTILINE | re.IGNORECASE)
    assert len(pinned) > 50
    assert len(re.findall(r"^[^\s#].*\\$", lock, re.MULTILINE)) == len(pinned)  # each has hashes
    assert sys.version_info >= (3, 11)  # what it was resolved for
