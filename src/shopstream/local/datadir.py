"""The data directory: where each file is, made once, checked at every start."""

import fcntl
import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import structlog

from shopstream.errors import Busy, DataDirError

_LOOK_S = 0.1
"""Between looks at a lock that another process holds."""

VERSION = 2
_FIRST_TABLES = "tables"
"""A data directory whose tables are elsewhere is of version 2, else of 1."""
_TABLES = re.compile(r"tables(-[0-9]+)?")
"""How folders of tables are called. Some are deleted, so no other name is believed."""
_DELETIONS = 3
"""Tries at a folder of tables, in which readers may make and remove folders of their own."""

_log = structlog.get_logger("shopstream.datadir")


@dataclass(frozen=True)
class DataDir:
    """Paths in a data directory. The tables of its shards are in the folder `tables_name`;
    `leftovers` are folders of tables that aren't in force and were made by `prepare_tables`, or
    were in force before, and are to be deleted.
    """

    root: Path
    shards: int
    tables_name: str = _FIRST_TABLES
    leftovers: tuple[str, ...] = field(default=(), compare=False)

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def run(self) -> Path:
        return self.root / "run"

    def tables(self, shard: int) -> Path:
        return self.root / self.tables_name / str(shard)


def make_data_dir(root: Path, shards: int | None) -> DataDir:
    """The data directory at `root`, made when there is none.

    `shards` None means whatever it was made with (1 when it is made now). Raises DataDirError when
    it was made by another version or with another number of shards.
    """
    meta = root / "meta.json"
    if not meta.exists():
        if root.exists() and any(p.name != "shopstream.toml" for p in root.glob("*.db")):
            raise DataDirError(f"{root} holds something else; choose another --data-dir")
        _create(root, shards or 1)
    found = open_data_dir(root)
    if shards is not None and shards != found.shards:
        raise DataDirError(
            f"{root} has {found.shards} shard{'s' * (found.shards > 1)}, not {shards}; leave"
            f" --shards and the setting out, or change it: shopstream reshard {shards}"
        )
    return found


def open_data_dir(root: Path) -> DataDir:
    """The data directory at `root`, which must be there."""
    meta = root / "meta.json"
    try:
        values = json.loads(meta.read_text("utf-8"))
        version, shards = values["version"], int(values["shards"])
        tables_name = str(values.get("tables", _FIRST_TABLES))
        leftovers = tuple(map(str, values.get("leftovers", ())))
        for name in (tables_name, *leftovers):
            if not _TABLES.fullmatch(name):
                raise ValueError(f"{name!r} is no folder of tables")
    except FileNotFoundError:
        raise DataDirError(
            f"there is no data in {root}; run `shopstream up` or `shopstream load` first,"
            " or name another --data-dir"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataDirError(f"{meta} can't be read: {e}") from e
    if version not in (1, VERSION):
        raise DataDirError(f"{root} is of version {version}, this shopstream reads 1 and {VERSION}")
    return DataDir(root, shards, tables_name, leftovers)


def prepare_tables(root: Path, shards: int) -> DataDir:
    """Where the tables of another number of shards may be made: a folder that isn't there yet, and
    that counts as left over until `switch_to` makes its tables those of the data directory.
    """
    found = open_data_dir(root)
    number = int(found.tables_name.partition("-")[2] or 1)
    while os.path.lexists(root / (name := f"{_FIRST_TABLES}-{number + 1}")):
        number += 1
    _write_meta(replace(found, leftovers=(*found.leftovers, name)))
    return DataDir(root, shards, name)


def switch_to(new: DataDir) -> None:
    """From now on these are the tables of the data directory; at once, and durably. Those before
    are left over.

    When it raises, either are in force; `open_data_dir` tells which.
    """
    before = open_data_dir(new.root)
    leftovers = {before.tables_name, *before.leftovers} - {new.tables_name}
    _write_meta(replace(new, leftovers=tuple(sorted(leftovers))))


def forget_other_tables(root: Path) -> None:
    """Delete tables that are left over. Other folders beside them are somebody's own and stay.

    What can't be deleted now is still left over, and a warning says so. Of a link only the link
    goes: where it led to is somebody's own, too.
    """
    try:
        sync_folder(root)  # that no power cut brings back a time when they were in force
    except OSError as e:
        raise DataDirError(f"{root} can't be used: {e.strerror}") from e
    found = open_data_dir(root)
    leftovers = tuple(name for name in found.leftovers if not _deleted(root / name))
    if leftovers != found.leftovers:
        _write_meta(replace(found, leftovers=leftovers))


def _deleted(folder: Path) -> bool:
    for _ in range(_DELETIONS):
        if folder.is_symlink():
            hint = "only the link to it was removed; delete it if nothing else needs it"
            _log.warning("old_tables_kept", folder=str(folder.resolve()), hint=hint)
            with suppress(OSError):
                folder.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return True
    hint = "the next `shopstream reshard` tries again"
    _log.warning("old_tables_left", folder=str(folder), hint=hint)
    return False


def _create(root: Path, shards: int) -> None:
    fresh = not root.exists()
    try:
        for folder in (root, root / "log", root / _FIRST_TABLES, root / "archive", root / "run"):
            make_folder(folder)
        if fresh:
            # What visitors did and bought is personal.
            root.chmod(0o700)
    except OSError as e:
        raise DataDirError(f"{root} can't be used: {e.strerror}") from e
    _write_meta(DataDir(root, shards))


def _write_meta(found: DataDir) -> None:
    root = found.root
    unfinished = root / f".meta.{os.getpid()}.tmp"
    values: dict[str, object] = {
        "version": 1 if found.tables_name == _FIRST_TABLES else VERSION,
        "shards": found.shards,
        "tables": found.tables_name,
    }
    if found.leftovers:
        values["leftovers"] = found.leftovers
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(root / "meta.json")
        sync_folder(root)
    except OSError as e:
        raise DataDirError(f"{root} can't be used: {e.strerror}") from e


def make_folder(folder: Path) -> None:
    """Make a folder and the parents it lacks; their names survive power loss."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make names just given to files in `folder` survive power loss."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def take_lock(path: Path, busy: str, wait_s: float = 0.0) -> IO[str]:
    """The lock at `path`, held until it is closed or this process ends.

    Raises Busy with `busy` when another holds it for longer than `wait_s`.
    """
    deadline = time.monotonic() + wait_s
    lock = path.open("a+")
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                lock.close()
                raise Busy(busy) from None
            time.sleep(_LOOK_S)
        else:
            return lock
