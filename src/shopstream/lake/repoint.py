"""Have the catalog lead again to what readers read, where `catalog.db` is lost or an older copy."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shopstream.errors import DataDirError
from shopstream.lake.catalog import lake_folder, lead_to, open_catalog, pointers
from shopstream.lake.current import TableNow, read_current
from shopstream.lake.damage import TableFailed, blaming, metadata_at

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata


def astray(data_dir: Path) -> dict[str, str]:
    """The metadata that readers know of and the catalog is to lead to, by table: it names none, one
    that can't be read, or an older version. Damaged metadata is not among them.

    Raises DataDirError when the catalog can't be read, or what it should lead to, for no fault of
    the table's own.
    """
    try:
        current = read_current(data_dir)
    except DataDirError:
        return {}
    lake, named = lake_folder(data_dir), pointers(data_dir)
    return {
        name: now.metadata
        for name, now in current.tables.items()
        if now.metadata and _is_later(now.metadata, named.get(name), lake)
    }


def _is_later(shown: str, named: str | None, lake: Path) -> bool:
    """Whether `shown` came after what the catalog has of the table, at `named`, or is all there is
    of it.
    """
    if shown == named or (metadata := metadata_at(shown, lake)) is None:
        return False
    known = metadata_at(named, lake) if named else None
    if known is None:
        return True
    if metadata.table_uuid != known.table_uuid:  # one was made anew, in the place of the other
        return metadata.last_updated_ms > known.last_updated_ms
    return _version(metadata) > _version(known)


def _version(metadata: "TableMetadata") -> tuple[int, int]:
    """What grows with each commit to a table: by a snapshot, else by the time of another change."""
    head = metadata.current_snapshot()
    return (head.sequence_number or 0 if head else 0, metadata.last_updated_ms)


def is_older(table: "Table", shown: TableNow) -> bool:
    """Whether the catalog's version of a table is older than what readers read: what `repoint`
    leaves so where the metadata of that is lost.
    """
    head = table.current_snapshot()
    if head is None:
        return True
    if shown.built_at is None or table.snapshot_by_id(shown.snapshot) is not None:
        return False
    return datetime.fromtimestamp(head.timestamp_ms / 1_000, UTC) < shown.built_at


def repoint(data_dir: Path) -> None:
    """Have the catalog lead to what `astray` finds. This process is the builder.

    Raises DataDirError, as `astray` does and where the catalog can't be written.
    """
    if found := astray(data_dir):
        catalog = open_catalog(data_dir)
        for name, metadata in found.items():
            # A build tells of one that fails, and leaves it as it is.
            with suppress(TableFailed), blaming(name, data_dir):
                lead_to(catalog, name, metadata)
