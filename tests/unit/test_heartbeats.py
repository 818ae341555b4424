"""Heartbeats: whole or the one before, and honest about who is alive."""

import os
import subprocess
import sys
from pathlib import Path

from shopstream.heartbeats import alive, read_heartbeats, remove_heartbeat, write_heartbeat


def test_a_heartbeat_is_read_back_with_its_stage_pid_and_time(tmp_path: Path) -> None:
    assert write_heartbeat(tmp_path, "notifier", {"pending": 3, "at_us": 17})
    assert read_heartbeats(tmp_path) == {
        "notifier": {"stage": "notifier", "pid": os.getpid(), "at_us": 17, "pending": 3}
    }


def test_a_stage_is_alive_while_its_process_exists_and_its_heartbeat_is_fresh(
    tmp_path: Path,
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert alive({"pid": os.getpid(), "at_us": 1_000}, 2_000)
    assert not alive({"pid": os.getpid(), "at_us": 1_000}, 60_000_000)
    assert not alive({"pid": gone.pid, "at_us": 1_000}, 2_000)
    assert not alive({"pid": "1", "at_us": 1_000}, 2_000)
    assert not alive({"pid": 2**70, "at_us": 1_000}, 2_000)
    assert not alive({}, 2_000)


def test_torn_and_foreign_files_in_the_run_folder_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "collector.json").write_text('{"stage": "coll')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "token").write_text("secret")
    assert read_heartbeats(tmp_path) == {}
    assert read_heartbeats(tmp_path / "absent") == {}


def test_a_stage_that_ends_cleanly_leaves_no_heartbeat(tmp_path: Path) -> None:
    write_heartbeat(tmp_path, "collector", {})
    remove_heartbeat(tmp_path, "collector")
    remove_heartbeat(tmp_path, "collector")
    assert read_heartbeats(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_makes_a_heartbeat_fail_without_raising(tmp_path: Path) -> None:
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")
    assert not write_heartbeat(not_a_folder / "run", "collector", {})
