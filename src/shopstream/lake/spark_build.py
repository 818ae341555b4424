"""A run of the Spark job: what has landed since each table was last written goes through its model,
is audited, and is published; then what is made of it, in order.

A table that fails its tests keeps what it had, and so does what is made of it. What the job knows
from one run to the next is in the tables' own snapshots (`spark_history.py`). One job at a time.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from typing import NamedTuple

from shopstream.lake.model import Model, Source, load_models, load_sources
from shopstream.lake.plan import NO_DAYS, Days, Mode, Wanted, grown, selected, union
from shopstream.lake.quality import TestFailure
from shopstream.lake.report import Built
from shopstream.lake.spark_history import (
    Checkpoint,
    History,
    days_of_offers,
    new_folders,
    remembered,
)
from shopstream.lake.spark_table import Site, TableBuild, Work, forget_old, message_of

WATCHED = ("silver_clicks", "silver_carts", "silver_order_lines")
"""Their events make offers; so the days in which they changed are looked into in the archive."""
WATCHED_DAYS = timedelta(days=2)


class _Found(NamedTuple):
    """What there is in the folders that were looked into, those to be read, and whether there is
    anything in them that wasn't read before.
    """

    arrived: dict[str, str]
    read: frozenset[str]
    news: bool


class Run:
    """One run: `tables` are the histories of tables, those written in this run as they now are."""

    def __init__(self, site: Site, wanted: Wanted, *, tally: bool) -> None:
        self._site, self._wanted = site, wanted
        self._models, self._sources = load_models(), load_sources()
        self._chosen = selected(self._models, wanted.select)
        if not tally:
            self._chosen -= {m.name for m in self._models.values() if "bronze_tally" in m.reads}
        self._tables: dict[str, History] = {}
        self._held_back: set[str] = set()

    def tables(self) -> Iterator[Built]:
        """Do it; yields what becomes of each table that there is something to do for."""
        for name, model in self._models.items():
            if name not in self._chosen:
                continue
            began = time.monotonic()
            built = self._built(model)
            if built is not None:
                built.seconds = round(time.monotonic() - began, 2)
                if built.failures or built.kept_back:
                    self._held_back.add(name)
                yield built

    def _built(self, model: Model) -> Built | None:
        if kept := sorted(self._held_back & {*model.reads}):
            return Built(table=model.name, mode="", kept_back=", ".join(kept))
        mode = ""
        try:
            work = self._work(model)
            if work is None:
                return None
            mode = work.mode
            made = TableBuild(self._site, model, self._source(model), work).make()
        except _spark_errors() as e:
            failure = TestFailure(model.name, "build", "", 0, {}, message_of(e))
            return Built(table=model.name, mode=mode, failures=[str(failure)])
        if not made.failures:
            self._tables.pop(model.name, None)
            with suppress(*_spark_errors()):  # what can't be done now is tried by the next run
                forget_old(self._site, model.name, self._history(model.name))
        return Built(
            table=model.name,
            mode=mode,
            days=len(made.days or ()),
            rows=made.rows,
            failures=[str(failure) for failure in made.failures],
        )

    def _history(self, name: str) -> History:
        if name not in self._tables:
            self._tables[name] = self._site.history(name)
        return self._tables[name]

    # --- what is to be done -------------------------------------------------------------------

    def _work(self, model: Model) -> Work | None:
        """None when there is nothing to do."""
        now = self._history(model.name).checkpoint
        fingerprint = self._site.lake.models[model.name].fingerprint
        remade = now is None or now.model != fingerprint
        full = remade or self._wanted.full
        landed = now.landed if now else {}
        found = self._found(model, landed, full=full)
        days = NO_DAYS if full or now is None else self._days(model, now)
        mode = self._mode(model, full=full, days=days, news=found.news)
        if mode is None:
            return None
        seen = landed if self._wanted.ranged and not full else landed | found.arrived
        source = self._source(model)
        checkpoint = Checkpoint(
            model=fingerprint,
            landed=remembered(seen, all_days=source is not None and not source.topic),
            upstream={n: self._history(n).current for n in model.reads if n in self._models},
        )
        return Work(mode, found.read, days or NO_DAYS, self._wanted, checkpoint, remade)

    def _mode(self, model: Model, *, full: bool, days: Days, news: bool) -> Mode | None:
        if full or (days is None and model.build == "days"):
            return "full"
        if model.build == "merge":
            return "days" if news else None
        if model.build == "whole":
            asked = self._wanted.ranged and self._wanted.select
            return "whole" if asked or days is None or days or news else None
        return "days" if days else None

    def _days(self, model: Model, now: Checkpoint) -> Days:
        """The days that changed in the tables that the model reads since it read them, and those
        of a range that was asked for.
        """
        if model.build == "merge":
            return NO_DAYS
        reads = [name for name in model.reads if name in self._models]
        since = union(
            grown(self._history(n).days_since(now.upstream.get(n, 0)), model.reach.get(n, 0))
            for n in reads
        )
        if since is None or not self._wanted.ranged or model.build != "days":
            return since
        return since | {
            day for name in reads for day in self._site.days_of(name) if self._wanted.holds(day)
        }

    def _source(self, model: Model) -> Source | None:
        """What the model reads of what has landed; no model reads two."""
        return next((self._sources[n] for n in model.reads if n in self._sources), None)

    def _found(self, model: Model, landed: dict[str, str], *, full: bool) -> _Found:
        source, look = self._source(model), self._site.landed.look
        if source is None:
            return _Found({}, NO_DAYS, news=False)
        if source.tally or full:
            arrived = look(source)
            return _Found(arrived, frozenset(arrived), news=arrived != landed)
        if self._wanted.ranged:
            since = self._first_arrival() if source.topic else self._wanted.since
            read = frozenset(name for name in look(source) if name[:10] >= since)
            return _Found({}, read, news=bool(read))
        arrived = look(source, landed, self._watched(landed) if source.archive else ())
        new = new_folders(arrived, landed)
        return _Found(arrived, new, news=bool(new))

    def _first_arrival(self) -> str:
        """The first day on which what happened in the range can have arrived: no clock is more
        than minutes ahead.
        """
        if not self._wanted.since:
            return ""
        return (date.fromisoformat(self._wanted.since) - timedelta(days=1)).isoformat()

    def _watched(self, known: dict[str, str]) -> frozenset[str]:
        """The days of the archive that may have got offers of late."""
        histories = [self._history(name) for name in WATCHED]
        newest = max((h.at for h in histories if h.at), default=None)
        if newest is None:
            return frozenset(known)
        return days_of_offers([h.days_after(newest - WATCHED_DAYS) for h in histories], known)


def nothing_landed(site: Site) -> bool:
    """Whether there is nothing to build of, as on the first day."""
    return not site.landed.anything([*load_sources().values()])


def _spark_errors() -> tuple[type[Exception], ...]:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    return (PySparkException, Py4JError)
