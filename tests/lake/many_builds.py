"""Ten thousand builds of a small table: what is on disk and what a commit takes stays bounded.

Run by hand: `python -m tests.lake.many_builds 10000`. The clock of maintenance goes a minute a
build, so that grace and age pass as they would with a build each minute.
"""

import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types
from pyiceberg.io.pyarrow import parquet_file_to_data_file
from tests.lake.small_lake import DAY, SmallLake

from shopstream.lake.maintain import maintain_if_due
from shopstream.local.builds import Builds
from shopstream.settings import Settings

MINUTE_US = 60_000_000
SCHEMA = pa.schema(
    [
        pa.field(name, kind, metadata={"PARQUET:field_id": str(at + 1)})
        for at, (name, kind) in enumerate(
            {"day": pa.date32(), "id": pa.string(), "n": pa.int64()}.items()
        )
    ]
)


def run(count: int, folder: Path) -> None:
    settings = Settings(data_dir=folder)
    lake = SmallLake(folder)
    table = lake.table
    commits_ms: list[float] = []
    tending_ms: list[float] = []
    start_us = time.time_ns() // 1_000
    with Builds(folder) as builds:
        for n in range(count):
            build = builds.begin("build", start_us)
            day = n // 1_440  # a build each minute: each day is rewritten until it is over
            path = f"{lake.location}/data/{n}.parquet"
            rows = pa.table([[DAY + timedelta(days=day)], [f"e{n}"], [n]], schema=SCHEMA)
            pq.write_table(rows, path)
            began = time.perf_counter()
            tasks = list(table.scan(f"day = '{DAY + timedelta(days=day)}'").plan_files())
            with (
                table.transaction() as transaction,
                transaction.update_snapshot().overwrite() as replaced,
            ):
                for task in tasks:
                    replaced.delete_data_file(task.file)
                replaced.append_data_file(parquet_file_to_data_file(table.io, table.metadata, path))
            commits_ms.append((time.perf_counter() - began) * 1_000)
            lake.show(build, rows=day + 1)
            began = time.perf_counter()
            if maintain_if_due(settings, builds, now_us=start_us + n * MINUTE_US):
                tending_ms.append((time.perf_counter() - began) * 1_000)
                table = lake.table
            if n % max(1, count // 20) == 0 or n == count - 1:
                data, metadata = len(lake.on_disk("data")), len(lake.on_disk("metadata"))
                print(
                    f"{n:6} builds: {len(table.metadata.snapshots)} snapshots,"
                    f" {data} data and {metadata} metadata files,"
                    f" commit {median(commits_ms[-100:]):.0f} ms,"
                    f" maintenance {median(tending_ms[-10:] or [0]):.0f} ms",
                    flush=True,
                )
        assert len(lake.rows()) == (count - 1) // 1_440 + 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        run(int(sys.argv[1]), Path(made))
