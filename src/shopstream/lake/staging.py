"""One table in one build: its rows written aside, audited, then committed or discarded."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shopstream.lake.bind import (
    EVENT_TIME,
    day_of,
    in_days,
    literal,
    of_days,
    quoted,
    table_sql,
    taken_back,
)
from shopstream.lake.catalog import (
    ALL_DAYS,
    Checkpoint,
    field_ids,
    has_columns,
    replace_days,
    take_columns,
    take_place,
)
from shopstream.lake.current import TableNow, sync_path
from shopstream.lake.damage import remedy
from shopstream.lake.duck import PARQUET
from shopstream.lake.fault import first_line, of_machine
from shopstream.lake.files import data_file
from shopstream.lake.fingerprint import fingerprint
from shopstream.lake.model import Model, Source
from shopstream.lake.plan import NO_DAYS, Days, Step, Wanted, grown, last_days
from shopstream.lake.quality import TestFailure, audit, relations_of
from shopstream.lake.state import LakeState

if TYPE_CHECKING:
    import duckdb

    from shopstream.local.builds import Builds


STAGED, WRITTEN = "staged", "written"
"""The rows that a build has made of a table: in memory, or in their file already."""
DAYS_ONE_BY_ONE = 32
"""So many days are written one after the other: for 2 M rows of one day that takes half the
processor time of having DuckDB part them.
"""


class Staging:
    """One table in one build: staged, audited, then committed or discarded."""

    def __init__(
        self,
        lake: LakeState,
        con: duckdb.DuckDBPyConnection,
        model: Model,
        step: Step,
        days: Days,
        number: int,
        temp: Path,
        wanted: Wanted,
    ) -> None:
        self._lake, self._con, self._model, self._temp = lake, con, model, temp
        self._full = step.mode == "full"
        self._again = self._full or wanted.ranged
        self._wanted = wanted
        # A table whose metadata is damaged is made anew where nothing of it is to be kept.
        self._anew = wanted.alone and lake.is_hurt(model.name)
        self._table = lake.open_anew(model.name) if self._anew else lake.open(model.name)
        self._change = self._table.transaction()
        # Also one that another version gave other columns, and that has the rows of this one's.
        self.days = days if has_columns(self._change, model) else None
        data = lake.folder / "warehouse" / model.name / "data"
        self._folder = data / f"{number:08d}-{uuid.uuid4().hex[:8]}"
        self._bound: dict[str, str] = {}
        self._upstream = {
            name: now.snapshot for name in model.reads if (now := lake.tables.get(name)) is not None
        }

    # --- stage ------------------------------------------------------------------------------

    def stage(self) -> list[TestFailure]:
        """Make the rows and audit them, written aside already or then; the tests that they fail."""
        import duckdb

        if spoilt := self._lake.leave_out_spoilt(self._model, self._wanted):
            return [
                self._failure(
                    f"{spoilt} is missing or not what was landed: run `shopstream lake reland`,"
                    " which makes it anew while the log has its events; when it has them no more,"
                    f" `shopstream lake rebuild {self._model.name} --anyway` goes on without it,"
                    " and gives up what else bronze doesn't have"
                )
            ]
        try:
            self._bind()
            written = self._write_at_once()
            if not written:
                self._make()
            failures = self._audit(WRITTEN if written else STAGED)
            if not failures and not written:
                self._write()
            self._let_go()
            return failures
        except _Damaged as e:
            self.discard()
            return [self._failure(str(e))]
        except duckdb.OutOfMemoryException as e:
            self.discard()
            self._let_go()
            needs = "it needs more memory than the setting build_memory allows"
            return [self._failure(f"{needs}: {first_line(e)}")]
        except RuntimeError as e:
            self.discard()
            if "interrupted" in str(e).lower():
                raise KeyboardInterrupt from None  # which DuckDB took for itself
            raise
        except duckdb.Error as e:
            self.discard()
            if of_machine(e):
                raise
            return [self._failure(self._why(e))]  # a damaged file: other tables don't wait for it
        except BaseException:
            self.discard()
            raise

    def _failure(self, message: str) -> TestFailure:
        return cannot_build(self._model.name, message)

    def _why(self, error: Exception) -> str:
        """What DuckDB says, and what to do where a file is at fault that it had to read."""
        for name in (self._model.name, *self._model.reads, *relations_of(self._model)):
            if path := self._lake.damaged(self._lake.files_of(name)):
                return f"{_damage(path, name)} ({first_line(error)})"
        return first_line(error)

    def _bind(self) -> None:
        model, lake = self._model, self._lake
        for name in model.reads:
            if source := lake.sources.get(name):
                # Read once: JSON costs more than all else, and the audit looks again.
                new = lake.rows_of_source(model, source, self._temp)
                if model.merge and self.days is not None:
                    # In a range that was asked for, files also hold other days.
                    at = EVENT_TIME["archive" if source.archive else "topic"]
                    within = f"CAST({quoted(at)} AS DATE) IN ({_dates(self.days)})"
                    new = f"SELECT * FROM ({new}) WHERE {within}"
                self._con.execute(f"CREATE OR REPLACE TEMP TABLE new_rows AS {new}")
                rows = self._merged(source) if model.merge else "SELECT * FROM new_rows"
            else:
                rows = self._rows(name, self._days_read(name))
            self._view(name, rows)

    def _days_read(self, name: str) -> Days:
        """The days of a table that matter to this one."""
        model, lake = self._model, self._lake
        if model.build == "days":
            return grown(self.days, model.reach.get(name, 0))
        if model.last_days is None or lake.models[name].partition is None:
            return None
        days = [
            day for read in model.reads for path in lake.files_of(read) if (day := day_of(path))
        ]
        return last_days(max(days), model.last_days) if days else None

    def _rows(self, name: str, days: Days = None) -> str:
        """The rows of a table (of `days` only, if given), of files that are what was written: of
        damaged ones a file with a hash of its own would be made. All files of a table that is read
        whole are looked at too: DuckDB takes longer to read them, and the builder looks but once.
        """
        model, files = self._lake.models[name], self._lake.files_of(name)
        read = files if days is None else of_days(files, days)
        if path := self._lake.damaged(read):
            raise _Damaged(_damage(path, name))
        return table_sql(model, files, days)

    def _view(self, name: str, rows: str) -> None:
        self._con.execute(f"CREATE OR REPLACE TEMP VIEW {quoted(name)} AS {rows}")
        self._bound[name] = name

    def _merged(self, source: Source) -> str:
        """New rows and the table's own rows that they are to be seen with."""
        model, files = self._model, self._lake.files_of(self._model.name)
        if self._wanted.alone:
            return "SELECT * FROM new_rows"
        new = "SELECT * FROM new_rows"
        keys = ", ".join(map(quoted, model.merge.keys)) if model.merge else ""
        apart = model.merge.days_apart_max if model.merge else 0
        if self.days is None:
            own = self._rows(model.name)
        elif apart:
            # Of copies one is kept, so none of the other days' rows belong to these.
            near = grown(self.days, apart) or NO_DAYS
            self.days |= self._days_sharing(keys, of_days(files, near)) & near
            own = self._rows(model.name, self.days)
        elif keys:
            self.days |= self._days_sharing(keys, files)
            context = self._days_of_keys(keys, files)
            own = self._rows(model.name, context)
            own = f"SELECT * FROM ({own}) WHERE ({keys}) IN (FROM own_keys)"
        else:
            own = self._rows(model.name, self.days)
        back = taken_back(model, source, own)
        if self._again:
            # What bronze still has is taken from there; what it has forgotten is kept.
            known = "made_at, offer_id" if source.archive else "position, n"
            back = f"SELECT * FROM ({back}) WHERE ({known}) NOT IN (SELECT ({known}) FROM new_rows)"
        return f"{new} UNION ALL BY NAME {back}"

    def _days_sharing(self, keys: str, files: Sequence[Path]) -> frozenset[str]:
        """The days of own rows that share their keys with a new one."""
        own = table_sql(self._model, files)
        shared = f"({keys}) IN (SELECT ({keys}) FROM new_rows)"
        found = self._con.execute(f"SELECT DISTINCT day FROM ({own}) WHERE {shared}")
        return frozenset(str(day) for (day,) in found.fetchall())

    def _days_of_keys(self, keys: str, files: Sequence[Path]) -> frozenset[str]:
        """Note down (in `own_keys`) the keys of the days to be written; the days that have them."""
        here = table_sql(self._model, files, self.days or NO_DAYS)
        self._con.execute(
            f"CREATE OR REPLACE TEMP TABLE own_keys AS SELECT DISTINCT {keys} FROM ({here})"
            f" UNION SELECT DISTINCT {keys} FROM new_rows"
        )
        own = table_sql(self._model, files)
        having = f"SELECT DISTINCT day FROM ({own}) WHERE ({keys}) IN (FROM own_keys)"
        return frozenset(str(day) for (day,) in self._con.execute(having).fetchall())

    def _made(self) -> str:
        """The table's new rows, as SQL."""
        model = self._model
        columns = ", ".join(
            f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}"
            for name, kind in model.types.items()
        )
        rows = f"SELECT {columns} FROM ({model.sql})"
        if self.days is not None and model.partition:
            rows += f" WHERE {in_days(model, self.days)}"
        return rows

    def _write_at_once(self) -> bool:
        """Write the new rows straight to their file, where they need but one and the table has all
        columns: that takes two thirds of the time of having them in memory first. False where not.
        """
        model = self._model
        if not has_columns(self._change, model):
            return False  # it is given them once the rows are known to be good
        path = self._folder / "rows.parquet"
        if model.partition is not None:
            days = self._lake.days_new(model.name) if self.days is None else self.days
            if len(days) != 1:
                return False
            path = self._folder / f"day={min(days)}" / "rows.parquet"
        path.parent.mkdir(parents=True)
        self._copy(self._made(), path, self._options())
        rows = f"FROM read_parquet({literal(str(path))}, hive_partitioning = false)"
        self._con.execute(f"CREATE OR REPLACE TEMP VIEW {WRITTEN} AS {rows}")
        if model.partition is not None and not self._days_of(WRITTEN) <= days:
            self.discard()  # others than those that landed
            return False
        self._files = [path]
        return True

    def _make(self) -> None:
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE {STAGED} AS {self._made()}")

    def _write(self) -> None:
        model, folder = self._model, self._folder
        folder.mkdir(parents=True, exist_ok=True)
        take_columns(self._change, model)
        options = self._options()
        if model.partition is None:
            self._copy(f"FROM {STAGED}", folder / "rows.parquet", options)
        elif len(days := self._days_of(STAGED)) <= DAYS_ONE_BY_ONE:
            for day in sorted(days):
                (folder / f"day={day}").mkdir()
                here = f"FROM {STAGED} WHERE {in_days(model, [day])}"
                self._copy(here, folder / f"day={day}" / "rows.parquet", options)
        else:
            by_day = f"{options}, PARTITION_BY ({quoted(model.partition)})"
            self._copy(f"FROM {STAGED}", folder, f"{by_day}, WRITE_PARTITION_COLUMNS true")
        self._files = sorted(folder.rglob("*.parquet"))

    def _options(self) -> str:
        ids = field_ids(self._change.table_metadata)
        fields = ", ".join(f"{quoted(name)}: {ids[name]}" for name in self._model.types)
        return f"{PARQUET}, FIELD_IDS {{{fields}}}"

    def _copy(self, rows: str, to: Path, options: str) -> None:
        self._con.execute(f"COPY ({rows}) TO {literal(str(to))} ({options})")

    def _days_of(self, rows: str) -> frozenset[str]:
        partition = quoted(self._model.partition or "day")
        found = self._con.execute(f"SELECT DISTINCT {partition} FROM {rows}")
        return frozenset(str(day) for (day,) in found.fetchall())

    def _let_go(self) -> None:
        self._con.execute(f"DROP TABLE IF EXISTS {STAGED}; DROP TABLE IF EXISTS new_rows")

    def _audit(self, rows: str) -> list[TestFailure]:
        model, lake = self._model, self._lake
        tables = dict(self._bound)
        for name in relations_of(model):
            if name != model.name:
                whole = table_sql(lake.models[name], lake.files_of(name))
                self._con.execute(f"CREATE OR REPLACE TEMP VIEW whole_{name} AS {whole}")
                tables[name] = f"whole_{name}"
        now = lake.tables.get(model.name)
        published = None if now is None or self._full else now.rows
        return audit(
            self._con,
            model,
            rows,
            tables,
            published_rows=published,
            replaced_rows=self._replaced_rows(now),
        )

    def _replaced_rows(self, now: TableNow | None) -> int:
        if now is None:
            return 0
        if self.days is None or not self._model.partition:
            return now.rows
        own = table_sql(self._model, self._lake.files_of(self._model.name), self.days)
        row = self._con.execute(f"SELECT count(*) FROM ({own})").fetchone()
        return int(row[0]) if row else 0

    # --- publish ----------------------------------------------------------------------------

    def commit(self, builds: Builds) -> int:
        """Make what is staged the table's; returns how many rows that is."""
        from pyarrow.parquet import read_metadata  # type: ignore[import-untyped]  # no types

        lake, model = self._lake, self._model
        rows = {path: read_metadata(path).num_rows for path in self._files}
        files = [path for path in self._files if rows[path]]
        self._sync(files)
        names = {path: str(path.relative_to(lake.folder)) for path in files}
        builds.record_files([data_file(lake.folder, names[path], rows[path]) for path in files])
        days: Collection[str] = [ALL_DAYS] if self.days is None else self.days
        made_by = fingerprint(model, lake.sources)
        checkpoint = Checkpoint(lake.landed_of(model.name), days, self._upstream, made_by)
        committed = replace_days(
            self._table, model, self.days, files, checkpoint, lake.folder, self._change
        )
        if self._anew:
            take_place(lake.catalog, model.name)
        before = None if self._anew else lake.tables.get(model.name)
        gone = set(committed.gone)
        kept = [name for name in before.files if name not in gone] if before else []
        total = (before.rows if before else 0) - committed.rows_gone + sum(rows.values())
        now = TableNow(
            snapshot=committed.snapshot,
            files=sorted([*kept, *names.values()]),
            rows=total,
            metadata=committed.metadata,
            landed=checkpoint.landed,
            upstream=self._upstream,
            model=made_by,
        )
        lake.committed(model.name, now, self.days)
        if not files:
            self.discard()
        return sum(rows.values())

    def _sync(self, files: Sequence[Path]) -> None:
        """DuckDB does not: a table must not name files that a power cut would take away."""
        folders = {self._folder, self._folder.parent, *(path.parent for path in files)}
        for path in (*files, *folders):
            sync_path(path)

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def cannot_build(table: str, message: str) -> TestFailure:
    """That a table can't be made at all, as a test that it fails."""
    return TestFailure(table, "build", "", 0, {}, message[:1_000])


class _Damaged(Exception):
    """A data file that a build is to read is not what was written; says what to do."""


def _damage(path: Path, table: str) -> str:
    return f"{path} is missing or not what was written: {remedy(table)}"


def _dates(days: Collection[str]) -> str:
    return ", ".join(f"DATE {literal(day)}" for day in sorted(days)) or "NULL"
