"""Real files, loaded and processed by processes that are killed at random moments: all counts are
those of GROUND_TRUTH.json all the same, and loading again adds nothing.
"""

import json
import os
import random
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.faults.shop import Request, click
from tests.faults.stages import environment, get, post, run, shopstream

pytestmark = pytest.mark.slow


class History(NamedTuple):
    """A file to load and what must come of it."""

    file: str
    mapping: str
    topic: str
    counts: dict[str, int]
    quarantine: dict[str, int]


REES46 = History(
    "rees46/2019-Oct-head.csv",
    "rees46",
    "clicks",
    {"received": 17_435, "accepted": 17_429, "duplicate": 5, "quarantined": 1},
    {"columns": 1},
)
UCI = History(
    "uci_online_retail/lines_2010-12_2011-05.csv.gz",
    "uci_online_retail",
    "orders",
    {"received": 209_029, "accepted": 207_737, "duplicate": 0, "quarantined": 1_292},
    {"quantity": 651, "price": 641},
)


def checked(data_dir: Path) -> dict[str, Any]:
    found = run(shopstream("check", "--format", "json", "--data-dir", str(data_dir)))
    assert found.returncode == 0, found.stdout + found.stderr
    report: dict[str, Any] = json.loads(found.stdout)
    return report


def assert_all_accounted_for(data_dir: Path, history: History) -> None:
    report = checked(data_dir)
    assert report["balanced"]
    assert {k: report["topics"][history.topic][k] for k in history.counts} == history.counts
    assert report["quarantine"][history.topic] == history.quarantine
    if history is UCI:
        assert report["orders"] == {
            "paid": {"orders": 8_126, "lines": 203_954, "worth": {"GBP": "4064726.591"}},
            "cancelled": {"orders": 1_677, "lines": 3_783, "worth": {"GBP": "357898.95"}},
        }


def killed_after(command: list[str], seconds: float) -> int:
    """Run a command for that long at most; returns its exit code."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment({})
    ) as process:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(seconds)
        process.kill()
        return process.wait()


@pytest.mark.parametrize("history", [REES46, UCI], ids=lambda h: h.mapping)
def test_a_load_killed_at_random_moments_ends_with_every_line_accounted_for(
    history: History, shared: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    load = [*shopstream("load", str(shared / history.file)), "--mapping", history.mapping,
            "--data-dir", str(data_dir)]  # fmt: skip
    chance, kills = random.Random(5), 0
    for longest_s in (1.0, 2.0, 4.0, 4.0):
        kills += killed_after(load, chance.uniform(0.5, longest_s)) == -signal.SIGKILL
    assert kills
    run(load).check_returncode()
    assert_all_accounted_for(data_dir, history)
    run(load).check_returncode()
    assert_all_accounted_for(data_dir, history)


def test_a_load_into_running_stages_that_are_killed_accounts_for_every_line(
    shared: Path, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    up = subprocess.Popen(
        shopstream("up", "--data-dir", str(data_dir), "--port", str(port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment({}),
    )
    try:
        wait_for(port)
        load = [*shopstream("load", str(shared / REES46.file), "--mapping", "rees46"),
                "--data-dir", str(data_dir)]  # fmt: skip
        loading = subprocess.Popen(load, stderr=subprocess.DEVNULL, env=environment({}))
        chance = random.Random(7)
        for stage in ("collector", "processor-0", "notifier", "processor-0", "collector"):
            time.sleep(chance.uniform(0.3, 0.8))
            kill_stage(data_dir, stage)
        # Where no collector ran as it began, it was itself the stage that was killed.
        assert loading.wait(120) in (0, -signal.SIGKILL)
        for _ in range(2):
            again = run(load)
            assert again.returncode == 0, again.stderr
    finally:
        up.terminate()
        up.wait(60)
    assert_all_accounted_for(data_dir, REES46)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            get(("127.0.0.1", port), "/health")
            return
        time.sleep(0.05)
    raise TimeoutError("the stages didn't start")


def kill_stage(data_dir: Path, stage: str) -> None:
    with suppress(OSError, ValueError, ProcessLookupError):
        beat = json.loads((data_dir / "run" / f"{stage}.json").read_text("utf-8"))
        os.kill(beat["pid"], signal.SIGKILL)


@pytest.mark.usefixtures("strace")
def test_a_collector_whose_disk_failed_is_started_again_by_up(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fault = "inject=fdatasync:error=EIO:when=40"
    command = [*("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fdatasync", "-e", fault),
               *shopstream("up", "--data-dir", str(data_dir), "--port", str(port))]  # fmt: skip
    up = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment({}))
    try:
        wait_for(port)
        first = collector_pid(data_dir)
        time.sleep(5)  # a stage that fails as it starts ends all
        statuses: list[int] = []
        deadline = time.monotonic() + 60
        while len(statuses) < 60 and time.monotonic() < deadline:
            statuses.append(send(port, len(statuses)))
        assert statuses.count(200) >= 20
        assert set(statuses) <= {0, 200, 503}
        while send(port, 1_000) != 200:
            assert time.monotonic() < deadline, "it was not started again"
            time.sleep(0.1)
        assert collector_pid(data_dir) != first
        statuses.append(200)
    finally:
        for pid in stage_pids(up.pid):
            os.kill(pid, signal.SIGTERM)
        up.wait(60)
    assert checked(data_dir)["topics"]["clicks"]["received"] >= statuses.count(200)


def send(port: int, n: int) -> int:
    event = click(n / 60, f"u{n}", "view", f"e{n}")
    return post(("127.0.0.1", port), Request("/v1/events/clicks", event))[0]


def collector_pid(data_dir: Path) -> int:
    with suppress(OSError, ValueError):
        return int(json.loads((data_dir / "run" / "collector.json").read_text("utf-8"))["pid"])
    return 0


def stage_pids(parent: int) -> list[int]:
    """The direct children of a process."""
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii")
    return [int(pid) for pid in text.split()]
