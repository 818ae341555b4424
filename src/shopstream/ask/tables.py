"""Which tables there are to ask, with their columns, files and snapshots."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from shopstream.ask.guard import nearest
from shopstream.ask.live import LIVE_TABLES
from shopstream.errors import SqlError
from shopstream.lake.current import Current, read_current
from shopstream.lake.model import Column, Model, load_models
from shopstream.settings import Settings

LIVE_LAYER = "live"


class Table(Struct):
    """A table as `shopstream tables` shows it, with the first sentence of what it is.

    `built_at` is when its rows were published, be it by an older build than the last. A live one,
    and one that was not built yet, has neither rows nor a snapshot.
    """

    table: str
    layer: str
    rows: int | None
    description: str
    built_at: datetime | None = None
    snapshot: int | None = None


class Described(Struct):
    """All that is known of a table."""

    table: str
    description: str
    grain: list[str]
    rows: int | None
    snapshot: int | None
    built_at: datetime | None
    columns: list[Column]


class Published(Struct):
    """The tables as one build published them. `files` are by table, relative to `lake_dir`."""

    lake_dir: Path
    build: int
    models: Mapping[str, Model]
    files: Mapping[str, list[str]]

    @property
    def names(self) -> list[str]:
        """What can be asked: the tables built and the live ones."""
        return [*self.files, *LIVE_TABLES]


def published(settings: Settings) -> Published:
    """The tables that are published now. Raises DataDirError when none are."""
    current = read_current(settings.data_dir)
    models = {name: model for name, model in load_models().items() if name in current.tables}
    files = {name: list(current.tables[name].files) for name in models}
    return Published(settings.data_dir / "lake", current.build, models, files)


def list_tables(settings: Settings) -> list[Table]:
    """All tables, gold first, then silver, then the live ones; each with what it holds.

    Raises DataDirError when nothing was built yet.
    """
    current = read_current(settings.data_dir)
    models = load_models().values()
    found = [_table(m, current) for m in models if m.name in current.tables]
    live = [Table(t.name, LIVE_LAYER, None, t.description) for t in LIVE_TABLES.values()]
    return [*sorted(found, key=lambda t: (t.layer, t.table)), *live]


def describe(settings: Settings, name: str) -> Described:
    """A table's columns and meaning. `name` may say `ecommerce_analytics_db.` first.

    Raises SqlError for a table that isn't there, DataDirError when nothing was built yet.
    """
    wanted = name.replace('"', "").lower().removeprefix("ecommerce_analytics_db.")
    if live := LIVE_TABLES.get(wanted):
        return Described(live.name, live.description, live.grain, None, None, None, live.columns)
    current = read_current(settings.data_dir)
    models = load_models()
    if wanted not in models:
        raise SqlError(f"there is no table {name!r}; {nearest(wanted, [*models, *LIVE_TABLES])}")
    model, built = models[wanted], _table(models[wanted], current)
    return Described(
        model.name,
        " ".join(model.description.split()),
        model.grain,
        built.rows,
        built.snapshot,
        built.built_at,
        model.columns,
    )


def _table(model: Model, current: Current) -> Table:
    found = current.tables.get(model.name)
    first, _, more = " ".join(model.description.split()).partition(". ")
    table = Table(model.name, model.layer, None, f"{first}." if more else first)
    if found is not None:
        table.rows, table.snapshot = found.rows, found.snapshot
        table.built_at = found.built_at or current.built_at
    return table
