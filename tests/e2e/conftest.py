"""A data directory of its own for every test."""

from pathlib import Path

import pytest
from tests.e2e.command import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "data")
