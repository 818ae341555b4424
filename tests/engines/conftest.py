"""Every test that asks for `engine` runs once on each engine."""

import pytest
from tests.engines.engines import ENGINES, EnginePorts


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> EnginePorts:
    return ENGINES[request.param]
