"""Databases of SQLite: there whole, or not at all."""

import shutil
from pathlib import Path

import apsw
import pytest

from shopstream.local.sqlite import connect, open_database


def made(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS things (name TEXT)")


def things(path: Path) -> list[str]:
    db = connect(path, readonly=True)
    try:
        return [name for (name,) in db.execute("SELECT name FROM things ORDER BY name")]
    finally:
        db.close()


def test_nobody_finds_a_database_before_its_tables_are_made(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    seen: list[bool] = []

    def watched(db: apsw.Connection) -> None:
        made(db)
        seen.append(path.exists())

    open_database(path, watched).close()
    assert seen[0] is False
    assert things(path) == []


def test_one_whose_making_ended_halfway_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "things.db"

    def broken(db: apsw.Connection) -> None:
        db.execute("CREATE TABLE things (other TEXT)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_database(path, broken)
    assert not path.exists()
    open_database(path, made).close()
    assert things(path) == []
    assert not list(tmp_path.glob("*.new*"))


def test_the_journal_of_a_lost_one_gives_nothing_back(tmp_path: Path) -> None:
    path, journal = tmp_path / "things.db", tmp_path / "things.db-wal"
    db = open_database(path, made)
    db.execute("INSERT INTO things VALUES ('lost')")
    shutil.copy(journal, tmp_path / "kept")
    db.close()
    path.unlink()
    shutil.copy(tmp_path / "kept", journal)
    open_database(path, made).close()
    assert things(path) == []


def test_one_that_is_there_keeps_what_it_has_and_gets_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "things.db"
    db = open_database(path, made)
    db.execute("INSERT INTO things VALUES ('kept')")
    db.close()
    db = open_database(path, lambda db: db.execute("CREATE TABLE IF NOT EXISTS more (n INTEGER)"))
    assert list(db.execute("SELECT n FROM more")) == []
    db.close()
    assert things(path) == ["kept"]
