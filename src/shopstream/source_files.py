"""Files to load: what they are, whether they are whole, and their bytes without compression.

A file is examined to its end before anything of it is loaded, so a damaged one adds nothing.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import zstandard

from shopstream.errors import SourceError

_CHUNK = 1024 * 1024
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_TYPES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".parquet": "parquet",
}


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that can be loaded. `type` is csv, ndjson or parquet; `digest` is of its bytes."""

    path: Path
    type: str
    compression: str
    size: int
    digest: str

    @property
    def tabbed(self) -> bool:
        return ".tsv" in self.path.suffixes


def examine(path: Path, type: str = "") -> SourceFile:
    """What the file is, read to its end. `type` overrides what its name says.

    Raises SourceError when it is missing, empty, damaged, or not what its name says.
    """
    try:
        with path.open("rb") as file:
            return _examined(path, file, type)
    except IsADirectoryError:
        raise SourceError(f"{path}: is a directory; name the files in it") from None
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such file") from None
    except OSError as e:
        raise SourceError(f"{path}: can't be read: {e.strerror or e}") from None


def _examined(path: Path, file: BinaryIO, type: str) -> SourceFile:
    magic = file.read(4)
    if not magic:
        raise SourceError(f"{path}: is empty (0 bytes): nothing to load")
    compression = "gzip" if magic.startswith(_GZIP) else "zstd" if magic.startswith(_ZSTD) else ""
    for suffix, name in ((".gz", "gzip"), (".zst", "zstd")):
        if path.suffix.lower() == suffix and compression != name:
            raise SourceError(f"{path}: is called {suffix} but is not {name}; rename it or redo it")
    found = type or _type_by_name(path, magic)
    if found == "parquet":
        _ensure_parquet(path, file, magic)
    elif magic == _PARQUET:
        raise SourceError(f"{path}: is Parquet, not {found}; rename it to end in .parquet")
    elif magic[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(f"{path}: is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8")
    file.seek(0)
    digest, size = _digest(path, file, compression)
    return SourceFile(path=path, type=found, compression=compression, size=size, digest=digest)


def _type_by_name(path: Path, magic: bytes) -> str:
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in (".gz", ".zst")]
    found = _TYPES.get(suffixes[-1]) if suffixes else None
    if found is None:
        if magic == _PARQUET:
            return "parquet"
        raise SourceError(
            f"{path}: its name doesn't say what it is; wanted .csv, .tsv, .ndjson, .jsonl or"
            " .parquet (with .gz or .zst), or `type` under [format] in the mapping"
        )
    return found


def _ensure_parquet(path: Path, file: BinaryIO, magic: bytes) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 4))
    if magic != _PARQUET:
        raise SourceError(f"{path}: is not Parquet: it doesn't start with PAR1")
    if size < 12 or file.read(4) != _PARQUET:
        raise SourceError(f"{path}: has no Parquet footer: it was cut off; copy or write it again")


def _digest(path: Path, file: BinaryIO, compression: str) -> tuple[str, int]:
    digest, size = sha256(), 0
    check = _Integrity(compression)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        try:
            check.feed(chunk)
        except (zlib.error, zstandard.ZstdError) as e:
            raise SourceError(f"{path}: its {compression} data is damaged: {e}") from None
    if not check.complete:
        raise SourceError(f"{path}: its {compression} data ends too early; copy it again")
    return digest.hexdigest(), size


class _Integrity:
    """Decompresses to nowhere: gzip of several members and zstd of several frames are whole."""

    def __init__(self, compression: str) -> None:
        self._compression = compression
        self.complete = not compression
        self._stream: Any = self._new()

    def _new(self) -> Any:
        match self._compression:
            case "gzip":
                return zlib.decompressobj(wbits=31)
            case "zstd":
                return zstandard.ZstdDecompressor().decompressobj()
            case _:
                return None

    def feed(self, chunk: bytes) -> None:
        while self._stream is not None and chunk:
            if self.complete:
                chunk = chunk.lstrip(b"\0")  # padding after a gzip member is allowed
                if not chunk:
                    return
                self._stream, self.complete = self._new(), False
            if self._compression == "gzip":
                self._stream.decompress(chunk, _CHUNK)
                while self._stream.unconsumed_tail:
                    self._stream.decompress(self._stream.unconsumed_tail, _CHUNK)
            else:
                self._stream.decompress(chunk)
            self.complete = self._stream.eof
            chunk = self._stream.unused_data


@contextmanager
def opened(source: SourceFile) -> Iterator[tuple[IO[bytes], BinaryIO]]:
    """The file's bytes without compression, and the file itself, whose `tell` is the progress."""
    with source.path.open("rb") as file:
        match source.compression:
            case "gzip":
                plain = cast(io.RawIOBase, gzip.GzipFile(fileobj=file))
                yield io.BufferedReader(plain, _CHUNK), file
            case "zstd":
                reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
                yield io.BufferedReader(cast(io.RawIOBase, reader), _CHUNK), file
            case _:
                yield file, file
