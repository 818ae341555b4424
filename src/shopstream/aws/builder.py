"""LakeBuilder: the models on Athena. What has landed since a table last read it goes through its
model, is audited, and is published by one statement; then what is made of it, in order.

A build may take several runs: what is left is done by the next. A table that fails its tests keeps
what it had, and so does what is made of it; a new failure is an alert.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from shopstream.aws.arrivals import Arrivals, new_partitions, recent
from shopstream.aws.athena import Athena, NotInTime, QueryFailed
from shopstream.aws.build_memory import (
    Asked,
    BuildMemory,
    Change,
    LastBuild,
    OpenBuild,
    TableState,
)
from shopstream.aws.outbox import Outbox
from shopstream.aws.table_build import STAGED, Made, Site, Statements, TableBuild
from shopstream.domain.plurals import counted
from shopstream.errors import Busy, ConfigError
from shopstream.lake import statements as sql
from shopstream.lake.compiled import TALLIED, CompiledModel, load_compiled
from shopstream.lake.plan import Days, Step, Wanted, grown, selected, union
from shopstream.lake.quality import alert_of
from shopstream.lake.report import BuildReport, Built

if TYPE_CHECKING:
    from shopstream.aws.engine import AwsEngine

ARCHIVE = "archive_offers"
WATCHED = ("silver_clicks", "silver_carts", "silver_order_lines")
"""Their events make offers; so the days in which they changed are looked into in the archive."""
WATCHED_US = 2 * 86_400 * 1_000_000
CLAIM_SPARE_US = 60 * 1_000_000
STALE_US = 86_400 * 1_000_000
"""A build that was left so long ago is begun anew."""
TEND_AFTER = 24
"""After so many publishes a table's files are put together."""


class Landings(Protocol):
    """What a build needs of `Arrivals`."""

    def first_day(self, table: str) -> str: ...
    def look(
        self, table: str, known: Collection[str], now_us: int, also: Collection[str] = ()
    ) -> dict[str, str]: ...


class Result(Struct, kw_only=True):
    """What a run came to. Not `finished`: the next one goes on."""

    finished: bool
    report: BuildReport


def run_builder(
    engine: AwsEngine, event: Mapping[str, Any], time_left_s: Callable[[], float]
) -> dict[str, Any]:
    """The function LakeBuilder: builds what is new, or what the event asks for (`full`, `select`,
    `since`, `until`). While another build goes on nothing is done.
    """
    asked = Asked(
        full=event.get("full") is True,
        select=[str(name) for name in event.get("select") or ()],
        since=str(event.get("since") or ""),
        until=str(event.get("until") or ""),
    )
    try:
        found = build_on(site_of(engine, time_left_s), landings_of(engine), _wanted(asked))
    except Busy:
        return {"finished": False, "busy": True}
    report = found.report
    return {
        "finished": found.finished,
        "build": report.build,
        "failed": report.failed,
        "tables": [msgspec.to_builtins(built) for built in report.tables],
    }


def site_of(engine: AwsEngine, time_left_s: Callable[[], float]) -> Site:
    """The deployment as a place to build in."""
    names = engine.names
    return Site(
        queries=Athena(engine.clients, names.workgroup, names.database),
        database=names.database,
        warehouse=f"s3://{names.lake}/warehouse",
        memory=BuildMemory(engine.tables()),
        lake=load_compiled(),
        alert=Outbox(engine.tables()).put,
        now_us=lambda: time.time_ns() // 1_000,
        time_left_s=time_left_s,
    )


def landings_of(engine: AwsEngine) -> Arrivals:
    """What has landed in the deployment."""
    return Arrivals(engine.clients, engine.names)


