"""Terraform as a user runs it: the real program, the real provider, on a copy of `terraform/`.

Only an override file of the tests says that the provider talks to an emulator.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.infra.emulator import Emulator, clean_environment

ROOT = Path(__file__).resolve().parents[2] / "terraform"
PROGRAM = shutil.which("terraform")
PROFILES = ("starter", "scale")
_PROVIDER = Path("registry.terraform.io") / "hashicorp" / "aws"
_NAME = "SHOPSTREAM_TEST_TF_PLUGINS"
_DEPTH_MAX = 3
_NO_FILES = {"proc", "sys", "dev", "run", "tmp", "snap", "lost+found"}
_INIT_S, _APPLY_S = 300, 600
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


class Plan(NamedTuple):
    """What `plan` would do: nothing when it is `clean`. `text` is what a user reads."""

    clean: bool
    text: str


class Stack:
    """A copy of the root in `folder`, with its own state, against one emulator."""

    def __init__(
        self,
        folder: Path,
        emulator: Emulator,
        *,
        profile: str,
        variables: Mapping[str, str],
        root: Path = ROOT,
    ) -> None:
        if PROGRAM is None:
            raise Unavailable("terraform is not on the PATH")
        self.folder = folder
        self.emulator = emulator
        self.profile = profile
        skipped = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan")
        shutil.copytree(root, folder, ignore=skipped, dirs_exist_ok=True)
        # A real backend, when somebody's root has one, is not the test's.
        (folder / "emulator_override.tf").write_text(OVERRIDE, "utf-8")
        self._given = [f"-var-file=profiles/{profile}.tfvars"]
        self._given += [f"-var={name}={value}" for name, value in variables.items()]
        self._environment = clean_environment() | emulator.environment()
        # Nothing is asked of the network that the command doesn't need.
        self._environment |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def init(self) -> None:
        """Raises Unavailable when no provider can be had."""
        plugins = find_plugins()
        words = [f"-plugin-dir={plugins}"] if plugins else []
        try:
            self._run("init", "-backend=false", *words, timeout_s=_INIT_S)
        except (TerraformFailed, subprocess.TimeoutExpired) as e:
            if plugins:
                raise
            raise Unavailable(f"terraform finds no provider hashicorp/aws: {e}") from None

    def apply(self) -> None:
        self._run("apply", "-auto-approve", *self._flags(), *self._given)

    def plan(self) -> Plan:
        done = self._run("plan", "-detailed-exitcode", *self._flags(), *self._given, codes=(0, 2))
        return Plan(done.returncode == 0, done.stdout)

    def plan_json(self) -> dict[str, Any]:
        """What `plan` would make of the state as it is, as `terraform show -json` tells it."""
        self._run("plan", "-out=made.tfplan", *self._flags(), *self._given)
        shown = self._run("show", "-json", "made.tfplan").stdout
        found: dict[str, Any] = json.loads(shown)
        return found

    def destroy(self) -> None:
        """As `scripts/destroy-aws` does: what holds data is told first that it may go."""
        given = [*self._flags(), *self._given, "-var=allow_destroy=true"]
        protected = ("-target=module.bucket", "-target=module.table")
        self._run("apply", "-auto-approve", *protected, *given)
        self._run("destroy", "-auto-approve", *given)

    def outputs(self) -> dict[str, Any]:
        found = json.loads(self._run("output", "-json").stdout)
        return {name: output["value"] for name, output in found.items()}

    def left(self) -> list[str]:
        """Addresses of what the state still holds."""
        return self._run("state", "list").stdout.split()

    def _flags(self) -> tuple[str, ...]:
        # Most of an apply is waiting: more at once costs nothing.
        return ("-input=false", "-lock=false", "-parallelism=40")

    def _run(
        self,
        command: str,
        *words: str,
        codes: tuple[int, ...] = (0,),
        timeout_s: int = _APPLY_S,
    ) -> "subprocess.CompletedProcess[str]":
        assert PROGRAM is not None
        colourless = () if command == "state" else ("-no-color",)
        done = subprocess.run(
            [PROGRAM, f"-chdir={self.folder}", command, *words, *colourless],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode not in codes:
            said = f"{done.stdout[-3_000:]}\n{done.stderr[-6_000:]}"
            raise TerraformFailed(f"terraform {command} ended with {done.returncode}:\n{said}")
        return done
