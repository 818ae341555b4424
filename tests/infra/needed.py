"""What these tests need that no lock installs, and what happens where it is missing.

Tests that need it skip and say why, and the end of the run says what it has not shown. With
`SHOPSTREAM_TEST_AWS=require` they fail instead; `.ci/run` says so wherever the emulator is set up.
`python -m tests.infra.needed` prints what is missing and exits with 1 where it was to be expected.
"""

import os
import sys
from typing import NoReturn

import pytest
from tests.infra.emulator import ABSENT, NAME, PROGRAM
from tests.infra.terraform import PROGRAM as TERRAFORM
from tests.infra.terraform import REPOSITORY

MODE = "SHOPSTREAM_TEST_AWS"
TOOLS = REPOSITORY / ".venv-checkov" / "bin"


def lacking() -> list[str]:
    """What isn't there. The provider may still be fetched, so it is not looked for here."""
    found = {
        "terraform is not on the PATH": TERRAFORM is not None,
        ABSENT: PROGRAM.exists(),
        "checkov is not installed: make checkov": (TOOLS / "checkov").exists(),
    }
    return [what for what, there in found.items() if not there]


def required() -> bool:
    return os.environ.get(MODE) == "require"


def without(what: str) -> NoReturn:
    """Skip a test that can't run without something, or fail it where that has to be there."""
    if required():
        pytest.fail(f"{what} ({MODE}=require)", pytrace=False)
    pytest.skip(what)


def main() -> int:
    found = lacking()
    sys.stdout.write("".join(f"{what}\n" for what in found))
    expected = required() or PROGRAM.exists() or NAME in os.environ
    return int(bool(found) and expected)


if __name__ == "__main__":
    sys.exit(main())
