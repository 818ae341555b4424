"""Make a table anew from bronze, and put its damaged files aside."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from shopstream.engine import Engine, open_engine
from shopstream.errors import ConfigError, DataDirError
from shopstream.lake.build import build
from shopstream.lake.current import read_current, sync_path
from shopstream.lake.files import damaged
from shopstream.lake.model import load_models
from shopstream.lake.plan import Step, Wanted
from shopstream.lake.report import BuildReport
from shopstream.settings import Settings

DAMAGED = "damaged"


class Rebuilt(Struct):
    """What `rebuild` did. `isolated` are the damaged files, now below `lake/damaged/`."""

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
    nothing is made of them. Raises ConfigError for an unknown table, and where `bronze_ttl` has
    bronze expire (what was made of it can't be made again) unless `anyway`; Busy when a build goes
    on; DataDirError when the lake can't be used.
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
    before = _damaged(engine)
    report = build(settings, Wanted(full=True, select=(f"{table}+",), alone=True), on_step=on_step)
    shown = {file for now in read_current(engine.dir.root).tables.values() for file in now.files}
    aside = [name for name in before if name not in shown]
    for name in aside:
        _isolate(engine.dir.root / "lake", name)
    return Rebuilt(isolated=aside, build=report)


def _damaged(engine: Engine) -> list[str]:
    try:
        current = read_current(engine.dir.root)
    except DataDirError:
        return []
    with engine.read_builds() as builds:
        recorded = builds.files()
    names = sorted({name for now in current.tables.values() for name in now.files})
    return damaged(engine.dir.root / "lake", names, recorded)


def _isolate(lake: Path, name: str) -> None:
    """Nobody reads it there, and it can still be looked at. It may be gone already."""
    aside = lake / DAMAGED / Path(name).name
    aside.parent.mkdir(exist_ok=True)
    if (lake / name).exists():
        (lake / name).replace(aside)
        for folder in (aside.parent, (lake / name).parent):
            sync_path(folder)
