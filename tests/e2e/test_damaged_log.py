"""A damaged page or row of the log ends a command with what is the matter, not with a traceback."""

from pathlib import Path

import apsw
import pytest
from tests.e2e.command import Shop

from shopstream.engine import Engine, open_engine
from shopstream.errors import LogBroken
from shopstream.events import Entry
from shopstream.settings import Settings

PAGE = 4096
CLICK = b'{"user_id":"u%d","event_type":"view","timestamp":"2025-11-21T10:00:00Z"}'


@pytest.fixture
def engine(shop: Shop) -> Engine:
    """With a log of two rows, which is one file."""
    found = open_engine(Settings(data_dir=shop.data_dir, lake=False))
    log = found.write_log()
    for first in (0, 300):
        clicks = [CLICK % n for n in range(first, first + 300)]
        log.append([Entry(topic="clicks", events=clicks, source="http", received_us=1, units=300)])
    log.close()
    return found


def write_over(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


def test_of_pages_that_are_damaged_every_command_says_so(shop: Shop, engine: Engine) -> None:
    file = engine.dir.log / "log.db"
    for offset in range(PAGE, file.stat().st_size, PAGE):  # the first tells of the tables
        write_over(file, offset, b"\xff" * 64)
    for words in (["status"], ["check"], ["processor", "--until-idle"]):
        told = shop.run(*words, code=3).stderr
        assert told.splitlines()[-1].startswith("error: the log can't be read: "), words
        assert "Traceback" not in told, words


def test_a_row_whose_bytes_are_damaged_is_named(engine: Engine) -> None:
    with apsw.Connection(str(engine.dir.log / "log.db")) as db:
        body = bytearray(db.execute("SELECT body FROM rows WHERE position = 300").get)
        body[-40:-20] = bytes(20)
        db.execute("UPDATE rows SET body = ? WHERE position = 300", (bytes(body),))
    log = engine.read_log()
    assert [row.next for row in log.read(0, events_max=1)] == [300], "the rows before it are read"
    with pytest.raises(LogBroken, match="row at 300 is damaged"):
        log.read(0)
    with pytest.raises(LogBroken, match="row at 300 is damaged"):
        list(log.rows(0, 600))
    log.close()
