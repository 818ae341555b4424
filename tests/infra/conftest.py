"""Applied stacks, one of each profile, made once and shared by all tests of a process.

Both are applied in the background as soon as the first test asks for one. Where tests run in
several processes, those of one profile are kept together.
"""

import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from tests.infra.drive import Drive
from tests.infra.emulator import ABSENT, PROGRAM, Emulator
from tests.infra.needed import lacking, required, without
from tests.infra.planned import Planned, planned
from tests.infra.subscribers import RULES, subscribers
from tests.infra.terraform import PROFILES, Stack, Unavailable
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it ships no types

ZIPPED = b"PK\x05\x06" + bytes(18)  # an empty archive
TAKES_S_MAX = 3_600
"""Of a test, waiting for its stack included: on a busy machine that alone takes minutes."""
_WANT_PLANS = {"test_checkov.py", "test_names.py", "test_plan.py", "test_spark_job.py"}
_OF_PROFILE = re.compile(rf"\[(?:.*-)?({'|'.join(PROFILES)})(?:-.*)?\]$")
_ORDER = {"test_parity": 0, "test_rights": 2, "test_removal": 3}
"""First what wants empty tables, last what looks back on the others; between them all others."""


class Applied:
    """A stack that is being applied; `drive` waits for it."""

    def __init__(self, profile: str, folder: Path) -> None:
        self._profile, self._folder = profile, folder
        self._emulator: Emulator | None = None
        self._drive: Drive | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._apply, daemon=True)
        self._thread.start()

    def _apply(self) -> None:
        try:
            self._emulator = Emulator.start(self._folder)
            own = subscribers(self._emulator)
            if self._profile == "scale":
                (self._folder / "rules.toml").write_text(RULES, "utf-8")
                own["rules_file"] = str(self._folder / "rules.toml")
            checkout = self._folder / "checkout"
            stack = Stack(checkout, self._emulator, profile=self._profile, own=own)
            stack.deploy()
            package = checkout / "build" / "shopstream-lambda.zip"
            self._drive = Drive(stack, package, self._folder)
        except BaseException as e:  # noqa: BLE001  # raised where it is waited for
            self._error = e

    def drive(self) -> Drive:
        self._thread.join()
        if isinstance(self._error, Unavailable):
            without(str(self._error))
        if self._error is not None:
            raise self._error
        assert self._drive is not None
        return self._drive

    def close(self) -> None:
        self._thread.join()
        if self._drive is not None:
            self._drive.close()
        if self._emulator is not None:
            self._emulator.close()


class Stacks:
    """Those that were asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._applied: dict[str, Applied] = {}

    def begin(self, profile: str) -> Applied:
        if not PROGRAM.exists():
            without(ABSENT)
        if shutil.which("terraform") is None:
            without("terraform is not on the PATH")
        if profile not in self._applied:
            folder = self._folder / profile
            folder.mkdir()
            self._applied[profile] = Applied(profile, folder)
        return self._applied[profile]

    def close(self) -> None:
        for applied in self._applied.values():
            applied.close()


@pytest.fixture(scope="session")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stacks]:
    # Clients made in this process must find the emulator's credentials and nobody else's.
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        found = Stacks(tmp_path_factory.mktemp("stacks"))
        yield found
        found.close()


@pytest.fixture(scope="session", params=PROFILES)
def plan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """The plan of each profile, all of it known."""
    folder = tmp_path_factory.mktemp(f"planned_{request.param}")
    files = {"lambda_zip": "l.zip", "glue_package": "g.zip", "glue_script": "g.py"}
    for name in files.values():
        (folder / name).write_bytes(ZIPPED)
    given = {variable: str(folder / name) for variable, name in files.items()}
    mails = {"alert_emails": ["shop@example.com"], "alarm_emails": ["owner@example.com"]}
    try:
        return planned(request.param, folder / "terraform", given | mails)
    except Unavailable as e:
        without(str(e))


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest, stacks: Stacks) -> str:
    """Each profile; its stack is on its way from now on."""
    name: str = request.param
    stacks.begin(name)
    return name


@pytest.fixture
def drive(profile: str, stacks: Stacks) -> Drive:
    """The applied stack of a profile, whatever the tests before left in it."""
    found = stacks.begin(profile).drive()
    found.begin_anew()
    return found


def pytest_configure() -> None:
    """Nothing may be missing where all has to be there."""
    if required() and (missing := lacking()):
        pytest.exit("; ".join(missing), returncode=1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A run that skips can't be taken for one that has shown everything."""
    if missing := lacking():
        terminalreporter.section("NOT SHOWN: what is deployed", sep="!", red=True, bold=True)
        for what in missing:
            terminalreporter.line(what)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of `_place`."""
    for item in items:
        if _wants(item, "profile"):
            item.add_marker(pytest.mark.timeout(TAKES_S_MAX))
    items.sort(key=_place)


def _wants(item: pytest.Item, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


def _place(item: pytest.Item) -> int:
    """First what only has the stacks begun; then, while they are applied, what needs none."""
    if _wants(item, "drive"):
        return 2 + _ORDER.get(item.path.stem, 1)
    return 0 if _wants(item, "profile") else 1


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives all tests of a profile, and all that want the plans, to one process each. Where there
    are no more processes than profiles, each also has its share of what wants neither.

    By their names: xdist's own groups write into a node of pytest what pytest 9.2 no longer reads.
    """

    def _split_scope(self, nodeid: str) -> str:
        few = self.numnodes <= len(PROFILES)
        if nodeid.partition("::")[0].rpartition("/")[2] in _WANT_PLANS:
            return PROFILES[-1] if few else "plans"
        profile = _OF_PROFILE.search(nodeid)
        if profile:
            return profile[1]
        return PROFILES[crc32(nodeid.encode()) % len(PROFILES)] if few else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    return Together(config, log) if config.getvalue("dist") == "loadgroup" else None
