"""How far the published tables are behind what has landed, and that behind the log."""

from datetime import datetime
from typing import NamedTuple

from shopstream.engine import Engine
from shopstream.errors import DataDirError
from shopstream.lake.current import read_current
from shopstream.lake.model import load_models, load_sources


class Lag(NamedTuple):
    """The published build, 0 for none. `events` have landed that some table doesn't have which is
    made of them; every table has what is below `position` of the log.
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
    """Offers, which come from the archive, are not counted. Raises DataDirError when the lake can't
    be read.
    """
    try:
        current = read_current(engine.dir.root)
    except DataDirError:
        if (engine.dir.root / "lake" / "current.json").exists():
            raise
        current = None
    build, built_at = (current.build, current.built_at) if current else (0, None)
    try:
        landed = engine.read_landed()
    except DataDirError:
        return Lag(build, built_at, 0, 0)  # nothing was ever landed here
    sources = load_sources()
    read: dict[str, int] = {}
    for model in load_models().values():
        now = current.tables.get(model.name) if current else None
        for name in model.reads:
            topic = sources[name].topic if name in sources else None
            if topic is not None:
                read[topic] = min(read.get(topic, 1 << 62), int(now.landed or 0) if now else 0)
    with landed:
        until, position = landed.last(), landed.position()
        waiting = [file for topic, id in read.items() for file in landed.since(id, topic, until)]
    return Lag(
        build,
        built_at,
        sum(file.rows for file in waiting),
        min([position, *(file.first for file in waiting)]),
    )
