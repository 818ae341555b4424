"""The data directory: where each file is, made once, checked at every start."""

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shopstream.errors import Busy, DataDirError

_LOOK_S = 0.1
"""Between looks at a lock that another process holds."""

VERSION = 1


@dataclass(frozen=True)
class DataDir:
    """Paths in a data directory. The number of shards is fixed when it is made."""

    root: Path
    shards: int

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def run(self) -> Path:
        return self.root / "run"

    def tables(self, shard: int) -> Path:
        return self.root / "tables" / str(shard)


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
            f"{root} was made with {found.shards} shards, not {shards}; the number is fixed:"
            " leave --shards out, or load the events into a new data directory"
        )
    return found


def open_data_dir(root: Path) -> DataDir:
    """The data directory at `root`, which must be there."""
    meta = root / "meta.json"
    try:
        values = json.loads(meta.read_text("utf-8"))
        version, shards = values["version"], values["shards"]
    except FileNotFoundError:
        raise DataDirError(
            f"there is no data in {root}; run `shopstream up` or `shopstream load` first,"
            " or name another --data-dir"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataDirError(f"{meta} can't be read: {e}") from e
    if version != VERSION:
        raise DataDirError(f"{root} is of version {version}, this shopstream reads {VERSION}")
    return DataDir(root, int(shards))


def _create(root: Path, shards: int) -> None:
    fresh = not root.exists()
    try:
        for folder in (root, root / "log", root / "tables", root / "archive", root / "run"):
            make_folder(folder)
        if fresh:
            # What visitors did and bought is personal.
            root.chmod(0o700)
        unfinished = root / f".meta.{os.getpid()}.tmp"
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump({"version": VERSION, "shards": shards}, file)
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
