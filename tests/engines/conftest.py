"""Every test that asks for `log_engine`, `open_tables`, `open_lake` or `receiver` runs once on each
engine.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.engines import engines
from tests.engines.aws_resources import Deployment, clients_of
from tests.engines.engines import LogEngine
from tests.engines.receivers import Receiver

from shopstream.aws.clients import Clients
from shopstream.ports import Items, Lake

ClientsFor = Callable[[str], Clients | None]


@pytest.fixture(scope="session")
def clients_for(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientsFor]:
    """Clients of the server that an engine needs, which is started when first asked for."""
    running: dict[Any, Clients] = {}
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        environment.setenv("NO_PROXY", "127.0.0.1")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")

        def clients_of_server(name: str) -> Clients | None:
            server = engines.SERVERS.get(name)
            if server is None:
                return None
            if server not in running:
                url = stack.enter_context(server(tmp_path_factory.mktemp("emulator")))
                running[server] = clients_of(url)
            return running[server]

        yield clients_of_server


@pytest.fixture
def aws(clients_for: ClientsFor) -> Clients:
    """Clients of the emulator of everything."""
    clients = clients_for("sqs")
    assert clients is not None
    return clients


@pytest.fixture(params=engines.DYNAMOS)
def dynamo(request: pytest.FixtureRequest, clients_for: ClientsFor, tmp_path: Path) -> Deployment:
    """Tables of DynamoDB's, for what no other engine has."""
    clients = clients_for(request.param)
    assert clients is not None
    return Deployment(clients, tmp_path)


@pytest.fixture
def dynamo_local(clients_for: ClientsFor, tmp_path: Path) -> Deployment:
    """AWS's own DynamoDB Local: moto checks a condition and writes in two steps, so that of two
    who write at once both may pass.
    """
    clients = clients_for("dynamodb-local")
    assert clients is not None
    return Deployment(clients, tmp_path)


@pytest.fixture(params=engines.LOGS)
def log_engine(request: pytest.FixtureRequest, clients_for: ClientsFor) -> LogEngine:
    return engines.log_engine(request.param, clients_for(request.param))


@pytest.fixture(params=engines.TABLES)
def open_tables(request: pytest.FixtureRequest, clients_for: ClientsFor) -> Callable[[Path], Items]:
    return engines.tables_engine(clients_for(request.param))


@pytest.fixture(params=engines.LAKES)
def open_lake(request: pytest.FixtureRequest, clients_for: ClientsFor) -> Callable[[Path], Lake]:
    return engines.lake_engine(clients_for(request.param))


@pytest.fixture(params=engines.RECEIVERS)
def receiver(
    request: pytest.FixtureRequest, clients_for: ClientsFor, tmp_path: Path
) -> Iterator[Receiver]:
    with engines.RECEIVERS[request.param](clients_for(request.param), tmp_path) as opened:
        yield opened
