"""A file is examined to its end before anything of it is loaded."""

import gzip
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
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
        ("x.csv.zst", zstandard.compress(TEXT) * 2 + b"(\xb5", "zstd data ends too early"),
        ("x.csv.zst", zstandard.compress(TEXT) + b"more", "zstd data is damaged"),
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


def test_a_file_is_the_same_however_it_is_compressed(tmp_path: Path) -> None:
    text = TEXT * 100
    bodies = {
        "x.csv": text,
        "x.csv.gz": gzip.compress(text),
        "two.csv.gz": gzip.compress(text[:1_000]) + gzip.compress(text[1_000:]),
        "x.csv.zst": zstandard.compress(text),
    }
    found = [examine(written(tmp_path / name, body)) for name, body in bodies.items()]
    assert {source.digest for source in found} == {sha256(text).hexdigest()}
    assert examine(written(tmp_path / "y.csv", TEXT)).digest == sha256(TEXT).hexdigest()


@pytest.mark.parametrize(
    ("name", "compress"), [("x.csv.gz", gzip.compress), ("x.csv.zst", zstandard.compress)]
)
def test_a_small_file_that_inflates_to_a_large_one_is_read_in_small_pieces(
    tmp_path: Path, name: str, compress: Callable[[bytes], bytes]
) -> None:
    file = written(tmp_path / name, compress(b"0" * 200_000_000))
    tracemalloc.start()
    try:
        with opened(examine(file)) as (stream, _):
            assert len(stream.read(1_000)) == 1_000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_parquet_is_not_loaded_by_a_mapping_for_another_type(tmp_path: Path) -> None:
    file = written(tmp_path / "x.parquet", b"PAR1 and so on PAR1")
    with pytest.raises(SourceError, match="the mapping is for ndjson files: write one for its col"):
        examine(file, "ndjson")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no such file"):
        examine(tmp_path / "x.csv")
    with pytest.raises(SourceError, match="is a directory"):
        examine(tmp_path)
