"""A lake of one small table, written by the builder's own commit: whole days, then shown."""

import uuid
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
from pyiceberg.table import Table

from shopstream.errors import DataDirError
from shopstream.lake.catalog import Checkpoint, lake_name, open_catalog, open_table, replace_days
from shopstream.lake.current import Current, TableNow, read_current, write_current
from shopstream.lake.files import data_file
from shopstream.lake.model import Column, Model, UnitTest
from shopstream.local.builds import Builds

TYPES = {"day": "DATE", "id": "VARCHAR", "n": "BIGINT"}
DAY = date(2026, 1, 1)


class SmallLake:
    """The lake in `data_dir`; `name` is its table, with days unless `whole`."""

    def __init__(self, data_dir: Path, name: str = "silver_clicks", *, whole: bool = False) -> None:
        self.data_dir = data_dir
        self.name = name
        self.folder = (data_dir / "lake").resolve()
        self.model = Model(
            name=name,
            layer="silver",
            description="",
            grain=["n"],
            partition=None if whole else "day",
            build="whole" if whole else "days",
            columns=[Column(name=n, type=type, description="") for n, type in TYPES.items()],
            unit_test=UnitTest(given={}, expect=[]),
            sql="",
            reads=(),
        )
        self.catalog = open_catalog(data_dir)
        self.location = self.folder / "warehouse" / name
        (self.location / "data").mkdir(parents=True, exist_ok=True)

    @property
    def table(self) -> Table:
        return open_table(self.catalog, self.model, self.data_dir)

    def build(
        self,
        builds: Builds,
        rows: dict[int, str],
        day: date = DAY,
        *,
        files: int = 1,
        upstream: dict[str, int] | None = None,
    ) -> None:
        """Replace a day (or all of a table without days) by `rows` (n -> id), in that many files,
        and show it.
        """
        build = builds.begin("build", 1)
        names = []
        for part in range(files):
            name = f"warehouse/{self.name}/data/{uuid.uuid4().hex}.parquet"
            taken = {n: id for at, (n, id) in enumerate(rows.items()) if at % files == part}
            values = ", ".join(f"(DATE '{day}', '{id}', {n}::BIGINT)" for n, id in taken.items())
            path = str(self.folder / name).replace("'", "''")
            with duckdb.connect() as con:
                con.execute(
                    f'COPY (SELECT * FROM (VALUES {values}) AS t("day", id, n))'
                    f" TO '{path}'"
                    " (FORMAT parquet, FIELD_IDS {day: 1, id: 2, n: 3})"
                )
            builds.record_files([data_file(self.folder, name, len(taken))])
            names.append(name)
        replace_days(
            self.table,
            self.model,
            None if self.model.partition is None else [str(day)],
            [self.folder / name for name in names],
            Checkpoint(str(build), [str(day)], upstream or {}, ""),
            self.folder,
        )
        self.show(build, len(rows))

    def show(self, build: int, rows: int) -> None:
        """Have readers see the newest snapshot."""
        table = self.table
        head = table.current_snapshot()
        assert head is not None
        now = TableNow(
            snapshot=head.snapshot_id,
            files=self.live(),
            rows=rows,
            metadata=table.metadata_location,
        )
        try:
            tables = read_current(self.data_dir).tables
        except DataDirError:
            tables = {}
        write_current(
            self.data_dir,
            Current(build=build, built_at=datetime.now(UTC), tables=tables | {self.name: now}),
        )

    def live(self) -> list[str]:
        """The newest snapshot's data files, as names in the lake."""
        tasks = self.table.scan().plan_files()
        return sorted(lake_name(task.file.file_path, self.folder) for task in tasks)

    def rows(self) -> list[tuple[str, str, int]]:
        """What the newest snapshot holds."""
        found = self.table.scan().to_arrow().to_pylist()
        return sorted((str(row["day"]), row["id"], row["n"]) for row in found)

    def seen(self) -> list[tuple[str, str, int]]:
        """What readers see, as they read it: current.json, then its files."""
        now = read_current(self.data_dir).tables[self.name]
        files = [str(self.folder / name) for name in now.files]
        with duckdb.connect() as con:
            found = con.execute(
                'SELECT "day"::VARCHAR, id, n FROM read_parquet($files)', {"files": files}
            ).fetchall()
        return sorted(found)

    def on_disk(self, folder: str, suffix: str = "") -> list[str]:
        """The files below `data` or `metadata`."""
        found = (self.location / folder).rglob(f"*{suffix}")
        return sorted(path.name for path in found if path.is_file())
