"""The tables that are published: `lake/current.json`."""

from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from shopstream.errors import DataDirError
from shopstream.lake.model import Model


class TableNow(Struct):
    snapshot: int
    files: list[str]
    rows: int


class Current(Struct):
    build: int
    built_at: datetime
    tables: dict[str, TableNow]


def read_current(data_dir: Path) -> Current:
    path = data_dir / "lake" / "current.json"
    if not path.exists():
        raise DataDirError(f"{data_dir}: no tables yet; run `shopstream build`")
    return msgspec.json.decode(path.read_bytes(), type=Current)


def view_sql(model: Model, files: list[str]) -> str:
    if not files:
        nulls = ", ".join(f'CAST(NULL AS {t}) AS "{n}"' for n, t in model.types.items())
        return f"SELECT {nulls} WHERE false"
    columns = ", ".join(f'CAST("{n}" AS {t}) AS "{n}"' for n, t in model.types.items())
    names = ", ".join(f"'{name}'" for name in files)
    source = f"read_parquet([{names}], hive_partitioning = false)"
    return f"SELECT {columns} FROM {source}"  # noqa: S608
