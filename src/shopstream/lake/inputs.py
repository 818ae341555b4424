"""What a build finds: what has landed since each table last read its source."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from shopstream.errors import DataDirError
from shopstream.lake.files import is_whole
from shopstream.lake.model import Source

if TYPE_CHECKING:
    from shopstream.engine import Engine
    from shopstream.local.landed import File, Landed, Tally

ARCHIVE = "archive/offers"


class New(NamedTuple):
    """Files that a table has not read, with their event days, and where it stands after them."""

    files: list[Path]
    days: frozenset[str]
    landed: str


class Filed(Struct, frozen=True):
    """How far the archive of one shard was read: the last number, and the files that end there."""

    last: int
    names: list[str]


class Archived(Struct, frozen=True):
    """How far the archive was read: each shard, and when its newest folder was last changed."""

    shards: dict[str, Filed] = {}
    changed_us: int = 0

    @classmethod
    def of(cls, landed: str) -> Archived:
        """What a table says that is made of the archive; nothing if it is empty."""
        return _decode_archived(landed) if landed else cls()

    def has(self, name: str) -> bool:
        """Whether file `dt=<day>/<shard>-<first>-<last>.json` was read. A range of numbers makes a
        file for each day, one after the other, so of the last range some may still have come.
        """
        shard, _, last = name.rpartition("/")[2].removesuffix(".json").split("-")
        read = self.shards.get(shard)
        return read is not None and (int(last) < read.last or name in read.names)


_decode_archived = msgspec.json.Decoder(Archived).decode
_UNCHANGED_US = 24 * 3_600 * 1_000_000
"""Folders of days that were last changed so long before the newest are not looked into again."""


class Inputs:
    """What had landed when the build began: later files are for the next one."""

    def __init__(self, engine: Engine, now_us: int) -> None:
        self._now_us = now_us
        self._engine = engine
        self._root = engine.dir.root.resolve()
        self._landed: Landed | None
        try:
            self._landed = engine.read_landed()
        except DataDirError:
            if (self._root / "bronze").exists():
                if (self._root / "lake" / "landed.db").exists():
                    raise
                raise DataDirError(
                    "lake/landed.db is missing, which says what has landed: `shopstream build`"
                    " makes it anew of bronze/ and the log"
                ) from None
            self._landed = None  # nothing was ever landed here
        self.until = self._landed.last() if self._landed else 0
        self._files: dict[Path, File] = {}

    def new(self, source: Source, landed: str, *, again: bool = False) -> New:
        """What is new of `source` for a table that stands at `landed`; all with `again`."""
        if source.archive:
            return self._archived(Archived.of("" if again else landed))
        if source.tally:
            changed = again or landed != str(self.until)
            return New([self._root] if changed else [], frozenset(), str(self.until))
        found: list[File] = []
        if self._landed and self.until:
            read = 0 if again else int(landed or 0)
            found = self._landed.unread(source.topic or "", read, self.until)
        days = frozenset(day for file in found for day in file.days)
        return New([self._path(file) for file in found], days, str(self.until))

    def of_days(self, source: Source, landed: str, since: str, until: str) -> New:
        """The files that hold a day of the range, with these days, of those that a table which
        stands at `landed` has read.
        """
        if source.archive:
            found = [(p, {_day(p)}) for p in self.new(source, "", again=True).files]
        elif self._landed and int(landed or 0):
            read = self._landed.since(0, source.topic or "", int(landed or 0))
            found = [(self._path(file), set(file.days)) for file in read]
        else:
            found = []
        files, days = [], set()
        for path, held in found:
            within = {d for d in held if (not since or d >= since) and (not until or d <= until)}
            if within:
                files.append(path)
                days |= within
        return New(files, frozenset(days), landed)

    def _path(self, file: File) -> Path:
        path = self._root / file.name
        self._files[path] = file
        return path

    def spoilt(self, files: Iterable[Path]) -> list[Path]:
        """Those of `files` that aren't there or not what was landed, which a reader of them may not
        notice.
        """
        known = ((path, self._files.get(path)) for path in files)
        return [path for path, file in known if file and not is_whole(path, file.sha256)]

    def only_read(self, path: Path, landed: str) -> bool:
        """Whether a table that stands at `landed` has read a spoilt file that the log can't make
        anew any more.
        """
        read, file = int(landed or 0), self._files[path]
        if self._landed is None or file.id > read or not self._landed.knows(read):
            return False
        with suppress(DataDirError), closing(self._engine.read_log()) as log:
            return file.first < log.start() or file.after > log.end()
        return False

    def tally(self) -> list[Tally]:
        return self._landed.tally() if self._landed else []

    def _archived(self, read: Archived) -> New:
        """Files of offers. When folders were changed says where to look, unless the clock was set
        back since: then all are looked into.
        """
        files: list[Path] = []
        reached = dict(read.shards)
        folders = _folders(self._root / ARCHIVE)
        newest_us = max([read.changed_us, *(at_us for _, at_us in folders)])
        since_us = read.changed_us - _UNCHANGED_US if newest_us <= self._now_us else 0
        for path in sorted(_files(folders, since_us)):
            name = f"{path.parent.name}/{path.name}"
            if read.has(name):
                continue
            files.append(path)
            shard, _, last = path.stem.split("-")
            now = reached.get(shard, Filed(-1, []))
            if int(last) > now.last:
                reached[shard] = Filed(int(last), [name])
            elif int(last) == now.last:
                reached[shard] = Filed(now.last, [*now.names, name])
        landed = Archived(reached, min(newest_us, self._now_us)) if files else read
        return New(files, frozenset(map(_day, files)), msgspec.json.encode(landed).decode())

    def close(self) -> None:
        if self._landed:
            self._landed.close()


def _folders(archive: Path) -> list[tuple[str, int]]:
    """The folders of days, and when each was last changed, in microseconds."""
    if not archive.is_dir():
        return []
    found = [entry for entry in os.scandir(archive) if entry.is_dir()]
    return [(entry.path, entry.stat().st_mtime_ns // 1_000) for entry in found]


def _files(folders: list[tuple[str, int]], changed_since_us: int) -> Iterator[Path]:
    for folder, at_us in folders:
        if at_us >= changed_since_us:
            for file in os.scandir(folder):
                if file.name.endswith(".json") and not file.name.startswith("."):
                    yield Path(file.path)


def _day(path: Path) -> str:
    return path.parent.name.removeprefix("dt=")
