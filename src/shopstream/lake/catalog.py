"""The Iceberg catalog (SQLite) and the tables in it: made of the models, replaced day by day.

The builder is the one writer. A commit is one snapshot: what it replaces and what it brings change
together, and its summary holds the checkpoint of the table (`Checkpoint`), so that a build that was
killed at any moment is simply repeated.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
from msgspec import Struct

from shopstream.errors import DataDirError
from shopstream.lake.fault import first_line
from shopstream.lake.model import NAMESPACE, Model

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot, Summary
    from pyiceberg.types import IcebergType

LANDED, DAYS, UPSTREAM = "shopstream.landed", "shopstream.days", "shopstream.upstream"
MODEL = "shopstream.model"
ALL_DAYS = "all"
"""Among the days that a snapshot replaced: every one."""
ANEW = "__anew"
"""Ends the name of a table that is to take the place of another, which is damaged."""
_PROPERTIES = {
    "format-version": "2",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
}


class Checkpoint(Struct, frozen=True):
    """What a snapshot says of how it came about.

    `landed` is how far the table has read its source, `days` what it replaced (ISO dates or
    `ALL_DAYS`), `upstream` the snapshots of the tables it was made of, `model` the fingerprint of
    the model that made it.
    """

    landed: str
    days: Collection[str]
    upstream: dict[str, int]
    model: str

    def properties(self) -> dict[str, str]:
        return {
            LANDED: self.landed,
            DAYS: msgspec.json.encode(sorted(self.days)).decode(),
            UPSTREAM: msgspec.json.encode(self.upstream).decode(),
            MODEL: self.model,
        }


class Committed(Struct, frozen=True):
    """What a commit came to: the snapshot, the catalog's new pointer, files gone (lake names) and
    how many rows they had.
    """

    snapshot: int
    metadata: str
    gone: list[str]
    rows_gone: int


def open_catalog(data_dir: Path) -> Catalog:
    """The catalog in a data directory, made when there is none. Raises DataDirError."""
    from pyiceberg.catalog.sql import SqlCatalog

    _use_one_thread()
    lake = lake_folder(data_dir)
    lake.mkdir(parents=True, exist_ok=True)
    try:
        catalog = SqlCatalog(
            "lake",
            uri=f"sqlite:///{lake / 'catalog.db'}",
            warehouse=location_of(lake / "warehouse"),
            pool_pre_ping="false",
            **{"py-io-impl": "shopstream.lake.durable_io.DurableFileIO"},
        )
        catalog.create_namespace_if_not_exists(NAMESPACE)
    except Exception as e:
        raise DataDirError(f"{lake / 'catalog.db'} can't be opened: {first_line(e)}") from e
    return catalog


def lake_folder(data_dir: Path) -> Path:
    """Where the lake really lies: its metadata names whole paths."""
    return (data_dir / "lake").resolve()


def _use_one_thread() -> None:
    """Have pyiceberg read manifests one after the other.

    An overwrite asks one evaluator from several threads whether a manifest may hold the files that
    it replaces, and that evaluator keeps what it looks at in itself (`_ManifestEvalVisitor.eval`,
    pyiceberg 0.12). So now and then a manifest is passed over, and the commit ends with "Missing
    required files to delete": once in 2,000 commits here.
    """
    from pyiceberg.utils.concurrent import ExecutorFactory

    ExecutorFactory._instance = ThreadPoolExecutor(max_workers=1, thread_name_prefix="iceberg")
    ExecutorFactory._instance_pid = os.getpid()


def pointers(data_dir: Path) -> dict[str, str]:
    """Where the catalog says each table's metadata is; {} without a catalog. Reads SQLite only.

    Raises DataDirError when it can't be read.
    """
    import apsw

    path = data_dir / "lake" / "catalog.db"
    if not path.exists():
        return {}
    try:
        # Not read-only: what a killed build left half-written is rolled back on opening.
        con = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        con.set_busy_timeout(10_000)
        try:
            return dict(
                con.execute(
                    "SELECT table_name, metadata_location FROM iceberg_tables"
                    " WHERE table_namespace = ?",
                    (NAMESPACE,),
                )
            )
        finally:
            con.close()
    except apsw.SQLError:
        return {}  # made, and killed before its tables were
    except (apsw.NotADBError, apsw.CorruptError) as e:
        raise DataDirError(
            f"{path} is damaged ({e}): move it away and run `shopstream build`, which makes it anew"
            " of what readers read"
        ) from e
    except apsw.Error as e:
        raise DataDirError(f"{path} can't be read: {e}") from e


def open_table(catalog: Catalog, model: Model, data_dir: Path) -> Table:
    """The model's table, made when there is none. Raises DataDirError for one that lies elsewhere:
    metadata names whole paths, and what is written belongs beside it.
    """
    from pyiceberg.exceptions import NoSuchTableError

    name = f"{NAMESPACE}.{model.name}"
    if pointer := pointers(data_dir).get(model.name):
        lake_name(pointer, lake_folder(data_dir))
    try:
        return catalog.load_table(name)
    except NoSuchTableError:
        return _make_table(catalog, name, model, data_dir)


def open_anew(catalog: Catalog, model: Model, data_dir: Path) -> Table:
    """An empty table beside the model's, whose place it may take; see `take_place`."""
    name = f"{NAMESPACE}.{model.name}{ANEW}"
    forget_anew(catalog)
    return _make_table(catalog, name, model, data_dir)


