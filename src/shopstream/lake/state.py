"""The lake as a build finds it and as it comes to be: its tables, what is new for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from shopstream.errors import DataDirError
from shopstream.lake.bind import day_of, source_sql
from shopstream.lake.catalog import (
    checkpoint_of,
    days_since,
    lake_folder,
    open_anew,
    open_catalog,
    open_table,
    planned,
    pointers,
)
from shopstream.lake.current import Current, TableNow, read_current, write_current
from shopstream.lake.damage import TableFailed, blaming, damaged_metadata, remedy
from shopstream.lake.files import DataFile, is_whole
from shopstream.lake.fingerprint import fingerprint
from shopstream.lake.inputs import Inputs, New
from shopstream.lake.model import Model, Source, load_models, load_sources
from shopstream.lake.plan import NO_DAYS, Days, Standing, Step, Wanted, grown, plan, union
from shopstream.lake.repoint import is_older
from shopstream.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table


class LakeState:
    """`tables` are the published ones by name, `changed` the days written anew in this build,
    `recorded` the data files that were remembered when it began.
    """

    def __init__(self, settings: Settings, inputs: Inputs) -> None:
        self.models: Mapping[str, Model] = load_models()
        self.sources: Mapping[str, Source] = load_sources()
        self.folder = lake_folder(settings.data_dir)
        self._settings = settings
        self._inputs = inputs
        self._catalog: Catalog | None = None
        try:
            self.current = read_current(settings.data_dir)
        except DataDirError:
            self.current = Current(build=0, built_at=datetime.now(UTC), tables={})
        self.pending: dict[str, Days] = {}
        self.changed: dict[str, Days] = {}
        self.recorded: Mapping[str, DataFile] = {}
        self._new: dict[str, New] = {}
        self._hurt: dict[str, TableFailed] = {}
        self.tables = self._published()

    def _published(self) -> dict[str, TableNow]:
        """The tables as the catalog has them; it is asked only where it has moved on. Of one that
        it can't give any more readers keep what they have.
        """
        found = {}
        named = pointers(self._settings.data_dir)
        for name in self.models:
            try:
                now = self._now(name, named.get(name))
            except TableFailed as e:
                self._hurt[name] = e
                now = self.current.tables.get(name)
            if now is not None:
                found[name] = now
        return found

    def _now(self, name: str, pointer: str | None) -> TableNow | None:
        """A table as the catalog has it, None for one that nobody has made. Raises TableFailed."""
        known = self.current.tables.get(name)
        if known is not None and known.metadata == pointer:
            return known
        with blaming(name, self._settings.data_dir):
            now = self._found(name, known) if pointer else None
        if now is None and known is not None:
            # Bronze may not have its rows any more: it is made anew only if that is asked for.
            raise TableFailed(
                f"{self.folder / 'catalog.db'} does not lead to what readers read, and their"
                f" metadata ({known.metadata or 'unknown'}) is missing or not what was written:"
                f" {remedy(name)}",
                [],
            )
        return now

    def _found(self, name: str, known: TableNow | None) -> TableNow | None:
        table = open_table(self.catalog, self.models[name], self._settings.data_dir)
        snapshot = table.current_snapshot()
        if snapshot is None or (known and is_older(table, known)):
            return None
        files, rows = planned(table, self.folder)
        checkpoint = checkpoint_of(table)
        return TableNow(
            snapshot=snapshot.snapshot_id,
            files=files,
            rows=rows,
            metadata=table.metadata_location,
            landed=checkpoint.landed,
            upstream=checkpoint.upstream,
            model=checkpoint.model,
            built_at=datetime.fromtimestamp(snapshot.timestamp_ms / 1_000, UTC),
        )

    def open(self, name: str) -> Table:
        """The table, made when there is none. Raises TableFailed for one that can't be had."""
        if failed := self._hurt.get(name):
            raise failed
        return open_table(self.catalog, self.models[name], self._settings.data_dir)

    def open_anew(self, name: str) -> Table:
        return open_anew(self.catalog, self.models[name], self._settings.data_dir)

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            self._catalog = open_catalog(self._settings.data_dir)
        return self._catalog

    def is_hurt(self, name: str) -> bool:
        """Whether metadata of this table is damaged or lost. Reads all of it."""
        if name in self._hurt:
            return True
        pointer = pointers(self._settings.data_dir).get(name)
        return pointer is not None and bool(damaged_metadata(pointer, self.folder))

    def plan(self, wanted: Wanted) -> list[Step]:
        standing = {name: self._standing(model, wanted) for name, model in self.models.items()}
        return plan(self.models, standing, wanted)

    def _standing(self, model: Model, wanted: Wanted) -> Standing:
        now = self.tables.get(model.name)
        if now is not None and now.model != fingerprint(model, self.sources):
            now = None  # another version of the model made it: its days can't be mixed with ours
        again = wanted.full or now is None
        new = None
        for name in model.reads:
            if source := self.sources.get(name):
                new = self._new_of(model, source, now, wanted, again=again)
                self._new[model.name] = new
        pending = union(self._pending_of(model, now, name) for name in model.reads)
        if model.name in self._hurt:
            pending = None  # it is to be told of, and nothing can be said of its days
        self.pending[model.name] = pending
        if new is None:
            within = self._days_within(model, wanted) if wanted.ranged else NO_DAYS
            return Standing(now is not None, days=within, pending=pending)
        return Standing(now is not None, len(new.files), new.days, pending)

    def _days_within(self, model: Model, wanted: Wanted) -> frozenset[str]:
        """The days of a range that what `model` reads has."""
        files = [path for name in model.reads for path in self.files_of(name)]
        return frozenset(day for day in map(day_of, files) if day and wanted.holds(day))

    def _new_of(
        self, model: Model, source: Source, now: TableNow | None, wanted: Wanted, *, again: bool
    ) -> New:
        landed = now.landed if now else ""
        if wanted.ranged and not again and model.merge:
            return self._inputs.of_days(source, landed, wanted.since, wanted.until)
        return self._inputs.new(source, landed, again=again)

    def _pending_of(self, model: Model, now: TableNow | None, name: str) -> Days:
        """The days that are touched by what has changed in table `name` since `model` read it."""
        upstream = self.tables.get(name)
        if now is None or upstream is None or model.build == "merge":
            return NO_DAYS
        seen = now.upstream.get(name, 0)
        if seen == upstream.snapshot:
            return NO_DAYS
        try:
            with blaming(name, self._settings.data_dir):
                found = days_since(self.open(name), seen)
        except TableFailed:
            found = None
        return None if found is None else grown(frozenset(found), model.reach.get(name, 0))

    def rows_of_source(self, model: Model, source: Source, temp: Path) -> str:
        """The rows of a source that are new for `model`, as SQL. `temp` takes the tally."""
        if not source.tally:
            return source_sql(source, self._new[model.name].files)
        rows = [row._asdict() for row in self._inputs.tally()]
        path = temp / "tally.json"
        path.write_bytes(msgspec.json.Encoder().encode_lines(rows))
        return source_sql(source, [path] if rows else [])

    def days_new(self, name: str) -> frozenset[str]:
        """The days of the landed files that table `name` is to read; none if it reads no such."""
        return self._new[name].days if name in self._new else NO_DAYS

    def leave_out_spoilt(self, model: Model, wanted: Wanted) -> Path | None:
        """Leave out landed files that the table can't read where that loses no row of it, or is
        wanted; one that it is to read nonetheless.

        Of those that it has read before it keeps its own rows. Where the log has them still it
        waits: made anew, they may say more than it has kept.
        """
        if model.name not in self._new:
            return None
        new, now = self._new[model.name], self.tables.get(model.name)
        kept = now.landed if now and not wanted.alone else ""
        spoilt = self._inputs.spoilt(new.files)
        out = {p for p in spoilt if wanted.anyway or self._inputs.only_read(p, kept)}
        if out:
            left = [path for path in new.files if path not in out]
            self._new[model.name] = new._replace(files=left)
        return next((path for path in spoilt if path not in out), None)

    def files_of(self, name: str) -> list[Path]:
        """The data files of a published table; none of one that isn't."""
        now = self.tables.get(name)
        return [self.folder / file for file in now.files] if now else []

    def damaged(self, paths: Iterable[Path]) -> Path | None:
        """One of these data files that is not there or not what was written."""
        for path in paths:
            known = self.recorded.get(path.relative_to(self.folder).as_posix())
            if known is not None and not is_whole(path, known.sha256):
                return path
        return None

    def landed_of(self, name: str) -> str:
        """How far the table has read its source once this build is done."""
        return self._new[name].landed if name in self._new else ""

    def committed(self, name: str, now: TableNow, changed: Days) -> None:
        """Take note of what a table has become."""
        self.tables[name] = structs.replace(now, built_at=datetime.now(UTC))
        self.changed[name] = changed

    @property
    def behind(self) -> bool:
        """Whether readers see less than the catalog has: a build was killed before it published."""
        return self.tables != self.current.tables and bool(self.tables)

    def publish(self, build: int) -> None:
        """Have readers see the tables as they are now."""
        current = Current(build=build, built_at=datetime.now(UTC), tables=self.tables)
        write_current(self._settings.data_dir, current)
