"""A file is examined to its end before anything of it is loaded."""

import gzip
from pathlib import Path

import pytest
import zstandard

from shopstream.errors import SourceError
from shopstream.source_files import examine, opened

TEXT = b"a,b\n" + b"1,2\n" * 10_000


def written(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("x.csv", TEXT),
        ("x.csv.gz", gzip.compress(TEXT)),
        ("x.csv.gz", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]) + b"\0" * 512),
        ("x.csv.zst", zstandard.compress(TEXT)),
        ("x.csv.zst", zstandard.compress(TEXT[:100]) + zstandard.compress(TEXT[100:])),
        ("x.csv", gzip.compress(TEXT)),
    ],
)
def test_compressed_files_are_read_whole_whatever_they_are_called(
    tmp_path: Path, name: str, body: bytes
) -> None:
    source = examine(written(tmp_path / name, body))
    assert (source.type, source.size) == ("csv", len(body))
    with opened(source) as (stream, _):
        assert stream.read() == TEXT


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("x.csv", b"", r"is empty \(0 bytes\): nothing to load"),
        ("x.csv.gz", TEXT, "is called .gz but is not gzip"),
        ("x.csv.zst", gzip.compress(TEXT), "is called .zst but is not zstd"),
        ("x.csv.gz", gzip.compress(TEXT)[:-9], "gzip data ends too early"),
        ("x.csv.gz", gzip.compress(TEXT)[:-8] + b"12345678", "gzip data is damaged"),
        ("x.csv.zst", zstandard.compress(TEXT)[:-1], "zstd data ends too early"),
        ("x.csv", "a,b".encode("utf-16"), "is UTF-16; convert it first"),
        ("x.csv", b"PAR1 and so on PAR1", "is Parquet, not csv"),
        ("x.parquet", TEXT, "is not Parquet: it doesn't start with PAR1"),
        ("x.parquet", b"PAR1" + b"x" * 100, "has no Parquet footer: it was cut off"),
        ("x.data", TEXT, "its name doesn't say what it is"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_the_reason(
    tmp_path: Path, name: str, body: bytes, said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        examine(written(tmp_path / name, body))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no such file"):
        examine(tmp_path / "x.csv")
    with pytest.raises(SourceError, match="is a directory"):
        examine(tmp_path)
