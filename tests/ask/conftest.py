"""Tables that are published, once for all tests: nobody can change them."""

from pathlib import Path

import pytest
from tests.ask.published import SALES, publish


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("asked") / "data"
    publish(found, {"gold_daily_sales": SALES})
    return found
