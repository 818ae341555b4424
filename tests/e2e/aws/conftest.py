"""One emulator for all of these tests; each deploys under a prefix of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.aws.shop import AwsShop
from tests.engines.aws_resources import clients_of
from tests.engines.emulators import run_moto


@pytest.fixture(scope="session")
def aws_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_moto(tmp_path_factory.mktemp("emulator")) as url:
        yield url


@pytest.fixture
def bare(aws_url: str, tmp_path: Path) -> AwsShop:
    """An account in which nothing is deployed."""
    return AwsShop(clients_of(aws_url), aws_url, tmp_path)


@pytest.fixture
def shop(bare: AwsShop) -> Iterator[AwsShop]:
    bare.deploy()
    yield bare
    bare.remove_deliveries()
