"""Terraform as a user runs it: by `scripts/deploy-aws` and `scripts/destroy-aws`, with the real
program and the real provider, in a copy of the checkout.

Only an override file of the tests says that the provider talks to an emulator.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.infra.emulator import Emulator, clean_environment

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT = REPOSITORY / "terraform"
PROGRAM = shutil.which("terraform")
PROFILES = ("starter", "scale")
MACHINE = "arm64" if os.uname().machine in ("arm64", "aarch64") else "x86_64"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_PROVIDER = Path("registry.terraform.io") / "hashicorp" / "aws"
_NAME = "SHOPSTREAM_TEST_TF_PLUGINS"
_DEPTH_MAX = 3
_NO_FILES = {"proc", "sys", "dev", "run", "tmp", "snap", "lost+found"}
_APPLY_S = 900
_COPIED, _LINKED = ("README.md", "scripts", "terraform"), ("src",)
# Most of an apply is waiting: more at once costs nothing. A lock would only be in the way.
_FLAGS = "-input=false -lock=false -parallelism=40"
_TAKE_FLAGS = ("apply", "destroy", "plan")
# Unimplemented actions answer 500: the provider's own retries would hang for minutes.
OVERRIDE = """
provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = "true"
  skip_region_validation      = true
  s3_use_path_style           = true
  max_retries                 = 2
}
"""


class TerraformFailed(Exception):
    """Terraform ended with an error; the message has what it printed."""


class Unavailable(Exception):
    """There is no Terraform, or no provider for it."""


@cache
def find_plugins() -> Path | None:
    """A directory of providers that holds `hashicorp/aws`, for `terraform init -plugin-dir`.

    The one that the environment names, or the first not deep below the file system's root.
    """
    named = [os.environ[n] for n in (_NAME, "TF_PLUGIN_CACHE_DIR") if os.environ.get(n)]
    likely = [Path(n) for n in named] + [Path.home() / ".terraform.d" / "plugins"]
    for folder in (*likely, *_folders(Path("/"), _DEPTH_MAX)):
        if (folder / _PROVIDER).is_dir():
            return folder
    return None


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    try:
        found = [
            Path(entry)
            for entry in os.scandir(folder)
            if entry.is_dir(follow_symlinks=False) and entry.name not in _NO_FILES
        ]
    except OSError:
        return
    yield from sorted(found)
    if depth > 1:
        for inner in sorted(found):
            yield from _folders(inner, depth - 1)


class Stack:
    """A checkout in `folder` with a state of its own, deployed to one emulator.

    `own` is what a user puts into `own.tfvars`. Raises Unavailable without Terraform.
    """

    def __init__(
        self, folder: Path, emulator: Emulator, *, profile: str, own: Mapping[str, Any]
    ) -> None:
        if PROGRAM is None:
            raise Unavailable("terraform is not on the PATH")
        self.checkout = folder
        self.folder = folder / "terraform"
        self.emulator = emulator
        self.profile = profile
        _check_out(folder)
        (self.folder / "emulator_override.tf").write_text(OVERRIDE, "utf-8")
        # JSON's literals are HCL's.
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in own.items()]
        (self.folder / "own.tfvars").write_text("".join(lines), "utf-8")
        self._given = [f"-var-file=profiles/{profile}.tfvars", "-var-file=own.tfvars"]
        self._environment = clean_environment() | emulator.environment() | _flags()

    def deploy(self) -> None:
        """`make deploy`, answered with yes. Raises Unavailable when no provider can be had."""
        try:
            self._script("deploy-aws", self.profile, "-auto-approve", ARCH=MACHINE)
        except TerraformFailed as e:
            if find_plugins() is None and "terraform init" in str(e):
                raise Unavailable(f"terraform finds no provider hashicorp/aws: {e}") from None
            raise
        self._given += [f"-var=architecture={MACHINE}", f"-var=runtime=python{PYTHON}"]

    def destroy(self, confirm: str) -> None:
        """`make destroy`, the prefix typed as the environment says it."""
        self._script("destroy-aws", self.profile, CONFIRM=confirm)

    def plan_json(self) -> dict[str, Any]:
        """What `plan` would make of the state as it is, as `terraform show -json` tells it."""
        self._run("plan", "-out=made.tfplan", *self._given)
        shown = self._run("show", "-json", "made.tfplan").stdout
        found: dict[str, Any] = json.loads(shown)
        return found

    def outputs(self) -> dict[str, Any]:
        found = json.loads(self._run("output", "-json").stdout)
        return {name: output["value"] for name, output in found.items()}

    def left(self) -> list[str]:
        """Addresses of what the state still holds."""
        return self._run("state", "list").stdout.split()

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        assert PROGRAM is not None
        return self._ended([PROGRAM, f"-chdir={self.folder}", *words], self._environment)

    def _script(self, name: str, *words: str, **environment: str) -> None:
        program = str(self.checkout / "scripts" / name)
        self._ended([program, *words], self._environment | environment)

    def _ended(
        self, words: list[str], environment: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            words,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_APPLY_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            said = f"{done.stdout[-3_000:]}\n{done.stderr[-6_000:]}"
            raise TerraformFailed(f"{' '.join(words)} ended with {done.returncode}:\n{said}")
        return done


def _check_out(folder: Path) -> None:
    """What the scripts use: some of it copied, as they write there, the rest linked."""
    # Somebody's own values and state, or where they keep it, are not the test's.
    own = ("own.tfvars", "backend.tf", "*.tfstate*")
    skipped = shutil.ignore_patterns(".terraform*", "*.tfplan", *own)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=skipped)
        else:
            shutil.copy(REPOSITORY / name, folder / name)
    for name in _LINKED:
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / ".venv").symlink_to(sys.prefix)


def _flags() -> dict[str, str]:
    """What Terraform is told beside what the scripts tell it; nothing is asked of the network that
    a command doesn't need.
    """
    plugins = find_plugins()
    init = f"-no-color -plugin-dir={plugins}" if plugins else "-no-color"
    told = {f"TF_CLI_ARGS_{command}": f"-no-color {_FLAGS}" for command in _TAKE_FLAGS}
    return told | {"TF_CLI_ARGS_init": init, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
