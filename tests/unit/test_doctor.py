"""The doctor: finds what is wrong on real machines, and says what to do."""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shopstream import machine
from shopstream.doctor import Finding, diagnose
from shopstream.engine import open_engine
from shopstream.heartbeats import write_heartbeat
from shopstream.keys import add_key
from shopstream.lake.quality import TestFailure
from shopstream.settings import Settings

# Apprise loads all its services, and one of them loads a module that Python 3.13 is without.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def examine(data_dir: Path, **values: Any) -> list[Finding]:
    given: dict[str, Any] = {"data_dir": data_dir, "port": 0}
    return diagnose(Settings(**(given | values)))


def faults(found: list[Finding]) -> list[str]:
    return [f"{f.level}: {f.what}" for f in found if f.level != "ok" and not on_this_machine(f)]


def on_this_machine(finding: Finding) -> bool:
    """Small disks and memory of the machine that the tests run on are not their matter."""
    return any(word in finding.what for word in ("free for data", "memory", "synced write"))


@pytest.fixture(autouse=True)
def many_open_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_healthy_place_has_no_fault_and_every_fault_has_advice(tmp_path: Path) -> None:
    fresh = examine(tmp_path / "new")
    assert faults(fresh) == []
    assert not (tmp_path / "new").exists()
    settings = Settings(data_dir=tmp_path, port=0, shards=2)
    open_engine(settings)
    assert faults(diagnose(settings)) == []
    assert any("2 shards" in f.what for f in diagnose(settings))
    broken = examine(tmp_path, host="0.0.0.0", shards=3, notify=["nonsense"])
    assert len(faults(broken)) == 3
    assert all(f.advice for f in broken if f.level != "ok")


def test_a_data_dir_of_another_version_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"version": 99, "shards": 1}')
    assert any("version 99" in fault for fault in faults(examine(tmp_path)))


def test_a_data_dir_that_is_no_folder_or_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"error: {tmp_path / 'file'} is no folder" in faults(examine(tmp_path / "file"))
    assert any("can't be written" in fault for fault in faults(examine(Path("/proc/1/nothing"))))


def test_a_port_taken_by_another_is_an_error_and_by_our_collector_is_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        [fault] = faults(examine(tmp_path, port=port))
        assert fault.startswith(f"error: 127.0.0.1:{port} can't be listened on")
        write_heartbeat(tmp_path / "run", "collector", {"port": port})
        assert faults(examine(tmp_path, port=port)) == []


def test_an_open_address_needs_a_write_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    [fault] = faults(examine(tmp_path, host="0.0.0.0"))
    assert "no write key" in fault
    add_key(tmp_path, kind="write", now=datetime(2026, 1, 1, tzinfo=UTC))
    assert faults(examine(tmp_path, host="0.0.0.0")) == []
    (tmp_path / "keys.json").chmod(0o644)
    [fault] = faults(examine(tmp_path))
    assert fault == f"warning: others may read {tmp_path / 'keys.json'}"


def test_bad_rules_and_receivers_are_named_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("[[rule]\n")
    found = faults(
        examine(tmp_path, notify=["nosuch://secret", "https://h/\nsecret", "console://"])
    )
    assert len(found) == 3
    assert "rules.toml" in found[0]
    assert not any("secret" in fault for fault in found)
    [fault] = faults(examine(tmp_path, rules=tmp_path / "absent.toml"))
    assert fault == f"error: there is no {tmp_path / 'absent.toml'}"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "shop.localhost", "10.0.0.8", "[::1]", "[::ffff:10.0.0.1]", "127.1"],
)
def test_a_webhook_that_will_be_refused_is_told(tmp_path: Path, host: str) -> None:
    url = f"http://{host}:18099/hook"
    [found] = [f for f in examine(tmp_path, notify=[url]) if "alerts" in f.what]
    assert found.level == "error"
    assert found.what.startswith(f"alerts can't go to http://{host}:18099/…")
    assert "notify_private_addresses = true" in found.advice
    assert faults(examine(tmp_path, notify=[url], notify_private_addresses=True)) == []


@pytest.mark.parametrize("host", ["93.184.215.14", "hooks.example.com", "[2606:4700::1111]"])
def test_a_webhook_on_the_internet_is_not_looked_up(tmp_path: Path, host: str) -> None:
    assert faults(examine(tmp_path, notify=[f"https://{host}/hook"])) == []


