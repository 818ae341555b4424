"""What has gone from `lake/` though other files there say that it was: the databases and
`current.json`, and what puts each right.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from shopstream.engine import Engine
from shopstream.errors import DataDirError
from shopstream.lake.catalog import pointers
from shopstream.lake.current import FILE, read_current
from shopstream.lake.model import load_models, load_sources
from shopstream.lake.repoint import astray

if TYPE_CHECKING:
    from shopstream.local.landed import Landed

_NAMED_MAX = 3


def find_lost(engine: Engine) -> Iterator[str]:
    """What is missing of the lake, and what puts it right."""
    root = engine.dir.root
    lake = root / "lake"
    shown = (lake / FILE).exists()
    if not (lake / "landed.db").exists() and (shown or _has_files(root / "bronze")):
        yield (
            "lake/landed.db is missing, which says what has landed: `shopstream build` makes it"
            " anew of bronze/ and the log, and the tables of that"
        )
    if not shown:
        if _published(engine):
            yield (
                f"lake/{FILE} is missing, so readers see no tables: `shopstream build` writes it"
                " anew"
            )
        return
    yield from _builds_lost(engine)
    current = read_current(root)
    try:
        known = astray(root)
        lost = current.tables.keys() - pointers(root).keys() - known.keys()
    except DataDirError as e:
        yield str(e)
    else:
        what = "lake/catalog.db does not lead to what readers read of"
        if known:
            yield f"{what} {_listed(known)}: `shopstream build` has it do so"
        if lost:
            yield (
                f"{what} {_listed(lost)}, and their metadata is missing or damaged:"
                " `shopstream lake rebuild` makes each anew from bronze"
            )


def _builds_lost(engine: Engine) -> Iterator[str]:
    if not (engine.dir.root / "lake" / "builds.db").exists():
        yield (
            "lake/builds.db is missing, which says what was written to each data file:"
            " `shopstream build` makes it anew of what readers read, and takes what it can read"
            " for that"
        )
        return
    try:
        with engine.read_builds() as builds:
            builds.files()
    except DataDirError as e:
        yield str(e)


def _listed(tables: Collection[str]) -> str:
    return ", ".join(sorted(tables)[:_NAMED_MAX]) + ", …" * (len(tables) > _NAMED_MAX)


def find_read_elsewhere(engine: Engine, landed: "Landed") -> dict[str, str]:
    """The tables that have read files which another `lake/landed.db` knew, or a newer copy, and
    none of those that this one has for them. With their topics.
    """
    try:
        tables = read_current(engine.dir.root).tables
    except DataDirError:
        return {}
    models, sources = load_models(), load_sources()
    found: dict[str, str] = {}
    for name, now in sorted(tables.items()):
        for read in models[name].reads if name in models else ():
            topic = sources[read].topic if read in sources else None
            known = not topic or landed.knows(int(now.landed or 0))
            if topic and not known and landed.since(0, topic):
                found[name] = topic
    return found


def _has_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*.zst"))


def _published(engine: Engine) -> bool:
    """Whether readers are known to have seen tables."""
    try:
        with engine.read_builds() as builds:
            return builds.have_published()
    except DataDirError:
        return False
