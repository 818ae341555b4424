"""The tables as they were: at a snapshot, or at a time. Read from the catalog, which isn't touched.

A snapshot can be asked for as long as maintenance keeps it (`snapshots_ttl`).
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from shopstream.ask.tables import Published
from shopstream.errors import DataDirError, SqlError
from shopstream.lake.model import NAMESPACE

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class _Kept(NamedTuple):
    """A snapshot that can be asked for, in the order in which they were made."""

    sequence: int
    at_ms: int
    id: int


def point_of(text: str) -> int | datetime:
    """A snapshot's id, or a time with a zone (a date is its first moment UTC).

    Raises SqlError for anything else.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        found = datetime.fromisoformat(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise SqlError(
            f"--at {text}: neither a snapshot's id (see `shopstream tables`)"
            " nor a time such as 2026-11-21T12:00:00Z"
        )
    return found.astimezone(UTC)


def as_of(tables: Published, point: int | datetime, names: Collection[str]) -> Published:
    """The tables of `names` (all the others are left out) as they were.

    A snapshot belongs to one table; to ask several as of one moment, give a time. Raises SqlError
    when a table has no such snapshot, DataDirError when the catalog can't be read.
    """
    files = {name: _files(tables.lake_dir, name, point) for name in names}
    models = {name: tables.models[name] for name in names}
    return msgspec.structs.replace(tables, models=models, files=files)


def _files(lake_dir: Path, name: str, point: int | datetime) -> list[str]:
    table = _open(lake_dir, name)
    snapshot_id = _snapshot(table, name, point)
    root = f"{lake_dir.resolve()}/"
    found = []
    for task in table.scan(snapshot_id=snapshot_id).plan_files():
        path = str(Path(task.file.file_path.removeprefix("file://")).resolve())
        if not path.startswith(root):
            raise DataDirError(f"{name}: its snapshot names {path}, which is not in {lake_dir}")
        found.append(path.removeprefix(root))
    return sorted(found)


def _snapshot(table: Any, name: str, point: int | datetime) -> int:
    kept = sorted(
        (_Kept(s.sequence_number or 0, s.timestamp_ms, s.snapshot_id))
        for s in table.metadata.snapshots
    )
    if isinstance(point, int):
        found = [one.id for one in kept if one.id == point]
        wanted = f"{point}"
    else:
        found = [one.id for one in kept if one.at_ms <= point.timestamp() * 1000]
        wanted = f"from {point:%Y-%m-%dT%H:%M:%SZ} or before"
    if not found:
        raise SqlError(f"{name} has no snapshot {wanted}; it has {_listed(kept)}")
    return found[-1]


def _listed(kept: "list[_Kept]") -> str:
    shown = [f"{one.id} ({_time(one.at_ms)})" for one in reversed(kept)]
    more = f" and {len(shown) - 3} older" if len(shown) > 3 else ""
    return (", ".join(shown[:3]) or "none") + more


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _open(lake_dir: Path, name: str) -> Any:
    """The table's metadata as the catalog now points to it; nothing is locked or written."""
    import apsw
    from pyiceberg.exceptions import NoSuchTableError
    from pyiceberg.table import StaticTable

    path = lake_dir / "catalog.db"
    try:
        con = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        con.setbusytimeout(5_000)
        row = con.execute(
            "SELECT metadata_location FROM iceberg_tables"
            " WHERE table_namespace = ? AND table_name = ?",
            (NAMESPACE, name),
        ).fetchone()
        con.close()
    except apsw.Error as e:
        raise DataDirError(f"{path} can't be read: {e}; run `shopstream build`") from None
    if row is None:
        raise SqlError(f"{name} was never published; run `shopstream build`")
    try:
        return StaticTable.from_metadata(row[0])
    except (OSError, ValueError, NoSuchTableError) as e:
        raise DataDirError(f"{name}: {row[0]} can't be read: {e}") from None
