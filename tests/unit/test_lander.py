"""The lander: all of the log in files, once, whatever is killed when and however often."""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from shopstream import lander as stage
from shopstream import stages
from shopstream.domain.landing import Range
from shopstream.engine import Engine, open_engine
from shopstream.errors import Busy, DataDirError
from shopstream.events import Entry
from shopstream.heartbeats import read_heartbeats
from shopstream.lake.verify import Processed, verify
from shopstream.lander import Beat, Lander, request_landing, run_lander
from shopstream.local.landed import File, Landed
from shopstream.settings import Settings

NOW_US = 1_763_719_200_000_000  # 2025-11-21T10:00:00Z
HOUR_US = 3_600_000_000
TOPICS = ("clicks", "orders", "carts", "stock", "quarantine")


def settings_in(folder: Path, **options: Any) -> Settings:
    return Settings(data_dir=folder, **{"land_events_max": 20, **options})


def append(settings: Settings, rows: int, *, first: int = 0, now_us: int = NOW_US) -> None:
    """Rows of ten events each, one of them bad; each row arrives 20 minutes after the other."""
    log = open_engine(settings).write_log()
    for row in range(first, first + rows):
        raws = [
            json.dumps(
                {"event_id": f"{row}-{n}", "user_id": f"u{n}", "event_type": "view"}
                | {"timestamp": "2025-11-20T10:00:00Z" if n else "yesterday"}
            ).encode()
            for n in range(10)
        ]
        at_us = now_us + row * HOUR_US // 3
        log.append([Entry(topic="clicks", events=raws, source="http", received_us=at_us, units=10)])
    log.close()


@contextmanager
def lander_of(settings: Settings) -> Iterator[tuple[Lander, Landed]]:
    """A lander that has begun; leaving is as good as a kill."""
    engine = open_engine(settings)
    log = engine.read_log()
    with engine.write_landed() as landed:
        lander = Lander(engine, log, landed)
        lander.begin()
        yield lander, landed
        lander.close()
    log.close()


@contextmanager
def reading(settings: Settings) -> Iterator[Landed]:
    landed = open_engine(settings, create=False).read_landed()
    yield landed
    landed.close()


def land_all(settings: Settings) -> None:
    run_lander(settings, until_idle=True)


