"""What readers read: `lake/current.json`, which names the data files of every table.

It is replaced whole after each build and each maintenance, so a reader sees the tables of one
build, and needs neither pyiceberg nor the catalog. The catalog stays the truth: a build that finds
this file behind it writes it anew.
"""

import os
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from shopstream.errors import DataDirError
from shopstream.lake.model import Model

FILE = "current.json"


class TableNow(Struct, kw_only=True, omit_defaults=True):
    """A published table: its Iceberg snapshot, its data files (relative to `lake/`), its rows.

    `metadata` is the catalog's pointer when this was written; while the catalog still has it, the
    rest holds: `landed`, what the table has taken of its source, `upstream`, the snapshots of the
    tables that it was made of, and `model`, the fingerprint of the model that made it. `built_at`
    is when its rows were committed, unknown for tables of before it was written down.
    """

    snapshot: int
    files: list[str]
    rows: int
    metadata: str = ""
    landed: str = ""
    upstream: dict[str, int] = {}
    model: str = ""
    built_at: datetime | None = None


class Current(Struct, kw_only=True):
    """All tables of one build, by name."""

    build: int
    built_at: datetime
    tables: dict[str, TableNow]


_decode = msgspec.json.Decoder(Current).decode


def read_current(data_dir: Path) -> Current:
    """What is published. Raises DataDirError when nothing is, or the file can't be read."""
    path = data_dir / "lake" / FILE
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        raise DataDirError(
            f"there are no tables in {data_dir} yet; run `shopstream build`"
        ) from None
    except (OSError, msgspec.DecodeError) as e:
        raise DataDirError(f"{path} can't be read: {e}; run `shopstream build`") from None


def write_current(data_dir: Path, current: Current) -> None:
    """Publish: readers see either the tables of before or these. Survives power loss."""
    path = data_dir / "lake" / FILE
    unfinished = path.with_name(f".{FILE}.tmp")
    with unfinished.open("wb") as file:
        file.write(msgspec.json.encode(current))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Have a file's bytes, or the names in a folder, survive power loss."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def view_sql(model: Model, files: list[str]) -> str:
    """A SELECT of the model's columns over its Parquet files; of no rows without any.

    The files have the columns of the model that they were all built by: one that today's has gained
    since is NULL. So only the first is asked for them: asking each takes longer than reading them.
    """
    nulls = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in model.types.items())
    empty = f"SELECT {nulls} WHERE false"
    if not files:
        return empty
    columns = ", ".join(f'"{name}"' for name in model.types)
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in files)
    parquet = f"read_parquet([{names}], hive_partitioning = false)"
    return f"SELECT {columns} FROM ({empty} UNION ALL BY NAME SELECT * FROM {parquet})"