def lead_to(catalog: Catalog, name: str, metadata: str) -> None:
    """Have the catalog lead to this metadata of a table, to whatever it led before."""
    forget_anew(catalog)
    catalog.register_table(f"{NAMESPACE}.{name}{ANEW}", metadata)
    take_place(catalog, name)


def take_place(catalog: Catalog, name: str) -> None:
    """Put what `open_anew` made, and what was committed to it, in the place of table `name`.
    At once: there is never none. Files of the other are for maintenance to delete.
    """
    from sqlalchemy import text

    of = "WHERE table_namespace = :namespace AND table_name ="
    names = {"namespace": NAMESPACE, "name": name, "anew": name + ANEW}
    with cast("SqlCatalog", catalog).engine.begin() as con:
        con.execute(text(f"DELETE FROM iceberg_tables {of} :name"), names)
        con.execute(text(f"UPDATE iceberg_tables SET table_name = :name {of} :anew"), names)


def forget_anew(catalog: Catalog) -> None:
    """Forget tables that were to take another's place: their build was killed."""
    for name in catalog.list_tables(NAMESPACE):
        if name[-1].endswith(ANEW):
            catalog.drop_table(name)


def _make_table(catalog: Catalog, name: str, model: Model, data_dir: Path) -> Table:
    return catalog.create_table(
        name,
        _schema(model),
        location=location_of(lake_folder(data_dir) / "warehouse" / model.name),
        partition_spec=_spec(model),
        properties=_PROPERTIES,
    )


def has_columns(change: Transaction, model: Model) -> bool:
    """Whether the columns of a table, as `change` leaves them, are the model's."""
    return _columns(change) == _columns_wanted(model)


def take_columns(change: Transaction, model: Model) -> None:
    """Give the table the model's columns with `change`, which also replaces all of its rows."""
    has, wanted = _columns(change), _columns_wanted(model)
    if has == wanted:
        return
    with change.update_schema(allow_incompatible_changes=True) as update:
        for name, kind in has.items():
            if wanted.get(name) != kind:
                update.delete_column(name)
    with change.update_schema() as update:
        for column in model.columns:
            if has.get(column.name) != wanted[column.name]:
                update.add_column(column.name, wanted[column.name], doc=column.description)


def _columns(change: Transaction) -> dict[str, IcebergType]:
    return {field.name: field.field_type for field in change.table_metadata.schema().fields}


def _columns_wanted(model: Model) -> dict[str, IcebergType]:
    return {column.name: iceberg_type(column.type) for column in model.columns}


def _schema(model: Model) -> Schema:
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    return Schema(
        *(
            NestedField(n, column.name, iceberg_type(column.type), doc=column.description)
            for n, column in enumerate(model.columns, 1)
        )
    )


def _spec(model: Model) -> PartitionSpec:
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import IdentityTransform

    if model.partition is None:
        return PartitionSpec()
    place = list(model.types).index(model.partition) + 1
    return PartitionSpec(PartitionField(place, 1000, IdentityTransform(), model.partition))


