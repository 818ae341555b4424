"""Whose fault it is when a table can't be opened, read or committed: its own metadata's, or not.

pyiceberg says of a metadata file that is missing, cut off or not what was written whatever its
parser happens to stumble over. So what went wrong is looked for in the files themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shopstream.errors import DataDirError, ShopstreamError
from shopstream.lake.catalog import lake_folder, lake_name, pointers
from shopstream.lake.fault import first_line, of_machine

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import ManifestFile
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot


class TableFailed(DataDirError):
    """One table can't be had; others can. `files` are its damaged metadata files, if it is that."""

    def __init__(self, message: str, files: list[str]) -> None:
        super().__init__(message)
        self.files = files


class Damage(NamedTuple):
    """A metadata file, as it is called in `lake/`, and what is wrong with it."""

    file: str
    why: str


@contextmanager
def blaming(table: str, data_dir: Path) -> Iterator[None]:
    """Have whatever goes wrong meanwhile be told as TableFailed, which holds up no other table.

    Errors of ours go through; those of the machine (no room, no access), which no table would get
    on with, are raised as DataDirError.
    """
    try:
        yield
    except ShopstreamError:
        raise
    except Exception as e:
        if of_machine(e):
            raise DataDirError(f"{table} can't be built: {first_line(e)}") from e
        lake, found = lake_folder(data_dir), []
        with suppress(DataDirError):  # it is this error that is to be told of
            if pointer := pointers(data_dir).get(table):
                found = damaged_metadata(pointer, lake)
        if found:
            said = f"{lake / found[0].file} {found[0].why}: {remedy(table)}"
        else:
            said = f"{type(e).__name__}: {first_line(e)}"
        raise TableFailed(said, [damage.file for damage in found]) from e


def remedy(table: str) -> str:
    return f"`shopstream lake rebuild {table}` makes {table} anew from bronze"


def damaged_metadata(pointer: str, lake: Path) -> list[Damage]:
    """The damaged files among all that the metadata at `pointer` leads to, but for data files.

    `lake` is resolved. Raises DataDirError when the metadata belongs to a lake elsewhere, or can't
    be read for no fault of its own.
    """
    from pyiceberg.io.pyarrow import PyArrowFileIO

    io, found = PyArrowFileIO(), dict[str, Damage]()
    metadata = _read(pointer, lake, found)
    manifests: dict[str, ManifestFile] = {}
    for snapshot in metadata.snapshots if metadata else ():
        with _noting(snapshot.manifest_list, lake, found):
            manifests |= {each.manifest_path: each for each in _manifests(io, snapshot)}
    for path, manifest in manifests.items():
        with _noting(path, lake, found):
            manifest.fetch_manifest_entry(io, discard_deleted=False)
    return list(found.values())


def metadata_at(pointer: str, lake: Path) -> TableMetadata | None:
    """The metadata of a table; None where that file is damaged. Else as `damaged_metadata`."""
    return _read(pointer, lake, {})


def _read(pointer: str, lake: Path, found: dict[str, Damage]) -> TableMetadata | None:
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.serializers import FromInputFile

    lake_name(pointer, lake)
    metadata = None
    with _noting(pointer, lake, found):
        metadata = FromInputFile.table_metadata(PyArrowFileIO().new_input(pointer))
    return metadata  # noqa: RET504  # what goes wrong was noted


def data_files(pointer: str, snapshot_id: int, lake: Path) -> set[str] | None:
    """The data files of a snapshot, as names in the lake; None when there is no such snapshot."""
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.serializers import FromInputFile

    io = PyArrowFileIO()
    metadata = FromInputFile.table_metadata(io.new_input(pointer))
    snapshot = metadata.snapshot_by_id(snapshot_id)
    if snapshot is None:
        return None
    return {
        lake_name(entry.data_file.file_path, lake)
        for manifest in _manifests(io, snapshot)
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=True)
    }


def _manifests(io: FileIO, snapshot: Snapshot) -> list[ManifestFile]:
    """As they are on the disk now: `Snapshot.manifests` remembers what it has read."""
    from pyiceberg.manifest import read_manifest_list

    return list(read_manifest_list(io.new_input(snapshot.manifest_list)))


@contextmanager
def _noting(location: str, lake: Path, found: dict[str, Damage]) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        name = lake_name(location, lake)
        found[name] = Damage(name, "is missing")
    except Exception as e:  # a parser may stumble over anything
        if of_machine(e):
            raise DataDirError(f"{location} can't be read: {first_line(e)}") from e
        name = lake_name(location, lake)
        found[name] = Damage(name, f"is not what was written ({type(e).__name__})")
