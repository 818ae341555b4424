"""One table in one build on Athena: its rows staged, audited, then published or left as they were.

Everything here is done again without harm: statements that were started are known by their text,
and rows that are published twice replace themselves.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from shopstream.aws.athena import NotInTime, QueryFailed
from shopstream.lake import statements as sql
from shopstream.lake.audit_answer import failures_in, rows_after
from shopstream.lake.compiled import CompiledLake, CompiledModel, hash_of
from shopstream.lake.plan import NO_DAYS, Days, Step, Wanted, grown
from shopstream.lake.quality import TestFailure

if TYPE_CHECKING:
    from shopstream.aws.athena import Row
    from shopstream.aws.build_memory import BuildMemory, OpenBuild, TableState
    from shopstream.events import Alert

TRIES_MAX = 3
ROOM_S = 20.0
"""What has to be left of the time to write down how far a build has come."""
STAGED = "staged:"
"""Before what was staged, among the things that a build has started."""


class Queries(Protocol):
    """What a build needs of Athena."""

    def start(self, sql: str) -> str: ...
    def wait(self, query: str, wait_s: float) -> object: ...
    def rows(self, query: str) -> list[Row]: ...


class Site(NamedTuple):
    """Where a build goes on: `warehouse` is the folder of the tables, a URL without a slash."""

    queries: Queries
    database: str
    warehouse: str
    memory: BuildMemory
    lake: CompiledLake
    alert: Callable[[Alert], None]
    now_us: Callable[[], int]
    time_left_s: Callable[[], float]


class Statements:
    """Runs the statements of one build, none twice."""

    def __init__(self, site: Site, build: OpenBuild) -> None:
        self._site = site
        self._build = build

    def run(self, text: str, tries: int = TRIES_MAX) -> str:
        """Run a statement to its end and return the query's id. Raises QueryFailed, NotInTime."""
        key = hash_of(text)
        for n in range(1, tries + 1):
            query = self._build.started.get(key) or self._start(key, text)
            try:
                self._site.queries.wait(query, self._site.time_left_s() - ROOM_S)
            except QueryFailed as e:
                self._forget(key)
                if not e.again or n == tries:
                    raise
            else:
                return query
        raise AssertionError

    def ask(self, text: str) -> list[Row]:
        """The rows of a query; raises the same."""
        return self._site.queries.rows(self.run(text))

    def stage(self, name: str, query: str) -> str:
        """Put what `query` gives into a table of its own; returns its name."""
        key = f"{STAGED}{name}"
        for n in range(1, TRIES_MAX + 1):
            table = self._build.started.get(key, "")
            if not table:
                # A name of its own: a try that failed may have left files behind.
                token = f"{random.getrandbits(32):08x}"  # it only has to be new
                table = f"staged_{self._build.number}_{name}_{token}"
                self._remember(key, table)
            place = f"{self._site.warehouse}/staged/{table}/"
            try:
                self.run(sql.stage(self._site.database, table, place, query), tries=1)
            except QueryFailed as e:
                self._forget(key)
                if not e.again or n == TRIES_MAX:
                    raise
            else:
                return table
        raise AssertionError

    def tidy(self) -> None:
        """Take away all that was staged; what can't be is left to the bucket's lifecycle."""
        for key, table in list(self._build.started.items()):
            if key.startswith(STAGED):
                with suppress(QueryFailed):
                    self.run(sql.drop(self._site.database, table))

    def _start(self, key: str, text: str) -> str:
        if self._site.time_left_s() < 2 * ROOM_S:
            raise NotInTime
        query = self._site.queries.start(text)
        self._remember(key, query)
        return query

    def _remember(self, key: str, value: str) -> None:
        self._build.started[key] = value
        self._site.memory.keep_open(self._build)

    def _forget(self, key: str) -> None:
        self._build.started.pop(key, None)
        self._site.memory.keep_open(self._build)


