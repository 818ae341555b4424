"""How the catalog writes a table's metadata: on the disk before anything names it.

pyiceberg syncs nothing of what it writes (manifests, manifest lists, metadata), and then SQLite
makes the pointer to it durable: after a power cut the pointer would lead to a file that is empty or
not there. Seven syncs a commit.
"""

from pathlib import Path
from types import TracebackType
from typing import Any

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from shopstream.lake.catalog import path_of
from shopstream.lake.current import sync_path

_LAST = ".metadata.json"
"""Ends the name of the file that is written last, in the folder of the others, before the catalog
points to it: so names are synced then.
"""


class DurableFileIO(PyArrowFileIO):
    """Local files; one that was written and closed survives power loss, its name after `_LAST`."""

    def new_output(self, location: str) -> PyArrowFile:
        plain = super().new_output(location)
        return _DurableFile(plain, path_of(self.properties["warehouse"]).parent)


class _DurableFile(PyArrowFile):
    """A file below `top`, itself a folder whose name is on the disk already."""

    def __init__(self, plain: PyArrowFile, top: Path) -> None:
        super().__init__(plain.location, plain._path, plain._filesystem, plain._buffer_size)
        self._top = top

    def create(self, overwrite: bool = False) -> OutputStream:
        return _DurableStream(super().create(overwrite), Path(self._path), self._top)


class _DurableStream(OutputStream):
    """An OutputStream that is synced as it is closed; also what pyarrow takes for a file."""

    def __init__(self, stream: Any, path: Path, top: Path) -> None:
        self._stream, self._path, self._top = stream, path, top

    def write(self, b: bytes) -> int:
        return int(self._stream.write(b))

    def tell(self) -> int:
        return int(self._stream.tell())

    def flush(self) -> None:
        self._stream.flush()

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)

    def close(self) -> None:
        if self.closed:
            return
        self._stream.close()
        sync_path(self._path)
        if not self._path.name.endswith(_LAST):
            return
        # One of these may just have been made. A folder without news costs 0.06 ms.
        for folder in self._path.parents:
            sync_path(folder)
            if folder == self._top or not folder.is_relative_to(self._top):
                break

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
