"""Where `landed.db` is lost or an older copy, what was landed before is found, of whatever hour it
is, and landed into the same files.
"""

import time
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.lake.real_lake import RealLake, click, entry

from shopstream.events import TOPICS
from shopstream.lake.verify import Processed, verify
from shopstream.lander import Lander
from shopstream.quarantine import replay
from shopstream.stages import settle

VIEWED = {
    "event": "Product Viewed", "messageId": "m", "userId": "u",
    "timestamp": "2025-11-18T10:00:00Z", "properties": {"product_id": "p"},
}  # fmt: skip


def now_us() -> int:
    return time.time_ns() // 1_000


def copy_of(lake: RealLake) -> bytes:
    return (lake.folder / "landed.db").read_bytes()


def put_back(lake: RealLake, older: bytes | None) -> None:
    for path in lake.folder.glob("landed.db*"):
        path.unlink()
    if older is not None:
        (lake.folder / "landed.db").write_bytes(older)


def bronze(lake: RealLake) -> dict[str, bytes]:
    root = lake.settings.data_dir
    found = (root / "bronze").rglob("*.zst")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def lands_the_same_files(lake: RealLake, older: bytes | None, rows: int) -> None:
    before = bronze(lake)
    put_back(lake, older)
    lake.land()
    assert bronze(lake) == before
    with lake.landed() as landed:
        known = {file.name for topic in (*TOPICS, "quarantine") for file in landed.since(0, topic)}
    assert known == before.keys()
    lake.build(select=("silver_clicks",))
    assert len(lake.rows("silver_clicks")) == rows
    report = verify(lake.engine, Processed({}, ()))
    assert report is not None
    assert report.differences == []


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "older"])
def test_a_replay_that_keeps_its_first_arrival_is_landed_where_it_was(
    tmp_path: Path, lost: bool
) -> None:
    """Its mark is of now, and its message is of a year ago: a message is read as it was sent."""
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", VIEWED, dialect="segment")
    older = copy_of(lake)
    settle(lake.settings, direct=True)
    assert replay(lake.settings, {"topic": "clicks"}, {"type": "track"}).replayed == 1
    lake.land()
    lake.arrive("clicks", click("a", 18), received_us=now_us())
    lands_the_same_files(lake, None if lost else older, rows=2)


def test_an_older_copy_that_was_about_to_land_finds_what_came_after_it(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.append(entry("clicks", click("a", 18)))
    with lake.engine.write_landed() as landed, closing(lake.engine.read_log()) as log:
        lander = Lander(lake.engine, log, landed)
        lander.begin()
        assert lander.plan()
    older = copy_of(lake)
    lake.land()
    for n in range(3):
        lake.arrive("clicks", click(f"b{n}", 18))
    lands_the_same_files(lake, older, rows=4)


def test_an_older_copy_finds_what_came_after_marks_of_which_there_is_no_file(
    tmp_path: Path,
) -> None:
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18))
    older = copy_of(lake)
    mark = entry("clicks", received_us=now_us(), units=0, source="replay", dialect="resolved")
    lake.append(replace(mark, events=[b"0-x"]))
    lake.land()
    for n in range(3):
        lake.arrive("clicks", click(f"b{n}", 18))
    lands_the_same_files(lake, older, rows=4)
