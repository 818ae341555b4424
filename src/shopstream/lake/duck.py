"""DuckDB as the builder uses it: UTC, bounded memory, no extension fetched, a place to spill to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 10000"
"""How the files of tables are written. What DuckDB does of its own accord, level 3 and dictionaries
for columns with more values than that, ids for instance, takes half as long again for files that
are no smaller.
"""

THREAD_BYTES = 128 * 1024 * 1024
"""Memory that there must be for each thread. Reading JSON takes 32 MiB of it and some more, which
is never put on disk: on many processors threads alone would need all that a build may have.
"""


def connect_duck(memory_bytes: int, temp_dir: Path, threads: int = 0) -> duckdb.DuckDBPyConnection:
    """A connection of its own in memory. What needs more than `memory_bytes` goes to `temp_dir`.

    `threads` 0 is one for each processor that there is memory for. Row order is not kept: no model
    depends on it.
    """
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory_bytes}B",
        "temp_directory": str(temp_dir),
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if threads:
        config["threads"] = threads
    con = duckdb.connect(config=config)
    if not threads:
        most = max(1, memory_bytes // THREAD_BYTES)
        con.execute(f"SET threads = least({most}, current_setting('threads'))")
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")
    # Several models read the same files one after the other, and no file ever changes.
    con.execute("SET parquet_metadata_cache = true")
    return con
