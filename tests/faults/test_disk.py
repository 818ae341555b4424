"""A disk that is full or fails: nothing acknowledged is lost, and it heals by itself."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from tests.faults.kills import append
from tests.faults.shop import Request, click, entries
from tests.faults.snapshot import compare, event_ids, snapshot
from tests.faults.stages import RunningCollector, get, make_shop, post, run, shopstream
from tests.faults.strace import Point, failing_at

from shopstream.processor import run_processor
from shopstream.settings import load_settings

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all there is left; the file that does is returned."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (64 * 1024, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return ballast


def view(n: int) -> Request:
    # Text that does not compress, so that a few fill the log's pages.
    noise = os.urandom(4_000).hex()
    return Request("/v1/events/clicks", click(n / 60, "u1", "view", f"e{n}", page=noise))


def processed(data_dir: Path) -> Path:
    run_processor(load_settings({"data_dir": data_dir}), until_idle=True)
    return data_dir


def test_a_full_disk_is_answered_503_until_there_is_room_and_loses_nothing(
    small_disk: Path,
) -> None:
    data_dir = make_shop(small_disk / "data")
    acknowledged = []
    with RunningCollector(data_dir, disk_free_bytes_min="0") as collector:
        address = collector.wait_until_serving()
        acknowledged += [n for n in range(20) if post(address, view(n))[0] == 200]
        assert len(acknowledged) == 20
        processed(data_dir)
        assert get(address, "/v1/users/u1/events") == 200
        ballast = fill(small_disk)
        answers = {n: post(address, view(n)) for n in range(20, 60)}
        acknowledged += [n for n, (status, _, _) in answers.items() if status == 200]
        refused = [headers for status, headers, _ in answers.values() if status == 503]
        assert {status for status, _, _ in answers.values()} <= {200, 503}
        assert refused
        assert all(int(headers["retry-after"]) >= 1 for headers in refused)
        assert get(address, "/health") in (200, 503)
        assert get(address, "/metrics") == 200
        assert get(address, "/v1/users/u1/events") == 200
        ballast.unlink()
        healed_by = time.monotonic() + 15
        while (status := post(address, view(60))[0]) != 200:
            assert status == 503
            assert time.monotonic() < healed_by, "it didn't heal"
            time.sleep(0.1)
        acknowledged.append(60)
        assert collector.running
        assert collector.end() == 0
    found = snapshot(processed(data_dir))
    ids = event_ids(found)
    assert all(ids["u1", f"e{n}"] == 1 for n in acknowledged)
    assert max(ids.values()) == 1
    assert not found.differences


@pytest.mark.parametrize("stage", ["processor", "notifier"])
def test_a_stage_on_a_full_disk_goes_on_when_there_is_room(stage: str, small_disk: Path) -> None:
    wanted_in = make_shop(small_disk.parent / "wanted")
    append(wanted_in, list(entries(14)))
    if stage == "notifier":
        processed(wanted_in)
    data_dir = small_disk / "data"
    shutil.copytree(wanted_in, data_dir)
    ballast = fill(small_disk)
    command = shopstream(stage, "--until-idle", "--data-dir", str(data_dir))
    with suppress(subprocess.TimeoutExpired):  # the notifier waits for room
        run(command, timeout_s=8)
    ballast.unlink()
    for place in (wanted_in, data_dir):
        run(shopstream(stage, "--until-idle", "--data-dir", str(place))).check_returncode()
    difference = compare(snapshot(wanted_in), snapshot(data_dir))
    assert not difference


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("nth", [3, 9])
def test_what_could_not_be_synced_is_not_acknowledged(nth: int, tmp_path: Path) -> None:
    data_dir = make_shop(tmp_path / "data")
    wrap = partial(failing_at, Point("fdatasync", nth), "EIO")
    with RunningCollector(data_dir, wrap, wait=False) as collector:
        started = collector.wait_for_start()
        address = collector.address or ("127.0.0.1", 9)
        statuses = [post(address, view(n))[0] for n in range(20)] if started else []
        assert collector.end() not in (0, None)
    acknowledged = [n for n, status in enumerate(statuses) if status == 200]
    assert len(acknowledged) < 20
    with RunningCollector(data_dir) as collector:
        address = collector.wait_until_serving()
        for n in range(20):
            if n not in acknowledged:
                assert post(address, view(n))[0] == 200
        assert collector.end() == 0
    found = snapshot(processed(data_dir))
    assert event_ids(found) == {("u1", f"e{n}"): 1 for n in range(20)}
    assert not found.differences


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(("stage", "call"), [("processor", "fdatasync"), ("notifier", "fdatasync")])
def test_a_stage_whose_disk_fails_ends_or_goes_on_and_recovers(
    stage: str, call: str, tmp_path: Path
) -> None:
    data_dir = make_shop(tmp_path / "data")
    append(data_dir, list(entries(14)))
    if stage == "notifier":
        processed(data_dir)
    spared = shutil.copytree(data_dir, tmp_path / "spared")
    command = shopstream(stage, "--until-idle", "--data-dir", str(data_dir))
    run(failing_at(Point(call, 2), "EIO", command), timeout_s=30)
    for place in (spared, data_dir):
        run(shopstream(stage, "--until-idle", "--data-dir", str(place))).check_returncode()
    assert not compare(snapshot(spared), snapshot(data_dir))
