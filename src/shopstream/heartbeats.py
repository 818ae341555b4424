"""Signs of life: each running stage replaces `run/<stage>.json` about once a second.

A heartbeat is a plain dict with at least `stage`, `pid` and `at_us` (microseconds UTC); what else
it holds is the stage's own. A reader sees a whole heartbeat or the one before, never half of one.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

Heartbeat: TypeAlias = dict[str, Any]

FRESH_US = 10_000_000
_BYTES_MAX = 1024 * 1024


def write_heartbeat(run_dir: Path, stage: str, values: Mapping[str, Any]) -> bool:
    """Replace the stage's heartbeat; `stage`, `pid` and `at_us` are filled in when absent.

    Returns False, and never raises, when the disk doesn't take it: a full disk makes a stage look
    stale, it must not stop it. Nothing is synced: after a power cut no stage runs anyway.
    """
    beat = {"stage": stage, "pid": os.getpid(), "at_us": time.time_ns() // 1000, **values}
    unfinished = run_dir / f".{stage}.{os.getpid()}.tmp"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(beat, default=str) + "\n", "utf-8")
        unfinished.replace(run_dir / f"{stage}.json")
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        return False
    return True


def read_heartbeats(run_dir: Path) -> dict[str, Heartbeat]:
    """The last heartbeat of each stage by name, of dead stages too; `{}` when none ever ran."""
    beats: dict[str, Heartbeat] = {}
    for path in sorted(run_dir.glob("[!.]*.json")):
        try:
            with path.open("rb") as file:
                beat = json.loads(file.read(_BYTES_MAX))
        except (OSError, ValueError):
            continue
        if isinstance(beat, dict):
            beats[path.stem] = beat
    return beats


def remove_heartbeat(run_dir: Path, stage: str) -> None:
    """Say that the stage has ended of its own accord; a stage that crashed leaves its last one."""
    (run_dir / f"{stage}.json").unlink(missing_ok=True)


def alive(heartbeat: Heartbeat, now_us: int, *, fresh_us: int = FRESH_US) -> bool:
    """Whether the stage runs: its process exists and it has spoken within `fresh_us`.

    A heartbeat from the future (the clock was set back) counts as fresh.
    """
    pid, at_us = heartbeat.get("pid"), heartbeat.get("at_us")
    if type(pid) is not int or type(at_us) is not int or pid <= 0:
        return False
    return now_us - at_us <= fresh_us and process_exists(pid)


def process_exists(pid: int) -> bool:
    """Whether a process with this id runs, whoever's it is."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
