"""What Tables on one machine promise beyond `test_tables.py`: one writer, and readers beside it."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines.engines import one_machine as engine

from shopstream.errors import Busy, DataDirError
from shopstream.local.tables import RocksTables
from shopstream.ports import Tables


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    opened = engine.write_tables(tmp_path / "tables")
    yield opened
    opened.close()


def put(tables: Tables, *items: tuple[str, str, str, bytes]) -> None:
    batch = tables.batch()
    for table, pk, sk, item in items:
        batch.put(table, pk, sk, item)
    tables.write(batch)


def test_a_second_writer_is_refused(tables: Tables, tmp_path: Path) -> None:
    with pytest.raises(Busy, match="another process writes the tables"):
        engine.write_tables(tmp_path / "tables")
    put(tables, ("offers", "u1", "a", b"1"))


def test_a_reader_sees_what_was_written_when_it_opened_and_more_after_a_refresh(
    tables: Tables, tmp_path: Path
) -> None:
    put(tables, ("offers", "u1", "a", b"1"), ("offers", "u1", "b", b"1"))
    reader = engine.read_tables(tmp_path / "tables")
    assert dict(reader.query("offers", "u1")) == {"a": b"1", "b": b"1"}
    batch = tables.batch()
    batch.put("offers", "u1", "a", b"2")
    batch.delete("offers", "u1", "b")
    batch.put("offers", "u2", "c", b"3")
    tables.write(batch)
    reader.refresh()
    assert list(reader.scan("offers")) == [("u1", "a", b"2"), ("u2", "c", b"3")]
    assert reader.get("offers", "u1", "b") is None
    reader.close()


def test_a_reader_cannot_write(tables: Tables, tmp_path: Path) -> None:
    put(tables, ("offers", "u1", "a", b"1"))
    reader = engine.read_tables(tmp_path / "tables")
    batch = reader.batch()
    batch.put("offers", "u1", "a", b"2")
    with pytest.raises(Busy, match="opened for reading"):
        reader.write(batch)
    reader.close()
    assert tables.get("offers", "u1", "a") == b"1"


def test_tables_that_were_never_written_cannot_be_read_and_it_says_what_to_do(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataDirError, match="shopstream up"):
        engine.read_tables(tmp_path / "none")


def test_one_who_may_only_read_reads_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tables" / "0"
    writer = RocksTables(folder)
    put(writer, ("offers", "u1", "a", b"one"))
    make = Path.mkdir

    def refused(path: Path, **options: bool) -> None:
        if path.name == "readers":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        make(path, **options)

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "mkdir", refused)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    reader = RocksTables.reader(folder)
    assert reader.get("offers", "u1", "a") == b"one"
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    writer.close()
    writer = RocksTables(folder)  # its names change
    put(writer, ("offers", "u1", "b", b"two"))
    reader.refresh()
    assert [sk for sk, _ in reader.query("offers", "u1")] == ["a", "b"]
    reader.close()
    writer.close()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("folder", ["shop", "clockshop", "While lock file"])
def test_damaged_tables_are_not_called_another_process(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    tables = RocksTables(place)
    put(tables, ("offers", "u1", "a", b"1"))
    with pytest.raises(Busy, match="another process writes the tables"):
        RocksTables(place)
    tables.close()  # which writes a file of them
    for file in place.glob("*.sst"):
        blocks, footer = file.read_bytes()[:-53], file.read_bytes()[-53:]
        file.write_bytes(bytes(len(blocks)) + footer)
    with pytest.raises(DataDirError, match=r"can't be opened: .*block checksum") as refused:
        RocksTables(place)
    assert not isinstance(refused.value, Busy)
    (place / "CURRENT").write_text("MANIFEST-999999\n")
    with pytest.raises(DataDirError, match=r"can't be opened: .*No such file") as refused:
        RocksTables(place)
    assert not isinstance(refused.value, Busy)
