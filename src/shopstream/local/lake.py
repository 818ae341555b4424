"""The lake's files on one machine: written aside, synced, then renamed into place."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shopstream.errors import DataDirError
from shopstream.local.datadir import make_folder, sync_folder


class FolderLake:
    """`ports.Lake` in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, body: bytes) -> None:
        path = self._path(name)
        make_folder(path.parent)
        unfinished = path.parent / f".{path.name}.tmp"
        with unfinished.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_folder(path.parent)

    def get(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise DataDirError(f"{name} is missing from the archive in {self._root}") from None

    def delete(self, name: str) -> None:
        path = self._path(name)
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()  # a day's folder goes with its last file
            if path.parent.name.startswith("hour="):
                path.parent.parent.rmdir()

    def names(self, prefix: str) -> Iterable[str]:
        found = self._path(prefix).rglob("*.json") if prefix else self._root.rglob("*.json")
        return sorted(str(path.relative_to(self._root)) for path in found)

    def _path(self, name: str) -> Path:
        path = self._root / name
        if ".." in path.parts or not path.is_relative_to(self._root):
            raise DataDirError(f"{name!r} is not a name inside the lake")
        return path
