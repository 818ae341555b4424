"""One Spark session and one Trino server for all tests of a process; lakes are made once."""

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from tests.models.engines.downloads import iceberg_jar, java_home, trino_home
from tests.models.engines.lakes import Lake, make_lake
from tests.models.engines.trino import Trino, run_trino

from shopstream.lake.spark import make_session

SPARK_CONFIG = {
    # Small data: what costs is planning, compiling and starting tasks.
    "spark.master": "local[2]",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "2g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.log.level": "ERROR",
}


@pytest.fixture(scope="session")
def lake_named(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Lake]:
    made: dict[str, Lake] = {}

    def named(name: str) -> Lake:
        if name not in made:
            made[name] = make_lake(name, tmp_path_factory.mktemp(name))
        return made[name]

    return named


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if find_spec("pyspark") is None:
        pytest.skip("PySpark is not installed: make spark")
    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(java_home(8, 17))
    warehouse = tmp_path_factory.mktemp("warehouse")
    try:
        session = make_session(str(warehouse), jars=str(iceberg_jar()), config=SPARK_CONFIG)
    finally:
        os.environ.pop("JAVA_HOME")
        if before is not None:
            os.environ["JAVA_HOME"] = before
    yield session
    session.stop()


@pytest.fixture(scope="session")
def trino(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trino]:
    with run_trino(trino_home(), java_home(24, 99), tmp_path_factory.mktemp("trino")) as server:
        yield server
