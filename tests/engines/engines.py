"""The engines that the contract suites run on. A new engine is one more name in `LOGS`,
`TABLES`, `LAKES`, one more entry in `RECEIVERS`, and what opens it.

An engine opens each port on a folder that is a test's own (on AWS, under a prefix made of it). What
a suite needs to arrange (a full log, a disk without room) is an argument here, so that no test
knows how an engine does it.

What only one machine can promise (positions, one writer, a full disk) is asked of `one_machine`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.engines.aws_resources import Deployment
from tests.engines.emulators import run_dynamodb_local, run_moto
from tests.engines.receivers import (
    Receiver,
    open_console,
    open_file,
    open_mail,
    open_sns,
    open_webhook,
)

from shopstream.aws.clients import Clients
from shopstream.events import Entry
from shopstream.local.lake import FolderLake
from shopstream.local.log import SqliteLog
from shopstream.local.tables import RocksTables
from shopstream.ports import AppendLog, Items, Lake, Log, Tables

LOGS = ("local", "sqs", "kinesis")
DYNAMOS = ("dynamodb", "dynamodb-local")
TABLES = ("local", *DYNAMOS)
LAKES = ("local", "s3")
RECEIVERS: dict[str, Callable[[Clients | None, Path], AbstractContextManager[Receiver]]] = {
    "console": open_console,
    "file": open_file,
    "webhook": open_webhook,
    "mail": open_mail,
    "sns": open_sns,
}
"""Who can be told of alerts: the first four by one machine."""
SERVERS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "sqs": run_moto,
    "kinesis": run_moto,
    "dynamodb": run_moto,
    "s3": run_moto,
    "sns": run_moto,
    "dynamodb-local": run_dynamodb_local,
}
"""What must run for an engine that isn't in this process."""


class OpenLog(Protocol):
    def __call__(
        self,
        folder: Path,
        *,
        shards: int = 1,
        bytes_max: int = 1 << 62,
        disk_free_bytes_min: int = 0,
    ) -> Log: ...


@dataclass(frozen=True)
class OneMachine:
    """How to open each port for writing and for reading beside the writer."""

    write_log: OpenLog
    read_log: Callable[..., Log]
    write_tables: Callable[[Path], Tables]
    read_tables: Callable[[Path], Tables]


@dataclass(frozen=True)
class LogEngine:
    """`arrived` gives all entries of a log, those of one key in the order in which they come to
    whoever processes them.
    """

    open: Callable[[Path], AppendLog]
    arrived: Callable[[Path], list[Entry]]


one_machine = OneMachine(
    write_log=SqliteLog,
    read_log=SqliteLog.reader,
    write_tables=RocksTables,
    read_tables=RocksTables.reader,
)


def log_engine(name: str, clients: Clients | None) -> LogEngine:
    if clients is None:
        return LogEngine(SqliteLog, _in_log)
    if name == "sqs":
        return LogEngine(
            lambda folder: Deployment(clients, folder).sqs_log(),
            lambda folder: Deployment(clients, folder).in_queue(),
        )
    return LogEngine(
        lambda folder: Deployment(clients, folder).kinesis_log(),
        lambda folder: Deployment(clients, folder).in_stream(),
    )


def tables_engine(clients: Clients | None) -> Callable[[Path], Items]:
    if clients is None:
        return RocksTables
    return lambda folder: Deployment(clients, folder).tables()


def lake_engine(clients: Clients | None) -> Callable[[Path], Lake]:
    if clients is None:
        return FolderLake
    return lambda folder: Deployment(clients, folder).lake()


def _in_log(folder: Path) -> list[Entry]:
    log = SqliteLog.reader(folder)
    entries: list[Entry] = []
    position = log.start()
    while rows := log.read(position):
        entries += [entry for row in rows for entry in row.entries]
        position = rows[-1].next
    log.close()
    return entries
