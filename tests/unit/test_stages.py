"""What was appended is processed here where nobody does, and others are waited for who may."""

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from shopstream import stages
from shopstream.engine import Engine, open_engine
from shopstream.events import Entry
from shopstream.heartbeats import read_heartbeats
from shopstream.settings import Settings

CLICK = b'{"user_id":"u%d","event_type":"view","timestamp":"2025-11-21T10:00:00Z"}'

NOW_US = 1_763_720_000_000_000


@pytest.fixture(params=[1, 2])
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Engine:
    """With 20 clicks that wait."""
    found = open_engine(Settings(data_dir=tmp_path / "data", shards=request.param))
    append(found, 20)
    return found


def append(engine: Engine, count: int) -> None:
    clicks = [CLICK % n for n in range(count)]
    entry = Entry(topic="clicks", events=clicks, source="http", received_us=NOW_US, units=count)
    with closing(engine.write_log()) as log:
        log.append([entry])


@pytest.mark.parametrize("direct", [True, False])
def test_processors_that_are_slow_to_start_are_waited_for(
    engine: Engine, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "ALONE_S", 0.2)
    held = engine.write_tables(0)
    threading.Timer(4, held.close).start()
    stages.settle(engine.settings, direct=direct)
    beats = read_heartbeats(engine.dir.run)
    assert {beats[f"processor-{n}"]["position"] for n in range(engine.shards)} == {20}


INTERRUPTED = """
import os
import signal
import sys
from pathlib import Path
from shopstream import stages
from shopstream.flows.processor import Processor
from shopstream.settings import Settings
from shopstream.stopping import ended_by_ctrl_c

process = Processor.process

def process_and_be_interrupted(*batch):
    process(*batch)
    os.kill(os.getpid(), signal.SIGINT)

Processor.process = process_and_be_interrupted
stages.ALONE_S = 0.2
with ended_by_ctrl_c():
    settings = Settings(data_dir=Path(sys.argv[1]), batch_events=1)
    stages.settle(settings, direct=bool(sys.argv[2:]))
"""
"""Ctrl-C comes within the first batch."""


@pytest.mark.parametrize("options", [[], ["direct"]])
def test_ctrl_c_is_not_taken_for_the_end_of_the_work(tmp_path: Path, options: list[str]) -> None:
    engine = open_engine(Settings(data_dir=tmp_path / "data"))
    append(engine, 20)
    append(engine, 10)
    command = [sys.executable, "-c", INTERRUPTED, str(engine.dir.root), *options]
    assert subprocess.run(command, timeout=120, check=False).returncode == 130
    assert read_heartbeats(engine.dir.run)["processor-0"]["position"] == 20
