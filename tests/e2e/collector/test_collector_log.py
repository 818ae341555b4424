"""When the disk is slow, full or broken: never 200 for what isn't durable."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from shopstream.errors import LogBroken, LogFull
from shopstream.events import Entry
from shopstream.local.log import SqliteLog

CLICK = {"user_id": "u1"}


class SlowLog(SqliteLog):
    """A log whose disk takes nothing until `go` is set."""

    go = Event()

    def append(self, entries: Sequence[Entry], *, progress: Mapping[str, int] | None = None) -> int:
        self.go.wait(10)
        return super().append(entries, progress=progress)


class FailingLog(SqliteLog):
    """A log whose disk fails at the second append."""

    appends = 0

    def append(self, entries: Sequence[Entry], *, progress: Mapping[str, int] | None = None) -> int:
        self.appends += 1
        if self.appends > 1:
            raise LogBroken("the log's disk failed")
        return super().append(entries, progress=progress)


class FullLog(SqliteLog):
    """A log without room until `room` is set."""

    room = Event()

    def append(self, entries: Sequence[Entry], *, progress: Mapping[str, int] | None = None) -> int:
        if not self.room.is_set():
            raise LogFull("no room", retry_after_s=7)
        return super().append(entries, progress=progress)


def test_nobody_is_answered_before_the_disk_has_taken_the_event(start_collector: Any) -> None:
    SlowLog.go.clear()
    collector = start_collector(log_type=SlowLog)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(collector.post, "/v1/events/clicks", CLICK)
        time.sleep(0.3)
        assert not answer.done()
        assert collector.entries() == []
        SlowLog.go.set()
        assert answer.result().status_code == 200
    assert len(collector.events()) == 1


def test_a_full_queue_gets_503_and_what_was_queued_is_kept(start_collector: Any) -> None:
    SlowLog.go.clear()
    collector = start_collector(log_type=SlowLog, queue_events_max=10)
    with ThreadPoolExecutor(3) as pool:
        queued = [pool.submit(collector.post, "/v1/events/clicks", [CLICK] * 5) for _ in range(2)]
        time.sleep(0.3)
        refused = collector.post("/v1/events/clicks", CLICK)
        SlowLog.go.set()
        assert [q.result().status_code for q in queued] == [200, 200]
    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    assert collector.post("/v1/events/clicks", CLICK).status_code == 200
    assert len(collector.events()) == 11


def test_a_full_log_gets_503_and_heals_by_itself(start_collector: Any) -> None:
    FullLog.room.clear()
    collector = start_collector(log_type=FullLog)
    for path, body in (("/v1/events/clicks", CLICK), ("/v1/batch", {"batch": [CLICK]})):
        answer = collector.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (503, "log_full")
        assert answer.headers["retry-after"] == "7"
    time.sleep(1.2)
    assert not collector.client.get("/health").json()["log_writable"]
    FullLog.room.set()
    deadline = time.monotonic() + 5
    while not collector.client.get("/health").json()["log_writable"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert collector.post("/v1/events/clicks", CLICK).status_code == 200
    assert len(collector.events()) == 1


def test_a_log_above_its_limit_gets_503(start_collector: Any) -> None:
    collector = start_collector(log_bytes_max=100)
    assert collector.post("/v1/events/clicks", {"n": "x" * 500}).status_code == 200
    answers = [collector.post("/v1/events/clicks", {"n": i}) for i in range(20)]
    refused = next(answer for answer in answers if answer.status_code == 503)
    # Which limit it is, and where, the collector's own log says.
    assert refused.json()["message"] == "the log takes no more events now; try again later"


def test_a_broken_log_answers_503_and_ends_the_process_with_the_error(start_collector: Any) -> None:
    collector = start_collector(log_type=FailingLog)
    assert collector.post("/v1/events/clicks", CLICK).status_code == 200
    answer = collector.post("/v1/events/clicks", CLICK)
    assert (answer.status_code, answer.json()["code"]) == (503, "log_broken")
    collector.wait()
    assert isinstance(collector.ended_with, LogBroken)
    assert len(collector.events()) == 1


def test_what_waits_is_appended_before_the_collector_ends(start_collector: Any) -> None:
    SlowLog.go.clear()
    collector = start_collector(log_type=SlowLog)
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(collector.post, "/v1/events/clicks", CLICK) for _ in range(5)]
        time.sleep(0.3)
        collector.server.stop()
        time.sleep(0.3)
        SlowLog.go.set()
        assert [a.result().status_code for a in answers] == [200] * 5
    collector.wait()
    assert collector.ended_with is None
    assert len(collector.events()) == 5


def test_the_log_forgets_what_is_old_but_never_what_a_processor_still_needs(
    tmp_path: Path,
) -> None:
    from shopstream.collector.upkeep import trim
    from shopstream.settings import load_settings

    settings = load_settings({"data_dir": tmp_path, "log_ttl": "1h"}, environ={})
    log = SqliteLog(tmp_path / "log")
    for n in range(10):
        log.append([Entry(topic="clicks", events=[b"{}"], source="http", received_us=n, units=1)])
    hour_us = 3_600_000_000
    trim(log, settings, synced=4, now_us=5)
    assert log.start() == 0
    trim(log, settings, synced=4, now_us=hour_us + 8)
    assert log.start() == 4
    trim(log, settings, synced=0, now_us=2 * hour_us)
    assert log.start() == 4
    trim(log, settings, synced=9, now_us=hour_us + 6)
    assert log.start() == 6
    log.close()


def test_a_log_near_its_limit_forgets_what_was_processed_whatever_its_age(tmp_path: Path) -> None:
    from shopstream.collector.upkeep import trim
    from shopstream.settings import load_settings

    settings = load_settings({"data_dir": tmp_path, "log_bytes_max": 100}, environ={})
    log = SqliteLog(tmp_path / "log")
    for n in range(10):
        log.append([Entry(topic="clicks", events=[b"{}"], source="http", received_us=n, units=1)])
    trim(log, settings, synced=7, now_us=10)
    assert log.start() == 7
    log.close()


@pytest.fixture(autouse=True)
def _let_go() -> Any:
    yield
    SlowLog.go.set()
    FullLog.room.set()
