"""Tending the lake: few files, few snapshots, nothing on disk that nobody needs.

Done by the builder between builds and by `shopstream lake maintain`, always under the lake's lock,
so it never meets a build. Readers are not asked: what `current.json` shows stays, and a file leaves
the disk only GRACE after nobody needs it any more, for a reader may hold a list of files.

Why all of it stays bounded over any number of builds: a table keeps at most RECENT + HISTORY + 3
snapshots, and AWAITED_MAX that a table made of it has yet to see; of each day it keeps only the
files of those snapshots; manifests are merged from MANIFESTS_MAX on; old metadata is kept as the
table's properties say. All else goes after GRACE. So what lies there follows from these numbers and
from the builds of one GRACE, not from all builds there ever were.

Killed anywhere, it leaves a lake that readers and builds can use, and the next run does the rest:
merging is one commit, `current.json` is replaced whole, and files are deleted last.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, structs

from shopstream.errors import DataDirError
from shopstream.lake.catalog import (
    DAYS,
    UPSTREAM,
    field_ids,
    forget_anew,
    lake_folder,
    lake_name,
    location_of,
    open_catalog,
    planned,
    pointers,
)
from shopstream.lake.current import read_current, sync_path, write_current
from shopstream.lake.damage import TableFailed, blaming
from shopstream.lake.duck import PARQUET, connect_duck
from shopstream.lake.files import TEMP, DataFile, clear_temp, damaged, data_file
from shopstream.lake.keeping import (
    GRACE,
    Aged,
    LiveFile,
    files_to_delete,
    files_to_merge,
    is_due,
    snapshots_to_expire,
)
from shopstream.lake.model import NAMESPACE
from shopstream.lake.quality import quoted
from shopstream.lake.repoint import is_older, repoint
from shopstream.settings import Settings

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile as IcebergFile
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

    from shopstream.lake.current import Current, TableNow
    from shopstream.local.builds import Builds

AWAITED_MAX = 100
LOCK_WAIT_S = 30.0
MEMORY_BYTES = 1 << 30
MANIFESTS_MAX = 20

PROPERTIES = "shopstream."
TENDED = "shopstream.tended"
"""Marks a snapshot that changes files and no rows."""


class Tended(Struct):
    """What was done to one table. `damaged` files, of data or metadata, are not as they were
    written: nothing was made of them, and `shopstream lake rebuild` makes the table anew.
    """

    files_merged: int = 0
    manifests_merged: int = 0
    snapshots_expired: int = 0
    damaged: list[str] = []


class MaintenanceReport(Struct):
    """What `maintain` did. `waiting` files are needed by nobody and still in their grace."""

    build: int
    tables: dict[str, Tended] = {}
    deleted: int = 0
    deleted_bytes: int = 0
    waiting: int = 0

    def __str__(self) -> str:
        tended = self.tables.values()
        return (
            f"{len(self.tables)} tables: {sum(t.files_merged for t in tended):,} files merged,"
            f" {sum(t.snapshots_expired for t in tended):,} snapshots expired,"
            f" {self.deleted:,} files deleted ({self.deleted_bytes:,} bytes),"
            f" {self.waiting:,} to be deleted later"
        )


def maintain_if_due(
    settings: Settings, builds: "Builds", *, now_us: int | None = None
) -> MaintenanceReport | None:
    """`maintain`, if enough was built since the last time; None, and cheap, if not."""
    now_us = time.time_ns() // 1_000 if now_us is None else now_us
    last = next((row for row in builds.history(100) if row.kind == "maintain"), None)
    number, at_us = (last.build, last.started_us) if last else (0, 0)
    if not is_due(builds.last(), number, at_us, now_us):
        return None
    return maintain(settings, builds, now_us=now_us)


def maintain(
    settings: Settings, builds: "Builds", *, now_us: int | None = None
) -> MaintenanceReport:
    """Merge small files, expire snapshots, delete what nobody needs.

    `builds` is open for writing: this process is the builder. Raises DataDirError when the lake
    can't be used.
    """
    now_us = time.time_ns() // 1_000 if now_us is None else now_us
    lake_dir = lake_folder(settings.data_dir)
    repoint(settings.data_dir)
    catalog = open_catalog(settings.data_dir)
    report = MaintenanceReport(builds.begin("maintain", now_us))
    forget_anew(catalog)
    tables: dict[str, Table] = {}
    recorded = builds.files()
    named = pointers(settings.data_dir)
    try:
        current = read_current(settings.data_dir)
    except DataDirError:
        current = None  # nothing was ever published
    shown = current.tables if current else {}
    lost = shown.keys() - named.keys()
    for name, pointer in sorted(named.items()):
        lake_name(pointer, lake_dir)
        with _if_whole(name, settings.data_dir, report):
            table = catalog.load_table(f"{NAMESPACE}.{name}")
            if name in shown and is_older(table, shown[name]):
                lost.add(name)  # a snapshot of ours would make it the newer one
                continue
            report.tables[name] = _merge(table, lake_dir, builds, recorded)
            tables[name] = table
    for name in sorted(lost):
        missing = shown[name].metadata or location_of(lake_dir / "catalog.db")
        report.tables[name] = Tended(damaged=[lake_name(missing, lake_dir)])
    ttl_ms = int(settings.snapshots_ttl.total_seconds() * 1_000)
    for name, table in tables.items():
        keep = _awaited(name, tables) | ({shown[name].snapshot} if name in shown else set())
        with _if_whole(name, settings.data_dir, report):
            report.tables[name].snapshots_expired = _expire(table, keep, now_us // 1_000, ttl_ms)
    if current:
        shown = _show(settings, current, tables, lake_dir, report.build)
    needed = {file for table in shown.values() for file in table.files}
    for name in report.tables:
        # Of one whose metadata is damaged or lost nobody can tell what it needs.
        of_table = _files_below(lake_dir, f"warehouse/{name}")
        if name in tables:
            with _if_whole(name, settings.data_dir, report):
                of_table = _needed(tables[name], lake_dir)
        needed |= of_table
    grace_us = int(min(GRACE, settings.snapshots_ttl).total_seconds() * 1_000_000)
    _sweep(lake_dir, needed, builds, now_us, grace_us, report)
    clear_temp(lake_dir / TEMP, time.time_ns() // 1_000)
    builds.end(report.build, time.time_ns() // 1_000, msgspec.json.encode(report))
    return report


@contextmanager
def _if_whole(name: str, data_dir: Path, report: MaintenanceReport) -> Iterator[None]:
    """Nothing more is done to a table whose metadata turns out to be damaged."""
    tended = report.tables.setdefault(name, Tended())
    try:
        with blaming(name, data_dir):
            yield
    except TableFailed as e:
        if not e.files:
            raise
        tended.damaged += [file for file in e.files if file not in tended.damaged]


# --- few files --------------------------------------------------------------------------------


def _merge(
    table: "Table", lake_dir: Path, builds: "Builds", recorded: Mapping[str, DataFile]
) -> Tended:
    tended = Tended()
    live = {lake_name(file.file_path, lake_dir): file for file in _live(table)}
    merged: list[tuple[list[LiveFile], Path]] = []
    for group in files_to_merge(_plain(name, file) for name, file in live.items()):
        # Merging a damaged file would hide for good that it is.
        found = damaged(lake_dir, (file.name for file in group), recorded)
        tended.damaged += found
        if not found:
            merged.append((group, _write_merged(table, group, lake_dir, builds)))
    if merged:
        gone = [live[file.name] for group, _ in merged for file in group]
        _replace(table, gone, [location_of(path) for _, path in merged])
        tended.files_merged = len(gone)
    head = table.current_snapshot()
    if head is not None and (count := len(head.manifests(table.io))) > MANIFESTS_MAX:
        _merge_manifests(table, head)
        tended.manifests_merged = count
    return tended


def _live(table: "Table") -> "Iterator[IcebergFile]":
    head = table.current_snapshot()
    for manifest in head.manifests(table.io) if head else ():
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield entry.data_file


def _plain(name: str, file: "IcebergFile") -> LiveFile:
    part = ",".join(str(file.partition[at]) for at in range(len(file.partition)))
    return LiveFile(name, part, file.file_size_in_bytes, file.record_count)


def _write_merged(table: "Table", group: list[LiveFile], lake_dir: Path, builds: "Builds") -> Path:
    """One file with the rows of all, in their order, recorded and on the disk."""
    path = (lake_dir / group[0].name).parent / f"merged-{uuid.uuid4().hex}.parquet"
    rows = sum(file.rows for file in group)
    with connect_duck(MEMORY_BYTES, lake_dir / TEMP / f"0-{uuid.uuid4().hex[:8]}") as con:
        con.execute("SET preserve_insertion_order = true")
        read = _reading([lake_dir / file.name for file in group])
        # A column that the table has gained since isn't in these files: they read as NULL.
        there = {row[0] for row in con.execute(f"DESCRIBE {read}").fetchall()}
        ids = {name: at for name, at in field_ids(table.metadata).items() if name in there}
        columns = ", ".join(quoted(name) for name in ids)
        numbered = ", ".join(f"{quoted(name)}: {at}" for name, at in ids.items())
        con.execute(
            f"COPY (SELECT {columns} FROM ({read})) TO {_text(path)}"
            f" ({PARQUET}, FIELD_IDS {{{numbered}}})"
        )
        found = con.execute(f"SELECT count(*) FROM ({_reading([path])})").fetchone()
    if found != (rows,):
        raise DataDirError(f"{path}: {found} rows of {rows} were merged; nothing was changed")
    for place in (path, path.parent):
        sync_path(place)
    builds.record_files([data_file(lake_dir, lake_name(str(path), lake_dir), rows)])
    return path


def _reading(files: list[Path]) -> str:
    listed = ", ".join(_text(file) for file in files)
    return (
        f"SELECT * FROM read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"
    )


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _replace(table: "Table", gone: "list[IcebergFile]", locations: list[str]) -> None:
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    head = table.current_snapshot()
    with table.transaction() as transaction:
        change = transaction.update_snapshot(snapshot_properties=_carried(head)).overwrite()
        with change as files:
            for file in gone:
                files.delete_data_file(file)
            for location in locations:
                files.append_data_file(
                    parquet_file_to_data_file(table.io, table.metadata, location)
                )


def _merge_manifests(table: "Table", head: "Snapshot") -> None:
    """An append of nothing: it merges what manifests there are."""
    properties = {
        "commit.manifest-merge.enabled": "true",
        "commit.manifest.min-count-to-merge": "2",
    }
    with table.transaction() as transaction:
        if any(table.properties.get(name) != value for name, value in properties.items()):
            transaction.set_properties(properties)
        with transaction.update_snapshot(snapshot_properties=_carried(head)).merge_append():
            pass


def _carried(head: "Snapshot | None") -> dict[str, str]:
    """What the builder reads in a snapshot, for one that changes no rows: no day changed in it."""
    found = properties_of(head)
    kept = {name: value for name, value in found.items() if name.startswith(PROPERTIES)}
    return kept | {DAYS: "[]", TENDED: "1"}


def properties_of(snapshot: "Snapshot | None") -> Mapping[str, str]:
    if snapshot is None or snapshot.summary is None:
        return {}
    return snapshot.summary.additional_properties


# --- what readers see -------------------------------------------------------------------------


def _show(
    settings: Settings,
    current: "Current",
    tables: "Mapping[str, Table]",
    lake_dir: Path,
    build: int,
) -> "dict[str, TableNow]":
    """Have readers see merged files in place of those they were made of; what they see then.

    Also those of a run that was killed before it came here. Rows that weren't published stay so.
    """
    found = {}
    for name, entry in current.tables.items():
        table = tables.get(name)
        head = table.current_snapshot() if table else None
        if table is None or head is None:
            continue
        if not only_tended(table.metadata, head, entry.snapshot):
            continue
        now = structs.replace(entry, metadata=table.metadata_location)
        if head.snapshot_id != entry.snapshot:
            files, _ = planned(table, lake_dir)
            now = structs.replace(now, snapshot=head.snapshot_id, files=files)
        if now != entry:
            found[name] = now
    shown = {**current.tables, **found}
    if found:
        write_current(settings.data_dir, structs.replace(current, build=build, tables=shown))
    return shown


def only_tended(table: "TableMetadata", newer: "Snapshot", older: int) -> bool:
    """Whether `newer` has the rows of snapshot `older`: only maintenance came between."""
    snapshot: Snapshot | None = newer
    while snapshot is not None and snapshot.snapshot_id != older:
        if TENDED not in properties_of(snapshot) or snapshot.parent_snapshot_id is None:
            return False
        snapshot = table.snapshot_by_id(snapshot.parent_snapshot_id)
    return snapshot is not None


# --- few snapshots ----------------------------------------------------------------------------


def _awaited(name: str, tables: "Mapping[str, Table]") -> set[int]:
    """Snapshots of a table from the one that a table made of it has seen last to the newest: what
    changed since is read from them.
    """
    found: set[int] = set()
    for other in tables.values():
        seen = msgspec.json.decode(
            properties_of(other.current_snapshot()).get(UPSTREAM, "{}"), type=dict[str, int]
        ).get(name)
        if seen is not None:
            found.update(_since(tables[name], seen))
    return found


def _since(table: "Table", seen: int) -> list[int]:
    snapshot = table.current_snapshot()
    found: list[int] = []
    while snapshot is not None and len(found) < AWAITED_MAX:
        found.append(snapshot.snapshot_id)
        if snapshot.snapshot_id == seen:
            return found
        parent = snapshot.parent_snapshot_id
        snapshot = table.snapshot_by_id(parent) if parent is not None else None
    return []


def _expire(table: "Table", keep: set[int], now_ms: int, ttl_ms: int) -> int:
    snapshots = [Aged(s.snapshot_id, s.timestamp_ms) for s in table.metadata.snapshots]
    head = table.current_snapshot()
    keep = keep | ({head.snapshot_id} if head else set())
    expired = snapshots_to_expire(snapshots, keep, now_ms, ttl_ms)
    if expired:
        table.maintenance.expire_snapshots().by_ids(expired).commit()
    return len(expired)


# --- few files on disk ------------------------------------------------------------------------


def _needed(table: "Table", lake_dir: Path) -> set[str]:
    """Every file that a kept snapshot of a table is made of, and the metadata that leads to it."""
    metadata = table.metadata
    found = {table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
    manifests: dict[str, ManifestFile] = {}
    for snapshot in metadata.snapshots:
        found.add(snapshot.manifest_list)
        manifests |= {manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)}
    for path, manifest in manifests.items():
        found.add(path)
        entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        found |= {entry.data_file.file_path for entry in entries}
    return {lake_name(location, lake_dir) for location in found}


def _sweep(
    lake_dir: Path,
    needed: set[str],
    builds: "Builds",
    now_us: int,
    grace_us: int,
    report: MaintenanceReport,
) -> None:
    on_disk = _files_below(lake_dir, "warehouse")
    sync_path(lake_dir)  # what the catalog says now is so after a power cut, too
    builds.set_unneeded(on_disk - needed, now_us)
    gone = files_to_delete(builds.unneeded(), now_us, grace_us)
    for name in gone:
        path = lake_dir / name
        report.deleted_bytes += path.stat().st_size
        path.unlink()
        _remove_empty(path.parent)
    # A file that was recorded and then never written, or deleted before a kill, goes too.
    builds.forget_files({*gone, *(set(builds.files()) - on_disk - needed)})
    report.deleted = len(gone)
    report.waiting = len(on_disk - needed) - len(gone)


def _files_below(lake_dir: Path, folder: str) -> set[str]:
    found = (lake_dir / folder).rglob("*")
    return {path.relative_to(lake_dir).as_posix() for path in found if path.is_file()}


def _remove_empty(folder: Path) -> None:
    """Folders of a day and of a build go with their last file."""
    while folder.name not in ("data", "metadata") and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
