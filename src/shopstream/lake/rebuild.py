"""Make a table anew from bronze, and put its damaged files aside."""

import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
from msgspec import Struct

from shopstream.engine import Engine, open_engine
from shopstream.errors import ConfigError, DataDirError
from shopstream.lake.bind import day_of, source_sql
from shopstream.lake.build import build
from shopstream.lake.catalog import pointers
from shopstream.lake.compare import lost_to_bronze
from shopstream.lake.current import TableNow, read_current, sync_path
from shopstream.lake.damage import damaged_metadata
from shopstream.lake.duck import connect_duck
from shopstream.lake.files import TEMP, damaged
from shopstream.lake.inputs import Inputs, New
from shopstream.lake.model import Source, load_models, load_sources
from shopstream.lake.plan import Step, Wanted, selected
from shopstream.lake.report import BuildReport
from shopstream.settings import Settings
from shopstream.stages import land

DAMAGED = "damaged"


class Rebuilt(Struct):
    """What `rebuild` did. `isolated` are the damaged files, as they are called in `lake/` now."""

    isolated: list[str]
    build: BuildReport


def rebuild(
    settings: Settings,
    table: str,
    *,
    anyway: bool = False,
    on_step: Callable[[Step, int, int], None] = lambda *_: None,
) -> Rebuilt:
    """Build `table` and all that is made of it from bronze alone, and publish that.

    Files of the tables that were not what had been written, or not there, are put aside once
    nothing is made of them; a table whose metadata is damaged gets another.

    Raises ConfigError for an unknown table, and where bronze or the archive of offers expires, or
    no longer has what is in the tables (it can't be made again), unless `anyway`; Busy when a build
    goes on; DataDirError when the lake can't be used.
    """
    models = load_models()
    if table not in models:
        raise ConfigError(
            f"TABLE {table}: there is no such table to build anew; there are {', '.join(models)}"
        )
    if settings.bronze_ttl and not anyway:
        raise ConfigError(
            f"setting bronze_ttl: bronze expires, so {table} may hold what can't be built again;"
            " with --anyway it is built from what bronze there is"
        )
    engine = open_engine(settings, create=False)
    land(settings)  # an older copy of landed.db learns what else bronze has
    if not anyway:
        _refuse_to_lose(engine, selected(models, [f"{table}+"]))
    before, of_metadata = _damaged(engine), _damaged_metadata(engine)
    wanted = Wanted(full=True, select=(f"{table}+",), alone=True, anyway=anyway)
    report = build(settings, wanted, on_step=on_step)
    shown = {file for now in read_current(engine.dir.root).tables.values() for file in now.files}
    lake = engine.dir.root / "lake"
    unneeded = [name for name in before if name not in shown]
    if of_metadata:
        unneeded += sorted(of_metadata - _damaged_metadata(engine))
    aside = [_isolate(lake, name) for name in unneeded if (lake / name).exists()]
    return Rebuilt(isolated=aside, build=report)


def _refuse_to_lose(engine: Engine, names: Collection[str]) -> None:
    """Raises ConfigError when one of these tables holds what its source doesn't have any more."""
    try:
        current = read_current(engine.dir.root)
    except DataDirError:
        return
    models, sources = load_models(), load_sources()
    spoilt = set(_damaged(engine))
    with closing(Inputs(engine, time.time_ns() // 1_000)) as inputs:
        for name in sorted(names):
            now = current.tables.get(name)
            for read in models[name].reads:
                if now is not None and (source := sources.get(read)):
                    held = inputs.new(source, "", again=True)
                    _refuse(name, now, source, held)
                    if source.topic and not inputs.spoilt(held.files):
                        whole = [file for file in now.files if file not in spoilt]
                        _refuse_rows(engine, name, source.topic, whole, held)


def _refuse_rows(engine: Engine, name: str, topic: str, files: Sequence[str], held: New) -> None:
    """The same of a table's rows, as far as its data `files` are whole."""
    lake = engine.dir.root / "lake"
    temp = lake / TEMP / f"rebuild-{uuid.uuid4().hex[:8]}"
    try:
        with connect_duck(engine.settings.build_memory, temp) as con:
            shown = [str(lake / file) for file in files]
            lost = lost_to_bronze(con, name, [str(path) for path in held.files], shown)
    except duckdb.OutOfMemoryException:
        raise ConfigError(
            f"setting build_memory: too little to see whether bronze still has all of {name};"
            " raise it, or rebuild with --anyway, which gives up what bronze has no more"
        ) from None
    if lost:
        raise ConfigError(
            f"{name} has {lost:,} {topic} of which bronze has nothing any more: they can't be built"
            " again; with --anyway they are given up"
        )


def _refuse(name: str, now: TableNow, source: Source, held: New) -> None:
    if source.archive:
        there = _offers_of(source, held.files)
        if there < now.rows:
            raise ConfigError(
                f"{name} has {now.rows:,} offers and the archive only {there:,} of them"
                " (setting archive_ttl): the others can't be built again; with --anyway they are"
                " given up"
            )
    elif source.topic:
        days = {day for file in now.files if (day := day_of(Path(file)))}
        if lost := sorted(days - held.days):
            raise ConfigError(
                f"{name} has {len(lost):,} days, the first {lost[0]}, of which bronze has nothing"
                " any more: they can't be built again; with --anyway they are given up"
            )


def _offers_of(source: Source, files: Sequence[Path]) -> int:
    with duckdb.connect() as con:
        found = con.execute(f"SELECT count(DISTINCT offer_id) FROM ({source_sql(source, files)})")
        row = found.fetchone()
    return int(row[0]) if row else 0


def _damaged(engine: Engine) -> list[str]:
    try:
        current = read_current(engine.dir.root)
    except DataDirError:
        return []
    with engine.read_builds() as builds:
        recorded = builds.files()
    names = sorted({name for now in current.tables.values() for name in now.files})
    return damaged(engine.dir.root / "lake", names, recorded)


def _damaged_metadata(engine: Engine) -> set[str]:
    """The damaged metadata files that the catalog still leads to."""
    root = engine.dir.root
    lake = (root / "lake").resolve()
    found = (damaged_metadata(pointer, lake) for pointer in pointers(root).values())
    return {damage.file for each in found for damage in each}


def _isolate(lake: Path, name: str) -> str:
    """Its name now: nobody reads it there, and it can still be looked at. All data files of a build
    are called alike, so it keeps its folders.
    """
    aside = lake / DAMAGED / name
    aside.parent.mkdir(parents=True, exist_ok=True)
    (lake / name).replace(aside)
    for folder in (aside.parent, (lake / name).parent):
        sync_path(folder)
    return f"{DAMAGED}/{name}"
