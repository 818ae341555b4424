"""A Trino server in Athena's place: it runs the builder's statements, whose DDL is put into Trino's
words, and reads bronze as Firehose leaves it: gzip, in folders by day and hour of arrival.
"""

import gzip
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import zstandard
from moto import mock_aws
from tests.models.engines.lakes import Lake
from tests.models.engines.trino import Trino

from shopstream.aws.arrivals import Arrivals
from shopstream.aws.athena import QueryFailed, Row
from shopstream.aws.build_memory import BuildMemory
from shopstream.aws.clients import Clients
from shopstream.aws.names import Names
from shopstream.aws.tables import DynamoTables
from shopstream.lake.landed_tables import LandedTable, landed_tables

NAMES = Names("shop", "123456789012")
TOPICS = ("clicks", "orders", "carts", "stock", "quarantine")
_COLUMN = re.compile(r"^  `(\w+)` ([\w(),<>:]+) COMMENT '(?:[^']|'')*'", re.MULTILINE)


class TrinoAsAthena:
    """`table_build.Queries` on Trino: a statement is run when it is started."""

    def __init__(self, trino: Trino, database: str) -> None:
        self._trino = trino
        self._database = database
        self._answers: dict[str, list[Row] | str] = {}
        self.run: list[str] = []

    def start(self, sql: str) -> str:
        query = uuid4().hex
        self.run.append(sql)
        try:
            for text in self._translated(sql):
                rows = self._trino.run(text)
            self._answers[query] = [{k: _text(v) for k, v in row.items()} for row in rows]
        except AssertionError as e:
            self._answers[query] = str(e)
        return query

    def wait(self, query: str, wait_s: float) -> None:
        found = self._answers[query]
        if isinstance(found, str):
            raise QueryFailed(found)

    def rows(self, query: str) -> list[Row]:
        found = self._answers[query]
        assert isinstance(found, list)
        return found

    def _translated(self, sql: str) -> Iterator[str]:
        database = self._database
        if sql.startswith("CREATE TABLE IF NOT EXISTS"):
            yield self._create(sql)
            return
        if sql.startswith("ALTER TABLE"):
            added = re.findall(r"`(\w+)` ([\w(),]+?)(?=, `|\)$)", sql.partition("(")[2])
            table = sql.split("`")[3]
            for name, kind in added:
                yield f'ALTER TABLE iceberg.{database}.{table} ADD COLUMN "{name}" {_type(kind)}'
            return
        sql = sql.replace("table_type = 'ICEBERG', is_external = false, ", "").replace("`", '"')
        for table in landed_tables():
            sql = sql.replace(f'"{database}"."{table}"', f"hive.{database}.{table}")
        sql = sql.replace(f'"{database}".', f"iceberg.{database}.")
        yield sql.replace(" information_schema.", " iceberg.information_schema.")

    def _create(self, sql: str) -> str:
        table = sql.split("`")[3]
        columns = ", ".join(f'"{name}" {_type(kind)}' for name, kind in _COLUMN.findall(sql))
        parted = re.search(r"PARTITIONED BY \(`(\w+)`\)", sql)
        place = re.search(r"LOCATION '([^']+)'", sql)
        assert place
        options = [f"location = '{place[1]}'"]
        options += [f"partitioning = ARRAY['{parted[1]}']"] if parted else []
        made = f"CREATE TABLE IF NOT EXISTS iceberg.{self._database}.{table} ({columns})"
        return f"{made} WITH ({', '.join(options)})"


def _type(kind: str) -> str:
    return {"string": "VARCHAR", "timestamp": "TIMESTAMP(6)", "int": "INTEGER"}.get(kind, kind)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


class Deployment:
    """A bucket (moto's and, for Trino, a folder), tables of lines over it, the builder's memory."""

    def __init__(self, trino: Trino, database: str, folder: Path) -> None:
        self.trino, self.database, self.folder = trino, database, folder
        self.queries = TrinoAsAthena(trino, database)
        self.clients = Clients(region="eu-central-1")
        self.memory = BuildMemory(_state_table(self.clients))
        self.arrivals = Arrivals(self.clients, NAMES)
        for bucket in (NAMES.lake, NAMES.offers_archive):
            self.clients.s3.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
        for catalog in ("hive", "iceberg"):
            trino.run(f"CREATE SCHEMA {catalog}.{database}")
        for name, table in landed_tables().items():
            self._make(name, table)

    def _make(self, name: str, table: LandedTable) -> None:
        columns = [f'"{c.name}" {_nested(c.type)}' for c in table.columns]
        columns += [
            f"{part} {'INTEGER' if part == 'hour' else 'VARCHAR'}" for part in table.partitions
        ]
        place = self.folder / table.place / table.prefix
        place.mkdir(parents=True)
        self.trino.run(
            f"CREATE TABLE hive.{self.database}.{name} ({', '.join(columns)})"
            f" WITH (format = 'OPENX_JSON', external_location = 'local://{place}',"
            f" partitioned_by = ARRAY{table.partitions})"
        )

    def put(self, name: str, lines: Iterable[bytes]) -> None:
        """An object of the lake (`bronze/…`, packed) or of the archive (`offers/…`)."""
        body = b"".join(line + b"\n" for line in lines)
        archived = name.startswith("offers/")
        body = body if archived else gzip.compress(body)
        bucket = NAMES.offers_archive if archived else NAMES.lake
        self.clients.s3.put_object(Bucket=bucket, Key=name, Body=body)
        path = self.folder / ("archive" if archived else "lake") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def land(self, topic: str, partition: str, name: str, lines: Iterable[bytes]) -> None:
        day, _, hour = partition.partition("/")
        self.put(f"bronze/{topic}/dt={day}/hour={hour}/{name}.gz", lines)

    def project(self) -> None:
        """Athena works partitions out; here they are looked for."""
        for name in landed_tables():
            self.trino.run(
                f"CALL hive.system.sync_partition_metadata('{self.database}', '{name}', 'FULL')"
            )

    def files(self, table: str) -> list[str]:
        return self.trino.files(self.database, table)


@contextmanager
def deployed(trino: Trino, database: str, folder: Path) -> Iterator[Deployment]:
    with mock_aws():
        yield Deployment(trino, database, folder)


def _nested(kind: str) -> str:
    """A type of Hive's in Trino's words."""
    kind = re.sub(r"(\w+):", r"\1 ", kind)
    kind = kind.replace("struct<", "ROW(").replace("array<", "ARRAY(").replace(">", ")")
    return re.sub(r"\bstring\b", "VARCHAR", kind)


def _state_table(clients: Clients) -> DynamoTables:
    clients.dynamodb.create_table(
        TableName=NAMES.table("state"),
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return DynamoTables(clients, NAMES)


def landed_lines(lake: Lake, topic: str) -> list[bytes]:
    """All lines that the lander wrote of a topic, in the order of arrival."""
    found: list[bytes] = []
    for path in sorted((lake.root / "bronze" / topic).glob("dt=*/hour=*/*.zst")):
        with path.open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            found += reader.read().splitlines()
    return found
