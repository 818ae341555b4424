"""`shopstream.connect()`: the box for programs in Python."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from shopstream.ask.box import open_box
from shopstream.ask.tables import published
from shopstream.settings import load_settings

if TYPE_CHECKING:
    import duckdb


def connect(data_dir: "str | os.PathLike[str] | None" = None) -> "duckdb.DuckDBPyConnection":
    """See `shopstream.connect`."""
    settings = load_settings({"data_dir": None if data_dir is None else Path(data_dir)})
    con, _, _ = open_box(settings, published(settings), timeout=True)
    return con