def build_on(
    site: Site,
    landings: Landings,
    wanted: Wanted = Wanted(),  # noqa: B008  # immutable
    on_step: Callable[[Step, int, int], None] = lambda *_: None,
) -> Result:
    """Build what is new, or `wanted`; but first go on with the build that isn't done. What is
    `wanted` is remembered with that one, until a run has the time for it; the last that was counts.

    Raises Busy while another build goes on, ConfigError for an unknown table, AwsError; after a
    failure the next run goes on as well.
    """
    _ensure_askable(site, wanted)
    now_us = site.now_us()
    ends_us = now_us + int(site.time_left_s() * 1e6) + CLAIM_SPARE_US
    site.memory.claim(now_us, ends_us)
    try:
        build = _Build(site, landings, wanted)
        done = build.run(on_step)
        if done.finished and build.then is not None:
            return _Build(site, landings, build.then).run(on_step)
        return done
    finally:
        site.memory.release()


def _ensure_askable(site: Site, wanted: Wanted) -> None:
    selected(site.lake.models, wanted.select)
    for day in (wanted.since, wanted.until):
        try:
            if day:
                date.fromisoformat(day)
        except ValueError:
            raise ConfigError(f"{day!r} is not a day; wanted YYYY-MM-DD") from None


def plan_on(site: Site, landings: Landings, wanted: Wanted) -> list[Step]:
    """What a build would do, as far as that is known before anything is read."""
    build = _Build(site, landings, wanted, dry=True)
    return build.plan()


def _wanted(asked: Asked) -> Wanted:
    return Wanted(asked.full, tuple(asked.select), asked.since, asked.until)


def asked_of(wanted: Wanted) -> Asked:
    """What is wanted, as it is remembered."""
    return Asked(wanted.full, list(wanted.select), wanted.since, wanted.until)


