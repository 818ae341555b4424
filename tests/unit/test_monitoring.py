"""How far behind the builder is, as `shopstream status` shows it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.lake.real_lake import RealLake, click, entry

from shopstream.heartbeats import write_heartbeat
from shopstream.lake.current import Current, TableNow, write_current
from shopstream.lake.model import load_models
from shopstream.monitoring import StageStatus, status


def builder(lake: RealLake) -> StageStatus:
    [found] = [stage for stage in status(lake.settings) if stage.stage == "builder"]
    return found


def publish(lake: RealLake, landed: int) -> None:
    now = TableNow(snapshot=1, files=[], rows=0, landed=str(landed))
    tables = {name: now for name in load_models() if not name.startswith("silver_offers")}
    built_at = datetime.now(UTC) - timedelta(minutes=5)
    write_current(lake.engine.dir.root, Current(build=7, built_at=built_at, tables=tables))


def test_the_builders_lag_is_what_landed_and_is_not_published(tmp_path: Path) -> None:
    lake = RealLake(tmp_path)
    lake.engine.write_log().close()
    assert (builder(lake).lag, builder(lake).detail) == (0, "")
    lake.arrive("clicks", click("a", 18), click("b", 19))
    assert (builder(lake).lag, builder(lake).position) == (2, 0)
    with lake.engine.read_landed() as landed:
        publish(lake, landed.last())
    assert (builder(lake).lag, builder(lake).detail) == (0, "build 7 5 min ago")
    lake.append(entry("clicks", click("c", 18)))
    assert builder(lake).lag == 0, "that waits for the lander"
    lake.land()
    assert builder(lake).lag == 1


def test_what_the_builder_is_at_is_shown_while_it_runs(tmp_path: Path) -> None:
    lake = RealLake(tmp_path)
    lake.engine.write_log().close()
    write_heartbeat(lake.engine.dir.run, "builder", {"building": "silver_carts"})
    assert builder(lake).detail == "building silver_carts"
    write_heartbeat(lake.engine.dir.run, "builder", {"building": "silver_carts", "pid": 0})
    assert builder(lake).detail == ""
    (lake.engine.dir.root / "lake").mkdir()
    (lake.engine.dir.root / "lake" / "current.json").write_text("{")
    assert "current.json can't be read" in builder(lake).detail
