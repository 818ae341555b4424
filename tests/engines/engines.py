"""The engines that the contract suites run on. A new engine is one more entry in ENGINES.

An entry opens each port on a folder that is a test's own. What a suite needs to arrange (a full
log, a disk without room) is an argument here, so that no test knows how an engine does it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shopstream.local.lake import FolderLake
from shopstream.local.log import SqliteLog
from shopstream.local.tables import RocksTables
from shopstream.ports import Lake, Log, Tables


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
class EnginePorts:
    """How to open each port of one engine, for writing and for reading beside the writer."""

    write_log: OpenLog
    read_log: Callable[[Path], Log]
    write_tables: Callable[[Path], Tables]
    read_tables: Callable[[Path], Tables]
    lake: Callable[[Path], Lake]


ENGINES: dict[str, EnginePorts] = {
    "local": EnginePorts(
        write_log=SqliteLog,
        read_log=SqliteLog.reader,
        write_tables=RocksTables,
        read_tables=RocksTables.reader,
        lake=FolderLake,
    ),
}
