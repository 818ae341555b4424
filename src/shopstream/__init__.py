"""shopstream: a shop's events in; offers, alerts and tables you can trust out."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    import duckdb

    __version__: str


def __getattr__(name: str) -> str:
    # Reading a package's metadata takes 50 ms, and hardly anything asks for the version.
    if name == "__version__":
        from importlib.metadata import version

        return version("shopstream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def connect(data_dir: "str | os.PathLike[str] | None" = None) -> "duckdb.DuckDBPyConnection":
    """A DuckDB connection with all tables of a data directory, for pandas, polars and notebooks.

    It only reads: nothing can be created, no file, network or extension can be reached, and its
    settings are locked. A query may take `sql_timeout` and `sql_memory`. The tables stay as they
    were published when it was opened; `live.offers`, `live.orders` and `live.events` are read anew
    by each query. `data_dir` None is SHOPSTREAM_DATA_DIR, else `./shopstream-data`.

    Raises DataDirError when there are no tables there yet.
    """
    from shopstream.ask.connection import connect as connected

    return connected(data_dir)