def bronze(settings: Settings) -> dict[str, bytes]:
    """All files there are, unfinished ones too."""
    root = settings.data_dir
    found = (path for path in (root / "bronze").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def files(settings: Settings) -> list[File]:
    with reading(settings) as landed:
        return [file for topic in TOPICS for file in landed.since(0, topic)]


def positions(settings: Settings) -> list[int]:
    """Of every line in the files that count, good and bad."""
    return sorted(
        json.loads(line)["position"]
        for file in files(settings)
        for line in zstandard.ZstdDecompressor()
        .decompress((settings.data_dir / file.name).read_bytes(), max_output_size=1 << 24)
        .splitlines()
    )


@contextmanager
def running(settings: Settings) -> Iterator[None]:
    """A lander that runs until the end."""
    stop = threading.Event()
    thread = threading.Thread(target=run_lander, args=(settings,), kwargs={"stop": stop})
    thread.start()
    until(lambda: "lander" in read_heartbeats(settings.data_dir / "run"))
    yield
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, "it never came"
        time.sleep(0.02)


def heartbeat(settings: Settings) -> dict[str, Any]:
    return read_heartbeats(settings.data_dir / "run")["lander"]


def test_all_of_the_log_is_landed_once_and_told(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 7)
    land_all(settings)
    assert positions(settings) == list(range(70))
    land_all(settings)
    assert positions(settings) == list(range(70))
    found = files(settings)
    assert {file.name for file in found} == set(bronze(settings))
    for file in found:
        body = (tmp_path / file.name).read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (file.bytes, file.sha256)
    with reading(settings) as landed:
        assert landed.position() == 70
        assert landed.last() == max(file.id for file in found)
        assert {(t.day, t.topic, t.source, t.reason): t.events for t in landed.tally()} == {
            ("2025-11-21", "clicks", "http", ""): 63,
            ("2025-11-21", "clicks", "http", "timestamp"): 7,
        }
    assert heartbeat(settings)["synced"] == 70


def test_a_reader_asks_for_what_came_since_it_looked(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 2)
    land_all(settings)
    with reading(settings) as landed:
        before = landed.last()
        assert [(f.first, f.after) for f in landed.since(0, "clicks")] == [(0, 20)]
        append(settings, 2, first=2)
        land_all(settings)
        assert [(f.first, f.after) for f in landed.since(before, "clicks")] == [(20, 30), (30, 40)]
        assert landed.since(before, "clicks", until=before) == []
        assert landed.since(landed.last(), "clicks") == []


def test_there_is_nothing_to_read_before_anything_was_landed(tmp_path: Path) -> None:
    open_engine(settings_in(tmp_path))
    with pytest.raises(DataDirError, match="nothing was landed yet"):
        open_engine(settings_in(tmp_path)).read_landed()


def test_all_shards_land_and_positions_stay_unique(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, shards=3)
    append(settings, 3)
    land_all(settings)
    assert positions(settings) == list(range(30))


STEPS = ("planned", "put", "half put", "committed")


@pytest.mark.parametrize("killed_when", STEPS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_kill_between_two_steps_leaves_the_same_files(
    tmp_path: Path, killed_when: str, times: int
) -> None:
    whole = settings_in(tmp_path / "whole")
    append(whole, 5)
    land_all(whole)
    append(whole, 2, first=5)
    land_all(whole)

    killed = settings_in(tmp_path / "killed")
    append(killed, 5)
    for kill in range(times):
        with lander_of(killed) as (lander, _):
            one = lander.plan()[0]
            if killed_when == "half put":
                name = next(iter(lander.put(one).files)).name
                (killed.data_dir / name).rename(
                    (killed.data_dir / name).with_name(f".{Path(name).name}.tmp")
                )
            elif killed_when != "planned":
                landing = lander.put(one)
                if killed_when == "committed":
                    lander.commit(one, landing)
        if kill == 0:
            append(killed, 2, first=5)  # what comes meanwhile is no part of what was intended
    with lander_of(killed) as (lander, _):
        while lander.land(threading.Event()):
            pass
    assert bronze(killed) == bronze(whole)
    assert [f._replace(id=0) for f in files(killed)] == [f._replace(id=0) for f in files(whole)]
    with reading(killed) as one_tally, reading(whole) as other:
        assert one_tally.tally() == other.tally()


def test_two_processes_make_the_files_that_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, both = settings_in(tmp_path / "alone"), settings_in(tmp_path / "both")
    for settings in (alone, both):
        append(settings, 40)
    land_all(alone)
    monkeypatch.setattr(stage, "BACKLOG_EVENTS", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    land_all(both)
    assert bronze(both) == bronze(alone)
    assert [f.name for f in files(both)] == [f.name for f in files(alone)]


def test_when_the_second_process_dies_the_first_goes_on_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "BACKLOG_EVENTS", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    settings = settings_in(tmp_path)
    append(settings, 40)
    with lander_of(settings) as (lander, _):
        ranges = lander.plan()
        lander._ready_worker(ranges)
        worker = lander._worker
        assert worker
        worker._process.kill()
        while lander.land(threading.Event()):
            pass
        assert lander._worker is not worker
    assert positions(settings) == list(range(400))


def test_two_landers_do_not_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "LOCK_WAIT_S", 0.1)
    settings = settings_in(tmp_path)
    with lander_of(settings), pytest.raises(Busy, match="another process lands"):
        land_all(settings)


def test_events_wait_in_the_log_until_enough_are_there(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, land_every=timedelta(hours=1))
    with running(settings):
        append(settings, 1, now_us=time.time_ns() // 1000)
        time.sleep(0.5)
        assert heartbeat(settings)["position"] == 0
        append(settings, 1, first=1, now_us=time.time_ns() // 1000)
        # In two files when an hour ends between the appends.
        until(lambda: positions(settings) == list(range(20)))


def test_events_are_landed_when_the_oldest_has_waited_long_enough(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, land_every=timedelta(seconds=1))
    with running(settings):
        append(settings, 1, now_us=time.time_ns() // 1000)
        until(lambda: bool(bronze(settings)))
    assert positions(settings) == list(range(10))


def test_what_waited_before_the_lander_began_counts_by_the_clock(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, land_every=timedelta(days=1))
    append(settings, 1, now_us=NOW_US - 48 * HOUR_US)
    with running(settings):
        until(lambda: bool(bronze(settings)))


def test_a_running_lander_is_asked_and_waited_for(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, land_every=timedelta(hours=1))
    with running(settings):
        append(settings, 1, now_us=time.time_ns() // 1000)
        assert stages.land(settings) == 10
    assert positions(settings) == list(range(10))
    assert not (settings.data_dir / "run" / "land").exists()


def test_without_one_everything_is_landed_here(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 3)
    request_landing(open_engine(settings).dir.run)
    assert stages.land(settings) == 30
    assert stages.land(settings) == 30
    assert positions(settings) == list(range(30))


def test_a_disk_that_takes_nothing_is_told_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "BEAT_S", 0.05)
    settings = settings_in(tmp_path)
    append(settings, 3)
    (tmp_path / "bronze").write_text("in the way")
    with pytest.raises(OSError, match="bronze"):
        land_all(settings)
    with running(settings):
        until(lambda: "bronze" in heartbeat(settings)["error"])
        assert heartbeat(settings)["position"] == 0
        (tmp_path / "bronze").unlink()
        until(lambda: heartbeat(settings)["position"] == 30)
        until(lambda: heartbeat(settings)["error"] == "")
    assert positions(settings) == list(range(30))


def test_bronze_goes_after_its_time_by_whole_hours_and_nothing_else_does(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, bronze_ttl=timedelta(days=1))
    append(settings, 9)
    land_all(settings)
    with reading(settings) as landed:
        assert landed.since(0, "clicks") == [], "arrived a year ago"
        assert landed.position() == 90
        last, tally = landed.last(), landed.tally()
    assert bronze(settings) == {}
    assert not list((tmp_path / "bronze" / "clicks").iterdir())
    append(settings, 1, first=9, now_us=time.time_ns() // 1000 - 9 * HOUR_US // 3)
    land_all(settings)
    assert len(files(settings)) == len(bronze(settings)) == 2
    with reading(settings) as landed:
        assert landed.last() > last
        assert set(landed.tally()) > set(tally)


def test_without_a_bronze_ttl_everything_is_kept(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 1)
    land_all(settings)
    with lander_of(settings) as (lander, _):
        lander.forget(NOW_US + 4_000 * 24 * HOUR_US)
    assert len(files(settings)) == len(bronze(settings)) == 2


def test_a_kill_while_bronze_goes_is_made_up_for(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, bronze_ttl=timedelta(0))
    append(settings, 3)
    land_all(settings)
    with lander_of(settings) as (_, landed):
        assert len(landed.expire("2025-11-21T11")) == 4  # taken out, and killed
    assert files(settings) == []
    with lander_of(settings) as (_, landed):
        names = landed.expire("")
        assert len(names) == 4
        landed.forget(names)
        assert landed.expire("") == []


def test_a_log_that_forgot_what_was_not_landed_leaves_a_gap_that_is_told(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 2)
    land_all(settings)
    append(settings, 4, first=2)
    trim(open_engine(settings), 40)
    land_all(settings)
    with reading(settings) as landed:
        assert landed.gaps() == [Range(20, 40)]
        assert landed.position() == 60
    assert positions(settings) == [*range(20), *range(40, 60)]


def test_landing_begins_where_the_log_does(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 4)
    trim(open_engine(settings), 20)
    land_all(settings)
    assert positions(settings) == list(range(20, 40))
    with reading(settings) as landed:
        assert landed.gaps() == [Range(0, 20)]


def trim(engine: Engine, before: int) -> None:
    log = engine.write_log()
    assert log.trim(before) == before
    log.close()


def test_another_log_than_the_one_that_was_landed_is_refused(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 2)
    land_all(settings)
    for path in (tmp_path / "log").iterdir():
        path.unlink()
    append(settings, 1)
    with pytest.raises(DataDirError, match="it is another log"):
        land_all(settings)


def test_only_what_was_intended_is_committed_and_in_order(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 4)
    with lander_of(settings) as (lander, landed):
        first, second = lander.plan()[:2]
        with pytest.raises(ValueError, match="is not what comes next"):
            landed.commit(second, [], [])
        with pytest.raises(ValueError, match="intended already"):
            landed.intend([first])
        landed.commit(first, [], [])
        with pytest.raises(ValueError, match="is not what comes next"):
            landed.commit(first, [], [])
        assert landed.position() == first.after


def test_sigterm_ends_the_lander_after_the_range_at_hand(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, land_every=timedelta(hours=1))
    append(settings, 1, now_us=time.time_ns() // 1000)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    run_lander(settings)
    timer.join()
    assert heartbeat(settings)["ended"] is True


def test_an_empty_log_is_landed_too(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 0)
    assert stages.land(settings) == 0
    assert files(settings) == []


# --- the database is lost -------------------------------------------------------------------------


def lose_landed_db(settings: Settings) -> None:
    for path in (settings.data_dir / "lake").glob("landed.db*"):
        path.unlink()


def test_without_its_database_it_lands_the_same_files_however_often_it_is_killed(
    tmp_path: Path,
) -> None:
    settings = settings_in(tmp_path)
    append(settings, 7)
    land_all(settings)
    before = bronze(settings)
    last = max(file.id for file in files(settings))
    lose_landed_db(settings)
    append(settings, 2, first=7)
    wider = settings_in(tmp_path, land_events_max=1_000)
    with lander_of(wider):
        pass
    for _ in range(2):
        with lander_of(wider) as (lander, _):
            one, two = lander.plan()[:2]
            lander.commit(one, lander.put(one))
            lander.put(two)
    land_all(wider)
    after = bronze(wider)
    assert {name: after[name] for name in before} == before
    assert positions(wider) == list(range(90))
    assert {file.name for file in files(wider)} == set(after)
    assert min(file.id for file in files(wider)) > last
    with reading(wider) as landed:
        assert (landed.position(), landed.gaps()) == (90, [])
        assert sum(tally.events for tally in landed.tally()) == 90


def test_what_the_log_has_forgotten_is_taken_over_from_bronze(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 7)
    land_all(settings)
    before, told = files(settings), bronze(settings)
    with reading(settings) as landed:
        tally = sorted(landed.tally())
    log = open_engine(settings).write_log()
    start = log.trim(40)
    log.close()
    assert start == 40
    lose_landed_db(settings)
    land_all(settings)
    assert bronze(settings) == told
    without_ids = [[file._replace(id=0) for file in some] for some in (before, files(settings))]
    assert without_ids[0] == without_ids[1]
    with reading(settings) as landed:
        assert sorted(landed.tally()) == tally
        assert landed.gaps() == [Range(0, 50)]  # a range ends there


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "something else": lambda _: b"?",
    "empty": lambda _: b"",
    "a frame without rows": lambda _: zstandard.compress(b""),
    "cut in its header": lambda whole: whole[:9],
    "half": lambda whole: whole[: len(whole) // 2],
    "without its last byte": lambda whole: whole[:-1],
    "with more behind it": lambda whole: whole + whole,
    "another file's": lambda _: zstandard.compress(
        b'{"position":999,"source":"http","timestamp":"2025-11-20T10:00:00Z"}\n'
    ),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_not_taken_over_and_check_tells_of_it(tmp_path: Path, how: str) -> None:
    settings = settings_in(tmp_path)
    append(settings, 7)
    land_all(settings)
    trim(open_engine(settings), 60)
    lose_landed_db(settings)
    spoilt = min(name for name in bronze(settings) if "/clicks/" in name)
    whole = (tmp_path / spoilt).read_bytes()
    (tmp_path / spoilt).write_bytes(DAMAGES[how](whole))
    before = bronze(settings)
    land_all(settings)
    assert {file.name for file in files(settings)} == set(before) - {spoilt}
    assert bronze(settings) == before
    (said,) = differences(settings)
    assert said.startswith(f"{spoilt} is not known to lake/landed.db")
    (tmp_path / spoilt).write_bytes(whole)
    lose_landed_db(settings)
    land_all(settings)
    assert differences(settings) == []
    assert positions(settings) == list(range(70))


def test_an_older_copy_of_it_forgets_no_file_that_bronze_alone_still_has(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 3)
    land_all(settings)
    copy = (tmp_path / "lake" / "landed.db").read_bytes()
    append(settings, 4, first=3)
    land_all(settings)
    before = files(settings)
    with reading(settings) as landed:
        tally = sorted(landed.tally())
    append(settings, 1, first=7)
    trim(open_engine(settings), 60)
    lose_landed_db(settings)
    (tmp_path / "lake" / "landed.db").write_bytes(copy)
    land_all(settings)
    assert positions(settings) == list(range(80))
    assert {file.name for file in before} < {file.name for file in files(settings)}
    with reading(settings) as landed:
        assert landed.gaps() == [Range(30, 60)]
        assert sum(t.events for t in landed.tally()) == sum(t.events for t in tally) + 10
    assert differences(settings) == []


def test_after_an_older_copy_the_log_is_landed_into_the_files_that_there_are(
    tmp_path: Path,
) -> None:
    """Also where no table has read what the copy lacks."""
    settings = settings_in(tmp_path)
    append(settings, 3)
    land_all(settings)
    copy = (tmp_path / "lake" / "landed.db").read_bytes()
    append(settings, 4, first=3)
    land_all(settings)
    before = bronze(settings)
    lose_landed_db(settings)
    (tmp_path / "lake" / "landed.db").write_bytes(copy)
    append(settings, 1, first=7)
    land_all(settings_in(tmp_path, land_events_max=1_000))
    assert bronze(settings).items() > before.items()
    assert {file.name for file in files(settings)} == set(bronze(settings))
    assert positions(settings) == list(range(80))
    assert differences(settings) == []


def test_what_is_taken_over_goes_on_where_it_was_ended_or_killed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    append(settings, 9)
    land_all(settings)
    before = [file._replace(id=0) for file in files(settings)]
    with reading(settings) as landed:
        tally = sorted(landed.tally())
    trim(open_engine(settings), 60)
    lose_landed_db(settings)
    engine = open_engine(settings)
    stop = threading.Event()
    for n in range(1, 3):
        stop.clear()
        log = engine.read_log()
        with engine.write_landed() as landed:
            lander = Lander(engine, log, landed)
            beat = EndsAt(stop)
            lander.begin(stop, beat)
            assert beat.told == [lander.position] == [landed.position()]
            assert landed.unsure()
        log.close()
        assert len(files(settings)) == 2 * n
    land_all(settings)
    assert sorted(file._replace(id=0) for file in files(settings)) == sorted(before)
    with reading(settings) as landed:
        assert sorted(landed.tally()) == tally
        assert landed.gaps() == [Range(0, 60)]


class EndsAt(Beat):
    """Has the lander end when it says how far it is."""

    def __init__(self, stop: threading.Event) -> None:
        self.told: list[int] = []
        self._stop = stop

    def tell(self, lander: Lander, *, last: bool = False) -> None:
        self.told.append(lander.position)
        self._stop.set()


def test_ranges_that_are_landed_again_are_taken_some_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    append(settings, 7)
    land_all(settings)
    lose_landed_db(settings)
    monkeypatch.setattr(stage, "RANGES_MAX", 2)
    with lander_of(settings) as (lander, landed):
        assert len(landed.intent(100)) > 3
        assert lander.plan() == landed.intent(2)
        lander.land(threading.Event())
        assert lander.position == landed.intent(1)[0].first
    land_all(settings)
    assert positions(settings) == list(range(70))


@pytest.mark.parametrize("instead", ["nothing", "another"])
def test_a_lander_whose_database_is_taken_away_ends_and_the_next_one_makes_it_anew(
    tmp_path: Path, instead: str
) -> None:
    settings = settings_in(tmp_path, land_every=timedelta(hours=1))
    append(settings, 3)
    land_all(settings)
    copy = (tmp_path / "lake" / "landed.db").read_bytes()
    failed: list[DataDirError] = []
    stop = threading.Event()

    def run() -> None:
        try:
            run_lander(settings, stop=stop)
        except DataDirError as e:
            failed.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: heartbeat(settings).get("ended") is False)
    lose_landed_db(settings)
    if instead == "another":
        (tmp_path / "lake" / "landed.db").write_bytes(copy)
    append(settings, 2, first=3)
    thread.join(5)
    stop.set()
    thread.join()
    assert "landed.db was taken away" in str(failed[0])
    assert stages.land(settings) == 50
    assert positions(settings) == list(range(50))


def differences(settings: Settings) -> list[str]:
    report = verify(open_engine(settings, create=False), Processed({}, ()))
    assert report is not None
    return report.differences
