"""`shopstream lake reland` makes damaged bronze anew from the log, and nothing but what it was."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.ask.test_command import shopstream
from tests.lake.real_lake import RealLake, click, order

from shopstream.lake.reland import ANOTHER, reland
from shopstream.lake.verify import Processed, verify
from shopstream.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def lake(tmp_path: Path) -> RealLake:
    """Three messages, each landed by itself; one event is rejected."""
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18), click("b", 19))
    lake.arrive("orders", order("o1", 18), {"order_id": "bad"})
    lake.arrive("clicks", click("c", 19))
    return lake


def bronze(lake: RealLake) -> dict[str, bytes]:
    data_dir = lake.settings.data_dir
    found = (data_dir / "bronze").rglob("*.zst")
    return {path.relative_to(data_dir).as_posix(): path.read_bytes() for path in sorted(found)}


def broken(lake: RealLake) -> list[str]:
    report = verify(lake.engine, Processed({}, []))
    assert report is not None
    return [found for found in report.differences if found.startswith("bronze/")]


def test_files_that_are_damaged_or_gone_are_again_what_was_landed(lake: RealLake) -> None:
    before = bronze(lake)
    assert len(before) == 4
    cut, gone, flipped, _ = names = sorted(before)
    data_dir = lake.settings.data_dir
    (data_dir / cut).write_bytes(before[cut][:-1])
    (data_dir / gone).unlink()
    (data_dir / flipped).write_bytes(bytes([before[flipped][0] ^ 1]) + before[flipped][1:])
    assert len(broken(lake)) == 3
    done = reland(lake.settings)
    assert sorted(done.restored) == names[:3]
    assert done.lost == {}
    assert bronze(lake) == before
    assert broken(lake) == []
    assert reland(lake.settings).restored == []
    lake.build()


def test_what_the_log_has_no_more_is_named_and_left_as_it_is(lake: RealLake) -> None:
    before = bronze(lake)
    first, *_ = names = sorted(name for name in before if "/clicks/" in name)
    data_dir = lake.settings.data_dir
    for name in names:
        (data_dir / name).write_bytes(b"damaged")
    log = lake.engine.write_log()
    log.trim(2)
    log.close()
    done = shopstream(data_dir, "lake", "reland", code=1)
    assert f"lost: {first}: the log has its events no more" in done.stderr
    assert (data_dir / first).read_bytes() == b"damaged"
    assert f"made anew: {names[1]}" in done.stderr
    assert (data_dir / names[1]).read_bytes() == before[names[1]]


def test_a_file_that_would_be_another_is_not_written(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data", future_max=timedelta(days=30))
    lake.arrive("clicks", click("a", 18), click("b", 25))
    (name,) = bronze(lake)
    (lake.settings.data_dir / name).unlink()
    stricter = Settings(data_dir=lake.settings.data_dir)
    assert reland(stricter).lost == {name: ANOTHER}
    assert bronze(lake) == {}
    assert reland(lake.settings).restored == [name]


def test_a_range_that_the_log_lacks_holds_up_no_other(lake: RealLake) -> None:
    before = bronze(lake)
    lake.put([(50, "clicks", click("d", 18))])
    (strange,) = bronze(lake).keys() - before.keys()
    for name in (strange, *before):
        (lake.settings.data_dir / name).unlink()
    done = reland(lake.settings)
    assert sorted(done.restored) == sorted(before)
    assert "the log lacks its row" in done.lost[strange]
