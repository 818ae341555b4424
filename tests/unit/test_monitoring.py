"""How the stages stand, as `shopstream status` and the line of `shopstream up` show it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.lake.real_lake import RealLake, click, entry

from shopstream.cli.tables import status_line
from shopstream.events import Entry
from shopstream.heartbeats import write_heartbeat
from shopstream.lake.current import Current, TableNow, write_current
from shopstream.lake.model import load_models
from shopstream.monitoring import StageStatus, Standing, standing, status


def builder(lake: RealLake) -> StageStatus:
    [found] = [stage for stage in status(lake.settings) if stage.stage == "builder"]
    return found


def publish(lake: RealLake, landed: int, offers: str = "") -> None:
    now = TableNow(snapshot=1, files=[], rows=0, landed=str(landed))
    tables = dict.fromkeys(load_models(), now)
    tables["silver_offers"] = TableNow(snapshot=1, files=[], rows=0, landed=offers)
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


def test_offers_wait_for_the_builder_from_when_they_are_made(tmp_path: Path) -> None:
    lake = RealLake(tmp_path)
    lake.engine.write_log().close()
    assert builder(lake).lag == 0
    write_heartbeat(lake.engine.dir.run, "processor-0", {"position": 1, "unfiled": 2})
    assert builder(lake).lag == 2, "they wait for their file"
    write_heartbeat(lake.engine.dir.run, "processor-0", {"position": 1, "unfiled": 0})
    for number in (0, 1):
        body = b"{}\n" * (number + 1)
        lake.engine.lake().put(f"archive/offers/dt=2025-11-18/0-{number}-{number}.json", body)
    assert builder(lake).lag == 3, "in files, which the next build reads"
    lake.folder.mkdir()
    publish(lake, 0, offers='{"shards": {"0": {"last": 0, "names": ["dt=2025-11-18/0-0-0.json"]}}}')
    assert builder(lake).lag == 2, "it has read one of them"


def test_offers_that_wait_for_their_file_are_told_with_the_processor(tmp_path: Path) -> None:
    lake = RealLake(tmp_path)
    lake.engine.write_log().close()
    write_heartbeat(lake.engine.dir.run, "processor-0", {"offers": 2, "unfiled": 1, "alerts": 1})
    (found,) = (s for s in status(lake.settings) if s.stage == "processor-0")
    assert found.detail == "2 offers, 1 unfiled, 1 alert"


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


def test_the_line_counts_what_check_counts_from_the_beginning(tmp_path: Path) -> None:
    lake = RealLake(tmp_path)
    lake.append(entry("clicks", click("a", 18), click("b", 19)))
    lake.append(entry("clicks", click("c", 18)))
    marks = Entry(
        topic="clicks", source="replay", received_us=1, units=0, dialect="resolved", events=[b"0-1"]
    )
    lake.append(marks)
    # A collector that was started again counts from 0; the log and the processor don't.
    write_heartbeat(lake.engine.dir.run, "collector", {"received": 0, "end": 4})
    counts = {"position": 1, "derived": 2, "offers": 5, "alerts": 1, "quarantined": 3}
    write_heartbeat(lake.engine.dir.run, "processor-0", counts)
    found = standing(lake.engine)
    assert (found.received, found.lag) == (3 + 2, 3)
    assert (found.offers, found.alerts, found.quarantined) == (5, 1, 3)


def test_one_of_a_kind_is_not_said_to_be_many() -> None:
    line = "0 events/s | 1 received | 0 waiting | 1 offer | 1 alert | 1 quarantined"
    assert status_line(Standing(received=1, offers=1, alerts=1, quarantined=1)) == line
    assert " | 0 offers | 2,000 alerts | " in status_line(Standing(alerts=2_000))