def iceberg_type(kind: str) -> IcebergType:
    """The Iceberg type of a model's type."""
    from pyiceberg import types

    if kind.startswith("DECIMAL"):
        precision, scale = kind[len("DECIMAL(") : -1].split(",")
        return types.DecimalType(int(precision), int(scale))
    return {
        "VARCHAR": types.StringType(),
        "BIGINT": types.LongType(),
        "INTEGER": types.IntegerType(),
        "DOUBLE": types.DoubleType(),
        "BOOLEAN": types.BooleanType(),
        "DATE": types.DateType(),
        "TIMESTAMP": types.TimestampType(),
    }[kind]


def field_ids(metadata: TableMetadata) -> dict[str, int]:
    """The id of each column, which Parquet files are to carry."""
    return {field.name: field.field_id for field in metadata.schema().fields}


def replace_days(
    table: Table,
    model: Model,
    days: Collection[str] | None,
    files: Sequence[Path],
    checkpoint: Checkpoint,
    lake: Path,
    change: Transaction | None = None,
) -> Committed:
    """Put `files` in the place of all rows of `days` (None: of all rows), as one snapshot, together
    with what `change` has changed of the table already.
    """
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    gone = []
    if table.current_snapshot() is not None and (days is None or days):
        where = "true"
        if days is not None and model.partition:
            where = f"{model.partition} IN ({', '.join(repr(day) for day in sorted(days))})"
        gone = [task.file for task in table.scan(row_filter=where).plan_files()]
    with change or table.transaction() as tx:
        update = tx.update_snapshot(snapshot_properties=checkpoint.properties())
        metadata = tx.table_metadata
        # The files of a day hold that day only, so whole files go: no row is read.
        with update.overwrite() as replaced:
            for file in gone:
                replaced.delete_data_file(file)
            for path in files:
                replaced.append_data_file(
                    parquet_file_to_data_file(table.io, metadata, location_of(path))
                )
    snapshot = table.current_snapshot()
    if snapshot is None:
        raise DataDirError(f"{model.name}: the commit left no snapshot")
    names = [lake_name(file.file_path, lake) for file in gone]
    rows_gone = sum(file.record_count for file in gone)
    return Committed(snapshot.snapshot_id, table.metadata_location, names, rows_gone)


def location_of(path: Path) -> str:
    """A path as Iceberg's metadata names it: never percent-encoded, no engine decodes it."""
    return f"file://{path}"


def path_of(location: str) -> Path:
    """What `location_of` was made of."""
    return Path(location.removeprefix("file://"))


def lake_name(location: str, lake: Path) -> str:
    """A data file as `current.json` names it. Raises DataDirError for one outside the lake."""
    path = path_of(location)
    if not path.is_relative_to(lake):
        raise DataDirError(
            f"{path} is not in {lake}: the data directory was moved; see docs/lake.md"
        )
    return str(path.relative_to(lake))


def planned(table: Table, lake: Path) -> tuple[list[str], int]:
    """The data files of the newest snapshot, as lake names, and their rows."""
    tasks = list(table.scan().plan_files())
    names = sorted(lake_name(task.file.file_path, lake) for task in tasks)
    return names, sum(task.file.record_count for task in tasks)


def checkpoint_of(table: Table) -> Checkpoint:
    """What the newest snapshot says; empty when there is none."""
    snapshot = table.current_snapshot()
    return _checkpoint(snapshot.summary) if snapshot else Checkpoint("", (), {}, "")


def days_since(table: Table, snapshot_id: int) -> set[str] | None:
    """The days replaced after `snapshot_id`, or None when that is not known any more."""
    found: set[str] = set()
    for snapshot in _ancestors(table):
        if snapshot.snapshot_id == snapshot_id:
            return found
        days = _checkpoint(snapshot.summary).days
        if ALL_DAYS in days:
            return None
        found.update(days)
    return None


def _ancestors(table: Table) -> Iterable[Snapshot]:
    from pyiceberg.table.snapshots import ancestors_of

    return ancestors_of(table.current_snapshot(), table.metadata)


def _checkpoint(summary: Summary | None) -> Checkpoint:
    said = summary.additional_properties if summary else {}
    get = said.get
    return Checkpoint(
        get(LANDED) or "",
        msgspec.json.decode(get(DAYS) or '["all"]', type=list[str]),
        msgspec.json.decode(get(UPSTREAM) or "{}", type=dict[str, int]),
        get(MODEL) or "",
    )
