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
from typing import IO, BinaryIO, cast

from shopstream.errors import SourceError

_CHUNK = 1024 * 1024
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_ZSTD_ENDS_EARLY = "Truncated compressed stream"
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
    """A file that can be loaded. `type` is csv, ndjson or parquet; `digest` is of its bytes without
    compression, `size` with it.
    """

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
        advice = (
            f"the mapping is for {found} files: write one for its columns, or load it as {found}"
            if type
            else "rename it to end in .parquet"
        )
        raise SourceError(f"{path}: is Parquet, not {found}; {advice}")
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
    digest = sha256()
    try:
        stream = _inflated(file, compression)
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    except (EOFError, OSError, zlib.error) as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise  # the disk's
        if isinstance(e, EOFError) or str(e) == _ZSTD_ENDS_EARLY:
            raise SourceError(
                f"{path}: its {compression} data ends too early; copy it again"
            ) from None
        raise SourceError(f"{path}: its {compression} data is damaged: {e}") from None
    return digest.hexdigest(), path.stat().st_size


def _inflated(file: BinaryIO, compression: str) -> IO[bytes]:
    """The bytes without compression, of all members or frames, never many more in memory than are
    read. Reading raises what gzip does, and for zstd OSError.
    """
    match compression:
        case "gzip":
            plain = cast(io.RawIOBase, gzip.GzipFile(fileobj=file))
        case "zstd":
            # Of the libraries for zstd this one tells where a file ends too early.
            import pyarrow  # type: ignore[import-untyped]  # it ships no types

            plain = cast(io.RawIOBase, pyarrow.CompressedInputStream(file, "zstd"))
        case _:
            return file
    return io.BufferedReader(plain, _CHUNK)


@contextmanager
def opened(source: SourceFile) -> Iterator[tuple[IO[bytes], BinaryIO]]:
    """The file's bytes without compression, and the file itself, whose `tell` is the progress."""
    with source.path.open("rb") as file:
        yield _inflated(file, source.compression), file