class _Build:
    """One run of a build."""

    def __init__(
        self, site: Site, landings: Landings, wanted: Wanted, *, dry: bool = False
    ) -> None:
        self._site, self._landings, self._dry = site, landings, dry
        self._models = site.lake.models
        self._states = site.memory.tables()
        left = None if dry else site.memory.open_build()
        if left is not None and self._is_stale(left):
            # What it staged is taken away with what this one stages.
            staged = {f"{STAGED}{left.number}:{k}": v for k, v in left.started.items()}
            self._open = self._begin(wanted)
            self._open.started = {k: v for k, v in staged.items() if v.startswith("staged_")}
        else:
            self._open = left or self._begin(wanted)
        self._wanted = _wanted(self._open.asked)
        if wanted not in (Wanted(), self._wanted):
            self._open.then = asked_of(wanted)
        self._chosen = selected(self._models, self._wanted.select)
        self._statements = Statements(site, self._open)
        self._first_days: dict[str, str] = {}

    def _is_stale(self, left: OpenBuild) -> bool:
        """Whether a build that isn't done is too old to go on with: its tables or queries may be
        unknown by now.
        """
        unknown = {name.removesuffix("+") for name in left.asked.select} - self._models.keys()
        return bool(unknown) or self._site.now_us() - left.began_us > STALE_US

    def _begin(self, wanted: Wanted) -> OpenBuild:
        last = self._site.memory.last()
        now_us = self._site.now_us()
        arrived = {}
        for table in [*(f"bronze_{topic}" for topic in TALLIED), ARCHIVE]:
            known = {p for state in self._states.values() for p in _landed(state, table)}
            also = self._watched(known, now_us) if table == ARCHIVE else ()
            arrived[table] = self._landings.look(table, known, now_us, also)
        return OpenBuild(
            number=(last.build if last else 0) + 1,
            began_us=now_us,
            asked=asked_of(wanted),
            arrived=arrived,
        )

    def _watched(self, known: set[str], now_us: int) -> set[str]:
        """The days of the archive that may have got offers of late."""
        states = [self._states[name] for name in WATCHED if name in self._states]
        changes = [c for s in states for c in s.changes if c.at_us > now_us - WATCHED_US]
        if any(change.days is None for change in changes):
            return known
        days = {date.fromisoformat(day) for change in changes for day in change.days or ()}
        # A timer may fire a day or two after the event that set it.
        return {(day + timedelta(days=n)).isoformat() for day in days for n in range(3)}

    @property
    def then(self) -> Wanted | None:
        """What was asked for while this build was under way."""
        return None if self._open.then is None else _wanted(self._open.then)

    def plan(self) -> list[Step]:
        """The steps as they are known beforehand."""
        steps: dict[str, Step] = {}
        for name, model in self._models.items():
            if name in self._chosen and (step := self._step(model, steps.keys())):
                steps[name] = step
        return list(steps.values())

    def run(self, on_step: Callable[[Step, int, int], None]) -> Result:
        began = time.monotonic()
        report = BuildReport(build=self._open.number)
        finished = True
        try:
            for n, (name, model) in enumerate(self._models.items(), 1):
                if name in self._open.done or name not in self._chosen:
                    continue
                step = self._step(model, self._held_back())
                if step is not None:
                    on_step(step, n, len(self._models))
                    report.steps.append(step)
                self._open.done[name] = self._table(model, step) if step is not None else None
            self._statements.tidy()
            self._tend()
        except NotInTime:
            finished = False
        report.tables = [built for built in self._open.done.values() if built is not None]
        report.seconds = round(time.monotonic() - began, 3)
        if finished:
            self._end(report)
        else:
            self._site.memory.keep_open(self._open)
        return Result(finished=finished, report=report)

    def _end(self, report: BuildReport) -> None:
        at = datetime.fromtimestamp(self._site.now_us() / 1e6, UTC)
        if not report.tables:
            report.build = 0
            # Nothing was built: the number is free for the next. That it was looked is news.
            last = self._site.memory.last() or LastBuild(build=0, built_at=at, failed=[])
            self._site.memory.end(msgspec.structs.replace(last, built_at=at))
            return
        failed = [b.table for b in report.tables if b.failures or b.kept_back]
        number = self._open.number
        self._site.memory.end(
            LastBuild(build=number, built_at=at, failed=failed, tables=report.tables)
        )

    def _tend(self) -> None:
        """Put small files together in tables that were published often; each publish leaves some.

        What Athena can't do now, it is asked again after the next build.
        """
        for name, state in self._states.items():
            since = [change for change in state.changes if change.build > state.tended]
            model = self._models.get(name)
            if model is None or len(since) < TEND_AFTER:
                continue
            days = union(change.days for change in since)
            first = min(days, default="") if days and model.partition else ""
            with suppress(QueryFailed):
                self._statements.run(sql.optimize(model, self._site.database, first))
                self._statements.run(sql.vacuum(self._site.database, name))
                state.tended = state.build
                self._site.memory.keep(name, state)

    # --- one table ----------------------------------------------------------------------------

    def _held_back(self) -> list[str]:
        """The tables that should have changed in this build and didn't."""
        done = self._open.done.items()
        return [name for name, b in done if b is not None and (b.failures or b.kept_back)]

    def _step(self, model: CompiledModel, made: Collection[str]) -> Step | None:
        """What is to be done; `made` are tables that are still to change."""
        state = self._states.get(model.name)
        new = self._new(model, state)
        parts = sum(map(len, new.values()))
        step = partial(Step, model.name, files=parts)
        if self._wanted.full or state is None or state.model != model.fingerprint:
            full = self._wanted.full
            why = "asked for in full" if full else "not built by this model yet"
            return step(mode="full", days=[], why=why)
        changing = [name for name in model.reads if name in made]
        will = f"{', '.join(changing)} will change"
        pending = union(self._pending(model, state))
        if self._wanted.ranged and model.build in ("merge", "arrivals"):
            return step(mode="days", days=[], why="asked for from bronze")
        if model.build in ("merge", "arrivals"):
            why = counted(parts, "new partitions")
            return step(mode="days", days=[], why=why) if parts else None
        if model.build == "whole":
            asked = self._wanted.ranged and bool(self._wanted.select)
            if changing or asked or pending is None or pending:
                return step(mode="whole", days=[], why=will if changing else _CHANGED)
            return None
        if self._wanted.ranged:
            if self._dry:
                return step(mode="days", days=[], why="asked for")  # which, takes a query
            within = self._within(model)
            pending = None if pending is None else pending | within
        if pending is None:
            return step(mode="full", days=[], why=_CHANGED)
        if not pending and not changing:
            return None
        return step(mode="days", days=sorted(pending), why=will if changing else _CHANGED)

    def _within(self, model: CompiledModel) -> frozenset[str]:
        """The days of the range that was asked for, as far as what the model reads has them."""
        found: set[str] = set()
        for name in model.reads:
            column = self._models[name].partition
            rows = self._statements.ask(sql.days_in(self._site.database, name, column))
            found |= {row["day"] or "" for row in rows}
        return frozenset(day for day in found if day and self._wanted.holds(day))

    def _pending(self, model: CompiledModel, state: TableState) -> Iterable[Days]:
        for name in model.reads:
            upstream = self._states.get(name)
            if name in self._models and upstream is not None:
                changed = upstream.changed_since(state.upstream.get(name, 0))
                yield grown(changed, model.reach.get(name, 0))

    def _new(self, model: CompiledModel, state: TableState | None) -> dict[str, frozenset[str]]:
        """By table of lines, the partitions that the model has not read as they now are."""
        found = {}
        for table in self._tables_read(model):
            landed = _landed(state, table) if state else {}
            found[table] = new_partitions(self._open.arrived[table], landed)
        return found

    def _tables_read(self, model: CompiledModel) -> list[str]:
        if model.build == "arrivals":
            return [f"bronze_{topic}" for topic in TALLIED]
        return [self._site.lake.sources[model.source].landed] if model.source else []

    def _table(self, model: CompiledModel, step: Step) -> Built:
        began = time.monotonic()
        built = Built(table=model.name, mode=step.mode)
        if kept := sorted({*self._held_back()} & {*model.reads}):
            built.kept_back = ", ".join(kept)
            return built
        state = self._states.get(model.name)
        upstream = {name: self._states[name].build for name in model.reads if name in self._states}
        work = TableBuild(
            self._site,
            self._statements,
            model,
            state,
            step,
            self._wanted,
            self._new(model, state),
            self._first_day,
        )
        made = work.make()
        self._keep(model, state or TableState(), made, upstream)
        self._statements.tidy()
        built.failures = [str(failure) for failure in made.failures]
        built.rows = made.staged
        built.days = len(made.days or ())
        built.seconds = round(time.monotonic() - began, 3)
        return built

    def _keep(
        self, model: CompiledModel, state: TableState, made: Made, upstream: dict[str, int]
    ) -> None:
        """Write down what the table has become; tell of tests that began to fail."""
        number, now_us = self._open.number, self._site.now_us()
        at = datetime.fromtimestamp(now_us / 1e6, UTC)
        begun = [failure for failure in made.failures if failure.key not in state.failing]
        if begun:
            self._site.alert(alert_of(model.name, begun, number, at))
        state.failing = [failure.key for failure in made.failures]
        if not made.failures:
            state.model = model.fingerprint
            state.built_at = at
            state.rows = made.rows
            state.upstream = upstream
            state.landed = self._read(model, state)
            if made.days is None or made.days or not model.partition:
                whole = made.days is None or not model.partition
                days = None if whole else sorted(made.days or ())
                state.changed(Change(number, now_us, days))
        self._states[model.name] = state
        self._site.memory.keep(model.name, state)

    def _read(self, model: CompiledModel, state: TableState) -> dict[str, str]:
        """What the table has now read of the partitions that it is made of."""
        found = {}
        for table in self._tables_read(model):
            landed = _landed(state, table) | self._open.arrived[table]
            for name, said in recent(landed, all_days=table == ARCHIVE).items():
                found[f"{table}|{name}"] = said
        return found

    def _first_day(self, table: str) -> str:
        if table not in self._first_days:
            self._first_days[table] = self._landings.first_day(table)
        return self._first_days[table]


_CHANGED = "what it is made of has changed"


def _landed(state: TableState, table: str) -> dict[str, str]:
    """What was seen of the partitions of one table of lines."""
    head = f"{table}|"
    return {
        name.removeprefix(head): said
        for name, said in state.landed.items()
        if name.startswith(head)
    }