def test_stages_that_died_or_hang_are_told_from_those_that_run(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_heartbeat(tmp_path / "run", "processor-0", {})
    write_heartbeat(tmp_path / "run", "notifier", {"pid": gone.pid})
    write_heartbeat(tmp_path / "run", "collector", {"at_us": 0})
    found = faults(examine(tmp_path))
    assert len(found) == 2
    assert all("last sign of life" in fault for fault in found)


def test_a_killed_lander_and_builder_are_told_from_those_that_ended(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for stage in ("lander", "builder"):
        write_heartbeat(tmp_path / "run", stage, {"pid": gone.pid, "ended": True})
    assert faults(examine(tmp_path)) == []
    for stage in ("lander", "builder"):
        write_heartbeat(tmp_path / "run", stage, {"pid": gone.pid, "ended": False})
    found = faults(examine(tmp_path))
    assert [fault.split()[1] for fault in found] == ["builder", "lander"]


def test_tables_that_fail_their_tests_are_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    with open_engine(settings).write_builds() as builds:
        failure = TestFailure("silver_clicks", "unique", "event_id", 2, {}, "2 rows")
        builds.audited("silver_clicks", [failure], 1, datetime.now(UTC))
    [fault] = faults(diagnose(settings))
    assert fault.startswith("warning: silver_clicks fails its tests: ")
    with open_engine(settings).write_builds() as builds:
        builds.audited("silver_clicks", [], 2, datetime.now(UTC))
    assert faults(diagnose(settings)) == []


_HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_whose_holder_shows_no_life_is_named_with_its_process(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    lock = tmp_path / "log" / "writer.lock"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        [fault] = faults(examine(tmp_path))
        write_heartbeat(tmp_path / "run", "collector", {"pid": holder.pid})
        assert faults(examine(tmp_path)) == []
        holder.communicate()
    assert fault.startswith(f"warning: process {holder.pid} holds log/writer.lock")
    assert machine.flock_holder(lock) is None


def test_a_clock_behind_the_data_is_an_error(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    open_engine(settings)
    later = time.time() + 86_400
    os.utime(tmp_path / "meta.json", (later, later))
    [fault] = faults(diagnose(settings))
    assert "minutes from now" in fault
    assert any("before 2026" in f.what for f in diagnose(settings, now_us=0))


def test_too_few_open_files_are_found(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_100, hard))
    assert faults(examine(tmp_path)) == ["warning: only 1100 files may be open"]


def test_a_disk_smaller_than_the_log_may_grow_is_a_warning(tmp_path: Path) -> None:
    [small] = [f for f in examine(tmp_path, log_bytes_max=1 << 60) if "free for data" in f.what]
    [full] = [f for f in examine(tmp_path, disk_free_bytes_min=1 << 60) if "free for" in f.what]
    assert (small.level, full.level) == ("warning", "error")


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    shop = str(tmp_path / "my shop").replace(" ", r"\040")
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {shop} nfs4 rw 0 0\nbroken\n")
    assert machine.filesystem_of(tmp_path, mounts) == "ext4"
    assert machine.filesystem_of(tmp_path / "my shop" / "data", mounts) == "nfs4"
    assert machine.filesystem_of(tmp_path, tmp_path / "absent") is None
    assert "nfs4" in machine.NETWORK_FILESYSTEMS


def test_memory_is_wanted_for_each_shard_that_the_data_has(tmp_path: Path) -> None:
    open_engine(Settings(data_dir=tmp_path / "made", shards=16))
    (of_the_data,) = [f for f in examine(tmp_path / "made") if "may be used" in f.what]
    (as_set,) = [f for f in examine(tmp_path / "new", shards=16) if "may be used" in f.what]
    assert "up to 25.1 GiB may be used" in of_the_data.what
    assert "up to 25.1 GiB may be used" in as_set.what


def test_memory_is_what_a_containers_limit_leaves(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert machine.memory_bytes(meminfo, tmp_path) == 8_000 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert machine.memory_bytes(meminfo, tmp_path) == 3_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory_bytes(meminfo, tmp_path) == 8_000 * 1024
    assert machine.memory_bytes(tmp_path / "absent", tmp_path) is None


def test_findings_are_plain_enough_for_json(tmp_path: Path) -> None:
    shown = json.loads(msgspec.json.encode(examine(tmp_path)))
    assert set(shown[0]) == {"level", "what", "advice"}