class Made(NamedTuple):
    """What became of a table: `days` that were written anew (None: all), the rows in them and in
    the table; or what its tests found.
    """

    failures: list[TestFailure]
    days: Days = NO_DAYS
    staged: int = 0
    rows: int = 0


class TableBuild:
    """`new` are the partitions to read of what has landed, by table of lines; `first` the first day
    that each has.
    """

    def __init__(
        self,
        site: Site,
        statements: Statements,
        model: CompiledModel,
        state: TableState | None,
        step: Step,
        wanted: Wanted,
        new: dict[str, frozenset[str]],
        first: Callable[[str], str],
    ) -> None:
        self._site, self._run, self._model, self._state = site, statements, model, state
        self._step, self._wanted, self._new, self._first = step, wanted, new, first
        self._full = step.mode == "full"
        self._db = site.database

    def make(self) -> Made:
        """Stage, audit, publish, tidy up. Raises NotInTime when it has to go on another time."""
        try:
            self._ensure_table()
            return self._made()
        except QueryFailed as e:
            return Made([self._failure(str(e))])

    def _made(self) -> Made:
        days, ctes, query = self._inputs()
        if days is not None and not days:
            return Made([], rows=self._state.rows if self._state else 0)
        rows = self._stage("rows", query)
        said, failures = self._audit(rows, ctes, days)
        if failures:
            return Made(failures)
        written = self._publish(rows, days)
        staged = int(said["staged_count"] or 0)
        return Made([], None if self._full else written, staged, rows_after(said))

    # --- what the model reads -----------------------------------------------------------------

    def _inputs(self) -> tuple[Days, dict[str, str], str]:
        """The days to write (None: all), what the model's names stand for, and its rows."""
        model = self._model
        if model.build == "arrivals":
            days, query = self._arrivals()
            return days, {}, query
        if model.build == "merge":
            days, ctes = self._merge()
        else:
            days = None if self._full or model.build == "whole" else frozenset(self._step.days)
            ctes = {}
            for name in model.reads:
                read = self._site.lake.models[name]
                near = grown(days, model.reach.get(name, 0))
                where = sql.in_days(read.partition, near) if near is not None else "TRUE"
                ctes[name] = sql.rows_in(sql.named(self._db, name), where)
        if days is not None and not days:
            return days, ctes, ""
        return days, ctes, sql.rows_of(model, ctes, days if model.partition else None)

    def _arrivals(self) -> tuple[Days, str]:
        if self._full:
            first = min(filter(None, map(self._first, self._new)), default="")
            return None, sql.arrivals(self._model, self._db, _since(first))
        days = frozenset(name[:10] for found in self._new.values() for name in found)
        if self._wanted.ranged:
            days |= frozenset(self._range_days())
        return days, sql.arrivals(self._model, self._db, sql.in_partitions(days))

    def _range_days(self) -> Iterable[str]:
        """The days in the range that was asked for, on which anything arrived."""
        within = sql.between("dt", self._wanted.since, self._wanted.until)
        for row in self._run.ask(sql.days_of_arrival(self._db, self._new, within)):
            yield row["day"] or ""

    def _merge(self) -> tuple[Days, dict[str, str]]:
        model = self._model
        source = self._site.lake.sources[model.source]
        again = self._full or self._wanted.ranged
        landed = sql.landed_rows(source, self._db, self._where(source.landed))
        if self._wanted.ranged and not self._full:
            day = f'CAST(CAST("{source.at}" AS DATE) AS VARCHAR)'
            within = sql.between(day, self._wanted.since, self._wanted.until)
            landed = sql.rows_in(f"(\n{landed}\n) AS landed", within)
            if fresh := self._new.get(source.landed):
                # What is new counts as read afterwards, so all of it is taken in.
                rest = sql.landed_rows(source, self._db, sql.in_partitions(fresh))
                others = sql.rows_in(f"(\n{rest}\n) AS landed", f"NOT ({within})")
                landed = f"{landed}\nUNION ALL\n{others}"
        new = self._stage("new", landed)
        days: Days = None
        own = "TRUE"
        if not self._full:
            days = frozenset(self._days(sql.days_in(self._db, new, source.at)))
            if model.keys:
                days |= frozenset(self._days(sql.days_sharing(model, self._db, new, days)))
                own = sql.own_with_keys(model, self._db, new, days)
            else:
                own = sql.in_days(model.partition, days)
        rows = sql.merged(model, source, self._db, new, own, again=again)
        if again:
            # The model reads it several times over, and to compare all rows costs the most.
            rows = sql.rows_in(sql.named(self._db, self._stage("read", rows)), "TRUE")
        return days, {model.source: rows}

    def _where(self, landed: str) -> str:
        if self._full:
            return _since(self._first(landed))
        if self._wanted.ranged:
            first = self._first(landed)
            if first and self._wanted.since:
                # It can't have arrived before it happened, but for a clock that is minutes ahead.
                day = date.fromisoformat(self._wanted.since) - timedelta(days=1)
                first = max(first, day.isoformat())
            return _since(first)
        return sql.in_partitions(self._new.get(landed, frozenset()))

    def _days(self, query: str) -> list[str]:
        return [row["day"] for row in self._run.ask(query) if row["day"]]

    # --- write --------------------------------------------------------------------------------

    def _ensure_table(self) -> None:
        """Make the table, or give it the columns that its model has gained."""
        model, state = self._model, self._state
        if state is not None and state.model == model.fingerprint:
            return
        place = f"{self._site.warehouse}/{model.name}/"
        self._run.run(sql.create_table(model, self._db, model.name, place))
        rows = self._run.ask(sql.columns_of(self._db, model.name))
        there = {row["column_name"] for row in rows}
        if missing := [name for name in model.types if name not in there]:
            self._run.run(sql.add_columns(model, self._db, model.name, missing))

    def _stage(self, what: str, query: str) -> str:
        return self._run.stage(f"{self._model.name}_{what}", query)

    def _publish(self, staged: str, days: Days) -> frozenset[str]:
        """Replace these days, at most so many at once as Athena writes; returns them."""
        model = self._model
        if not model.partition:
            self._run.run(sql.publish(model, self._db, staged, None))
            return NO_DAYS
        if days is None:
            days = frozenset(
                [
                    *self._days(sql.days_in(self._db, staged, model.partition)),
                    *self._days(sql.days_in(self._db, model.name, model.partition)),
                ]
            )
        for some in _chunks(days):
            self._run.run(sql.publish(model, self._db, staged, some))
        return days

    # --- audit --------------------------------------------------------------------------------

    def _audit(
        self, staged: str, ctes: dict[str, str], days: Days
    ) -> tuple[Row, list[TestFailure]]:
        model = self._model
        counted = self._state is not None and self._state.build > 0
        of = days if model.partition else None
        query = sql.audit_query(model, self._db, staged, ctes, of, counted=counted)
        answer = self._run.ask(query)
        if not answer:
            raise QueryFailed("its tests gave no answer")  # which no query without rows can mean

        def ask(example: str) -> list[Row]:
            return self._run.ask(sql.example_query(example, self._db, staged, ctes))

        return answer[0], failures_in(model, answer[0], ask, counted=counted and not self._full)

    def _failure(self, message: str) -> TestFailure:
        return TestFailure(self._model.name, "build", "", 0, {}, message[:1_000])


def _since(day: str) -> str:
    """The condition on lines that they arrived from a day on; none did where there is no day."""
    return f"dt >= {sql.literal(day)}" if day else "FALSE"


def _chunks(days: Collection[str]) -> Iterable[frozenset[str]]:
    ordered = sorted(days)
    for n in range(0, len(ordered), sql.DAYS_AT_ONCE_MAX):
        yield frozenset(ordered[n : n + sql.DAYS_AT_ONCE_MAX])
