"""Exports: a whole table as a file for another tool, put in place whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from shopstream.ask.box import Answer, Box
from shopstream.ask.guard import nearest
from shopstream.ask.tables import Published
from shopstream.errors import ConfigError, SqlError

EXPORTS = {
    "promotions": "gold_customer_abandoned_items",
    "abandoned-products": "gold_abandoned_products",
}
"""Names for people of what a marketing tool wants."""


def table_of(name: str, tables: Published) -> str:
    """The table that an export's name, or a table's own, means. Raises SqlError for none."""
    table = EXPORTS.get(name, name.lower())
    if table in tables.names:
        return table
    if name in EXPORTS:
        raise SqlError(f"{name}: the table {table} was not built yet; run `shopstream build`")
    hint = nearest(name, [*EXPORTS, *tables.names])
    raise SqlError(f"there is no table {name!r} to export; {hint}")


def export(box: Box, table: str) -> Answer:
    """All rows of a table, of a gold one in the order of its grain; without a time limit."""
    model = box.tables.models.get(table)
    order = ""
    if model is not None and model.layer == "gold":
        order = " ORDER BY " + ", ".join(f'"{column}"' for column in model.grain)
    # Both names are ours.
    return box.ask(f"SELECT * FROM {table}{order}", timeout=False)


def check_output(path: Path) -> None:
    """Raises ConfigError when no file can be written under this name."""
    if not path.parent.is_dir():
        raise ConfigError(f"--output {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise ConfigError(f"--output {path}: that is a folder; name a file in it")


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that appears under `path` when all of it is written and on disk.

    Raises ConfigError when there is no such folder, or `path` is one itself.
    """
    check_output(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink()
