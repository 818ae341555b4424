"""Commands append to the log themselves or through the collector that runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shopstream.engine import open_engine
from shopstream.errors import NotRunning
from shopstream.events import Entry
from shopstream.feed import CollectorFeed, open_feed
from shopstream.heartbeats import alive, read_heartbeats
from shopstream.loader import load_files
from shopstream.patience import wait_s
from shopstream.settings import Settings

PROGRAM = """
import sys
from pathlib import Path
from shopstream.collector.server import run_collector
from shopstream.settings import Settings
run_collector(Settings(data_dir=Path(sys.argv[1]), port=0))
"""


def started(data_dir: Path) -> "subprocess.Popen[bytes]":
    collector = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data_dir)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while True:
        beat = read_heartbeats(data_dir / "run").get("collector", {})
        if beat.get("pid") == collector.pid and alive(beat, time.time_ns() // 1000):
            return collector
        assert collector.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    collector = started(data_dir)
    try:
        yield collector
    finally:
        collector.terminate()
        collector.wait(30)


def entry(*events: bytes) -> Entry:
    return Entry(
        topic="clicks", events=list(events), source="load:x", received_us=1, units=len(events)
    )


def received(settings: Settings) -> dict[tuple[str, str], int]:
    log = open_engine(settings).read_log()
    try:
        return log.received()
    finally:
        log.close()


def test_without_a_collector_the_command_writes_the_log(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with open_feed(settings) as feed:
        assert feed.direct
        assert feed.append([entry(b"{}", b"{}")], {"file": 2}) == 2
        assert feed.progress("file") == 2
        assert feed.progress("other") == 0


def test_with_a_collector_entries_go_through_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with running(settings.data_dir), open_feed(settings) as feed:
        assert not feed.direct
        assert feed.append([entry(b"{}", b"{}")], {"file": 2}) == 2
        assert feed.progress("file") == 2
    assert received(settings) == {("clicks", "load:x"): 2}


def test_a_log_held_by_something_that_is_no_collector_is_said(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with open_feed(settings), pytest.raises(NotRunning, match="no collector answers"):
        CollectorFeed(open_engine(settings), starting_s=0)


def test_a_load_goes_on_exactly_when_its_collector_is_killed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    line = b'{"user_id":"u%d","event_type":"view","timestamp":"2020-07-01T12:00:00Z"}\n'
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"".join(line % n for n in range(100_000)))
    collectors = [started(settings.data_dir)]

    def kill_and_start_again(_done: int, _total: int, events: int) -> None:
        if events in (20_000, 60_000):
            os.kill(collectors[-1].pid, signal.SIGKILL)
            collectors[-1].wait(30)
            collectors.append(started(settings.data_dir))

    try:
        report = load_files(settings, [path], "clicks", on_progress=kill_and_start_again)
    finally:
        collectors[-1].terminate()
        collectors[-1].wait(30)
    assert len(collectors) == 3
    assert not report.direct
    assert received(settings) == {("clicks", "load:clicks"): 100_000}


def test_waiting_grows_with_jitter_and_obeys_retry_after() -> None:
    assert all(wait_s(1) <= 0.2 for _ in range(50))
    assert max(wait_s(9) for _ in range(200)) > 5
    assert all(wait_s(1_000) <= 10 for _ in range(50))
    assert 3 <= wait_s(1, {"retry-after": "3"}) <= 3.3
    assert wait_s(1, {"retry-after": "86400"}) <= 66
    assert wait_s(1, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}) <= 0.2
