"""A file of the lake and what tells that it is whole."""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TEMP = "tmp"
_TEMP_US = 86_400_000_000
_CHUNK_BYTES = 1 << 20
_KNOWN_MAX = 100_000
_known: dict[Path, tuple[int, int, str]] = {}
"""Files whose hash this process has seen: when changed (ns), bytes, SHA-256."""


class DataFile(NamedTuple):
    """A data file of a table. `name` is relative to the folder `lake`; `sha256` is hexadecimal."""

    name: str
    bytes: int
    sha256: str
    rows: int


def data_file(lake_dir: Path, name: str, rows: int) -> DataFile:
    """What is to be recorded of file `name` in `lake_dir`. Raises OSError when it isn't there."""
    path = lake_dir / name
    return DataFile(name, path.stat().st_size, sha256_of(path), rows)


def files_of(lake_dir: Path, names: Sequence[str], rows: int) -> list[DataFile]:
    """What would have been recorded of a table's files; nothing where they can't be read, or don't
    have so many rows.
    """
    from pyarrow import ArrowException  # type: ignore[import-untyped]  # no types
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]  # no types

    found = []
    try:
        for name in names:
            with ParquetFile(lake_dir / name) as file:
                # Not only what it says of itself at its end.
                read = sum(batch.num_rows for batch in file.iter_batches())
            found.append(data_file(lake_dir, name, read))
    except (OSError, ArrowException):
        return []
    return found if sum(file.rows for file in found) == rows else []


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def is_whole(path: Path, sha256: str) -> bool:
    """Whether a file has this hash. One that this process found whole isn't read again until its
    size or its time of change is another.
    """
    try:
        stat = path.stat()
        if _known.get(path) == (seen := (stat.st_mtime_ns, stat.st_size, sha256)):
            return True
        if sha256_of(path) != sha256:
            return False
    except OSError:
        return False
    if len(_known) >= _KNOWN_MAX:
        _known.clear()
    _known[path] = seen
    return True


def damaged(lake_dir: Path, names: Iterable[str], recorded: Mapping[str, DataFile]) -> list[str]:
    """Those of `names` that are not what was `recorded`, or not there."""
    found = []
    for name in names:
        try:
            whole = name not in recorded or sha256_of(lake_dir / name) == recorded[name].sha256
        except OSError:
            whole = False
        if not whole:
            found.append(name)
    return found


def clear_temp(temp: Path, now_us: int) -> None:
    """What builds that were killed left in their folders. They are numbered, and no build runs
    now; others (a check's) are left alone for a day.
    """
    for folder in temp.iterdir() if temp.is_dir() else ():
        try:
            old = folder.stat().st_mtime_ns < (now_us - _TEMP_US) * 1_000
        except FileNotFoundError:  # a check ended
            continue
        if old or folder.name[:1].isdigit():
            shutil.rmtree(folder, ignore_errors=True)
