"""The tables as they were: at a snapshot, or at a time. What the catalog says isn't touched.

A snapshot can be asked for as long as maintenance keeps it (`snapshots_ttl`). At a time the tables
are as the last build before it left them, so that they belong together. Where maintenance has
forgotten some of these snapshots, a table is as of the last one before that is kept.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from shopstream.ask.tables import Published
from shopstream.engine import open_engine
from shopstream.errors import DataDirError, ShopstreamError, SqlError
from shopstream.lake.catalog import lake_name, pointers
from shopstream.settings import Settings

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
    """The tables of `names` as they were; all others are left out.

    A snapshot belongs to one table; to ask several as of one moment, give a time. Raises SqlError
    when a table has no such snapshot, DataDirError when the catalog can't be read.
    """
    known = pointers(tables.lake_dir.parent)
    until_us = 0 if isinstance(point, int) else _shown_at(tables.lake_dir.parent, point)
    files = {}
    for name in names:
        if name not in known:
            raise SqlError(f"{name} was never published; run `shopstream build`")
        files[name] = _files(tables.lake_dir.resolve(), name, known[name], point, until_us)
    models = {name: tables.models[name] for name in names}
    return msgspec.structs.replace(tables, models=models, files=files)


def _shown_at(data_dir: Path, point: datetime) -> int:
    """When the build had ended that readers saw then, in microseconds UTC."""
    at_us = int(point.timestamp() * 1_000_000)
    engine = open_engine(Settings(data_dir=data_dir), create=False)
    try:
        with engine.read_builds() as builds:
            return builds.published_by(at_us)
    except DataDirError:
        return at_us  # no build is remembered


def _files(lake: Path, name: str, pointer: str, point: int | datetime, until_us: int) -> list[str]:
    """The data files of the snapshot that is meant, as names in the lake."""
    from pyiceberg.table import StaticTable

    try:
        table = StaticTable.from_metadata(pointer)
        snapshot_id = _snapshot(table, name, point, until_us)
        tasks = list(table.scan(snapshot_id=snapshot_id).plan_files())
    except ShopstreamError:
        raise
    except Exception as e:  # noqa: BLE001  # of damaged metadata pyiceberg says anything
        said = (str(e) or type(e).__name__).splitlines()[0]
        raise DataDirError(f"{name}: its metadata can't be read: {said}") from None
    return sorted(lake_name(task.file.file_path, lake) for task in tasks)


def _snapshot(table: Any, name: str, point: int | datetime, until_us: int) -> int:
    kept = sorted(
        (_Kept(s.sequence_number or 0, s.timestamp_ms, s.snapshot_id))
        for s in table.metadata.snapshots
    )
    if isinstance(point, int):
        found = [one.id for one in kept if one.id == point]
        wanted = f"{point}"
    else:
        found = [one.id for one in kept if one.at_ms * 1_000 <= until_us]
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
