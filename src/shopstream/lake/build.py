"""Build the tables: what is new goes through the models' SQL, is audited, and is published.

Each table is written aside as Parquet, audited, then committed to its Iceberg table together with
its checkpoint, one after the other in the order of dependency. Readers see all of it at once, when
`current.json` is replaced at the end. A table that fails its tests keeps what it had, and so does
what is made of it; so does one that can't be read or committed, its metadata being damaged or for
whatever else. A build that is killed anywhere leaves nothing that the next does not put right.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shopstream.engine import open_engine
from shopstream.errors import DataDirError
from shopstream.lake.bind import day_of
from shopstream.lake.damage import TableFailed, blaming
from shopstream.lake.duck import connect_duck
from shopstream.lake.files import TEMP, clear_temp
from shopstream.lake.inputs import Inputs
from shopstream.lake.model import Model
from shopstream.lake.plan import NO_DAYS, Days, Step, Wanted, grown, union
from shopstream.lake.quality import TestFailure
from shopstream.lake.repoint import astray, repoint
from shopstream.lake.report import BuildReport, Built
from shopstream.lake.staging import Staging, cannot_build
from shopstream.lake.state import LakeState
from shopstream.settings import Settings

if TYPE_CHECKING:
    import duckdb

    from shopstream.local.builds import Builds

LOCK_WAIT_S = 30.0
_NOT_BUILT = cannot_build("", "").key


def build(
    settings: Settings,
    wanted: Wanted = Wanted(),  # noqa: B008  # immutable
    *,
    dry_run: bool = False,
    on_step: Callable[[Step, int, int], None] = lambda *_: None,
    wait_s: float = LOCK_WAIT_S,
) -> BuildReport:
    """Build what is new, or what is `wanted`, of what has landed; with `dry_run` only plan it.

    `on_step` is told each step, its number and how many there are. Raises Busy when another build
    goes on for longer than `wait_s`, DataDirError when the lake can't be used, ConfigError for an
    unknown table.
    """
    began = time.monotonic()
    engine = open_engine(settings, create=False)
    if dry_run:
        if astray(settings.data_dir):
            raise DataDirError(
                f"{engine.dir.root}/lake/catalog.db does not lead to what readers read:"
                " `shopstream build` has it do so"
            )
        with closing(Inputs(engine, _now_us())) as inputs:
            return BuildReport(steps=LakeState(settings, inputs).plan(wanted))
    # What has landed is looked at under the lock: a build that waited for another goes beyond it.
    with engine.write_builds(wait_s) as builds, closing(Inputs(engine, _now_us())) as inputs:
        repoint(settings.data_dir)
        lake = LakeState(settings, inputs)
        clear_temp(lake.folder / TEMP, _now_us())
        report = _Run(settings, lake, builds, wanted).run(on_step)
    report.seconds = round(time.monotonic() - began, 3)
    return report


class _Run:
    """The steps of one build."""

    def __init__(self, settings: Settings, lake: LakeState, builds: Builds, wanted: Wanted) -> None:
        self._settings, self._lake, self._builds, self._wanted = settings, lake, builds, wanted

    def run(self, on_step: Callable[[Step, int, int], None]) -> BuildReport:
        lake, builds = self._lake, self._builds
        steps = lake.plan(self._wanted)
        report = BuildReport(steps=steps)
        if not steps:
            if lake.behind:
                number = builds.begin("build", _now_us(), after=lake.current.build)
                lake.publish(number)
                builds.end(number, _now_us())
            return report
        at_us = _now_us()
        lake.recorded = builds.files()
        report.build = builds.begin("build", at_us, after=lake.current.build)
        temp = lake.folder / TEMP / f"{report.build}-{uuid.uuid4().hex[:8]}"
        temp.mkdir(parents=True, exist_ok=True)
        con = connect_duck(self._settings.build_memory, temp)
        try:
            kept_back: set[str] = set()
            for n, step in enumerate(steps, 1):
                on_step(step, n, len(steps))
                built = self._step(con, step, report.build, kept_back, temp)
                if built is not None:
                    report.tables.append(built)
                    if built.failures or built.kept_back:
                        kept_back.add(step.table)
            lake.publish(report.build)
        finally:
            con.close()
            shutil.rmtree(temp, ignore_errors=True)
        builds.end(report.build, _now_us(), msgspec.json.encode(report))
        return report

    def _step(
        self,
        con: duckdb.DuckDBPyConnection,
        step: Step,
        number: int,
        kept_back: set[str],
        temp: Path,
    ) -> Built | None:
        model = self._lake.models[step.table]
        began = time.monotonic()
        if waits := sorted(kept_back & set(model.reads)):
            return Built(table=step.table, mode=step.mode, kept_back=", ".join(waits))
        days = self._days(model, step)
        if days is not None and not days and model.build == "days":
            return None  # what was to change did not
        built = Built(table=model.name, mode=step.mode)
        failures: list[TestFailure] = []
        # One that couldn't be built before has mended only when it is committed.
        mending = self._builds.failing().get(model.name) == [_NOT_BUILT]
        try:
            with blaming(model.name, self._settings.data_dir):
                work = Staging(self._lake, con, model, step, days, number, temp, self._wanted)
                if failures := work.stage():
                    work.discard()
                else:
                    if not mending:
                        self._audited(model, [], number)
                    built.rows = work.commit(self._builds)
                    built.days = self._days_written(model, work.days)
        except TableFailed as e:
            failures = [cannot_build(model.name, str(e))]
        if failures or mending:
            self._audited(model, failures, number)
        built.failures = [str(failure) for failure in failures]
        built.seconds = round(time.monotonic() - began, 3)
        return built

    def _audited(self, model: Model, failures: list[TestFailure], number: int) -> None:
        self._builds.audited(model.name, failures, number, datetime.now(UTC))

    def _days_written(self, model: Model, days: Days) -> int:
        if days is not None or not model.partition:
            return len(days or ()) if model.partition else 0
        return len(set(map(day_of, self._lake.files_of(model.name))))

    def _days(self, model: Model, step: Step) -> Days:
        """The days to write anew, now that what this table reads has been built."""
        if step.mode != "days":
            return None
        parts: list[Collection[str] | None] = [step.days, self._lake.pending[model.name]]
        changed = ((name, self._lake.changed.get(name, NO_DAYS)) for name in model.reads)
        return union([*parts, *(grown(days, model.reach.get(name, 0)) for name, days in changed)])


def _now_us() -> int:
    return time.time_ns() // 1_000
