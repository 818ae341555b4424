"""The collector as a process: it ends in order, and only one writes a log."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from shopstream.errors import Busy, ConfigError
from shopstream.local.log import SqliteLog

PROGRAM = """
import sys
from shopstream.collector.server import run_collector
from shopstream.settings import load_settings
run_collector(load_settings({"data_dir": sys.argv[1], "port": 0}, environ={}))
"""


def start(data_dir: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The process and where it listens."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(data_dir)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    heartbeat = data_dir / "run" / "collector.json"
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < deadline
        try:
            found = msgspec.json.decode(heartbeat.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            found = {}
        if found.get("pid") == process.pid:
            return process, f"http://127.0.0.1:{found['port']}"
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes], number: int) -> int:
    process.send_signal(number)
    _, _ = process.communicate(timeout=20)
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_with_exit_code_0(tmp_path: Path, number: int) -> None:
    process, url = start(tmp_path)
    with httpx.Client(trust_env=False) as client:
        assert client.post(f"{url}/v1/events/clicks", content=b"{}").status_code == 200
        assert end(process, number) == 0
    assert not (tmp_path / "run" / "collector.json").exists()
    log = SqliteLog.reader(tmp_path / "log")
    assert log.end() == 1
    log.close()


def test_what_was_answered_with_200_survives_a_kill(tmp_path: Path) -> None:
    sent = 0
    for _ in range(2):
        process, url = start(tmp_path)
        with httpx.Client(trust_env=False) as client:
            for _ in range(20):
                assert client.post(f"{url}/v1/events/clicks", content=b"{}").status_code == 200
                sent += 1
        assert end(process, signal.SIGKILL) == -signal.SIGKILL
    log = SqliteLog.reader(tmp_path / "log")
    assert log.end() == sent
    log.close()


def test_a_second_collector_on_the_same_data_is_refused(collector: Any, tmp_path: Path) -> None:
    from shopstream.collector.server import run_collector
    from shopstream.settings import load_settings

    again = load_settings({"data_dir": collector.data_dir, "port": 0}, environ={})
    with pytest.raises(Busy):
        run_collector(again)
    elsewhere = {"data_dir": tmp_path / "other", "port": collector.port}
    with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1:{collector.port}"):
        run_collector(load_settings(elsewhere, environ={}))
    SqliteLog(tmp_path / "other" / "log").close()


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, shopstream.collector.server;"
        "print([m for m in ('pyarrow', 'duckdb', 'boto3') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=dict(os.environ)
    )
    assert found.stdout.strip() == b"[]"
