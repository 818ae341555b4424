"""Processes under strace: which system calls they make, and faults put into a chosen one."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CALLS = (
    "pwrite64", "write", "writev", "sendto", "sendmsg", "fdatasync", "fsync", "rename", "unlink",
    "unlinkat", "ftruncate", "mkdir",
)  # fmt: skip
"""Everything that changes a file or tells another process something."""
_CALL = re.compile(r"^(\d+) +([a-z0-9_]+)\(")


class Point(NamedTuple):
    """The n-th time that a thread of a process makes a system call."""

    call: str
    n: int

    def __str__(self) -> str:
        return f"{self.call}#{self.n}"


def why_not() -> str:
    """Why processes can't be traced here, empty when they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    command = counted(["true"], Path(os.devnull))
    tried = subprocess.run(command, capture_output=True, text=True)
    return f"strace can't trace here: {tried.stderr.strip()[:200]}" if tried.returncode else ""


def killed_at(point: Point, command: Sequence[str]) -> list[str]:
    """The command that runs `command` and kills it on its way into the system call at `point`."""
    return injected(point.call, f"signal=SIGKILL:when={point.n}", command)


def failing_at(point: Point, error: str, command: Sequence[str]) -> list[str]:
    """The command that runs `command` and has the system call at `point` fail with `error`."""
    return injected(point.call, f"error={error}:when={point.n}", command)


def injected(call: str, fault: str, command: Sequence[str]) -> list[str]:
    """The command that runs `command` with a fault put into one of its system calls.

    Without `--seccomp-bpf`, which makes strace 6.1 put no signal into many calls.
    """
    return [
        *("strace", "-f", "-qq", "-o", os.devnull),
        *("-e", f"trace={call}", "-e", f"inject={call}:{fault}"),
        *command,
    ]


def counted(command: Sequence[str], trace: Path) -> list[str]:
    """The command that runs `command` and writes each of its system calls to `trace`."""
    traced = f"trace={','.join(CALLS)}"
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "0", "-o", str(trace), "-e", traced,
            *command]  # fmt: skip


def counts_in(trace: Path) -> dict[str, int]:
    """How often the thread that makes a call most makes it: strace counts by thread."""
    by_thread: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text("utf-8", "replace").splitlines():
        if found := _CALL.match(line):
            by_thread[found[1], found[2]] += 1
    counts: dict[str, int] = {}
    for (_, call), n in by_thread.items():
        counts[call] = max(n, counts.get(call, 0))
    return counts


def spread(counts: Mapping[str, int], wanted: int, *, seed: int = 0) -> list[Point]:
    """About `wanted` points, evenly over each call's range and fairly over the calls.

    A call made seldom gets all of its points, the rest is shared out among the others.
    """
    points: list[Point] = []
    left = sorted(counts.items(), key=lambda item: item[1])
    for remaining, (call, count) in zip(range(len(left), 0, -1), left, strict=True):
        share = min(count, max(1, (wanted - len(points)) // remaining))
        step = count / share
        chosen = {min(count, int(i * step + (seed % max(1, int(step)))) + 1) for i in range(share)}
        points += [Point(call, n) for n in sorted(chosen)]
    return points
