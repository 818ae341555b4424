"""How far the published tables are behind what has landed, and that behind the log."""

import os
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from shopstream.engine import Engine
from shopstream.errors import DataDirError
from shopstream.heartbeats import read_heartbeats
from shopstream.lake.current import read_current
from shopstream.lake.inputs import ARCHIVE, Archived
from shopstream.lake.model import load_models, load_sources


class Lag(NamedTuple):
    """The published build, 0 for none. `events` are those landed, and offers made, that some table
    doesn't have which is made of them; every table has what is below `position` of the log.
    """

    build: int
    built_at: datetime | None
    events: int
    position: int


def not_landed(engine: Engine) -> int:
    """Events in the log that have not landed; those that will be rejected are among them."""
    log = engine.read_log()
    try:
        start, end = log.start(), log.end()
    finally:
        log.close()
    try:
        landed = engine.read_landed()
    except DataDirError:
        return max(0, end - start)  # nothing was ever landed here
    with landed:
        return max(0, end - max(start, landed.position()))


def lag_of(engine: Engine) -> Lag:
    """Raises DataDirError when the lake can't be read."""
    try:
        current = read_current(engine.dir.root)
    except DataDirError:
        if (engine.dir.root / "lake" / "current.json").exists():
            raise
        current = None
    build, built_at = (current.build, current.built_at) if current else (0, None)
    sources = load_sources()
    read: list[tuple[str, int]] = []
    offers = 0
    for model in load_models().values():
        now = current.tables.get(model.name) if current else None
        for source in (sources[name] for name in model.reads if name in sources):
            if source.archive:
                offers = max(offers, _filed(engine, now.landed if now else ""))
            elif source.topic:
                read.append((source.topic, int(now.landed or 0) if now else 0))
    offers += _unfiled(engine)
    try:
        landed = engine.read_landed()
    except DataDirError:
        return Lag(build, built_at, offers, 0)  # nothing was ever landed here
    with landed:
        until, position = landed.last(), landed.position()
        found = [file for topic, id in read for file in landed.unread(topic, id, until)]
    waiting = {file.id: file for file in found}.values()
    return Lag(
        build,
        built_at,
        sum(file.rows for file in waiting) + offers,
        min([position, *(file.first for file in waiting)]),
    )


def _unfiled(engine: Engine) -> int:
    """Offers that wait for their archive file, as the processors said it a second ago."""
    beats = read_heartbeats(engine.dir.run)
    processors = (beats.get(f"processor-{n}", {}) for n in range(engine.shards))
    return sum(max(0, int(beat.get("unfiled", 0))) for beat in processors)


def _filed(engine: Engine, landed: str) -> int:
    """Offers in archive files that came after a table had read it up to `landed`. Only folders
    changed since are looked into: those of a busy day hold thousands of files.
    """
    read = Archived.of(landed)
    archive = engine.dir.root / ARCHIVE
    offers = 0
    for folder in os.scandir(archive) if archive.is_dir() else ():
        try:
            if folder.stat().st_mtime_ns // 1_000 >= read.changed_us:
                for file in os.scandir(folder):
                    name = file.name
                    whole = name.endswith(".json") and not name.startswith(".")
                    if whole and not read.has(f"{folder.name}/{name}"):
                        offers += Path(file).read_bytes().count(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            continue  # its time was over just now
    return offers
