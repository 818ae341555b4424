"""What tests of faults need of the machine."""

from functools import cache
from pathlib import Path

import pytest
from tests.faults.strace import why_not

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@cache
def _why_not() -> str:
    return why_not()


@pytest.fixture
def strace() -> None:
    """Skips the test where system calls can't be traced."""
    if why := _why_not():
        pytest.skip(why)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the repository; skips the test where there is none."""
    if not (SHARED / "rees46").exists():
        pytest.skip(f"the public data sets are not in {SHARED.name}/ beside the repository")
    return SHARED
