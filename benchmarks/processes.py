"""Running programs to be measured: pinned to cores, timed, their memory known, always ended."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
LOOK_S = 0.02
"""Between looks at how much memory a process has had."""
ROOT = Path(__file__).resolve().parent.parent
SHOPSTREAM = str(Path(sys.executable).parent / "shopstream")


class RunFailed(Exception):
    """A measured program did not do what it should: its last words are in the message."""


@dataclass(frozen=True)
class Used:
    """What a process used: seconds on the wall and of processor time, peak memory in MiB."""

    wall_s: float
    cpu_s: float
    rss_mib: float


def start(command: Sequence[str], log: Path, *, on: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, on some cores only, its output in `log`.

    As where it is installed, what Python compiled is kept for the next start.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, on or mine)  # inherited, so that no thread of it starts elsewhere
        with log.open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    finally:
        os.sched_setaffinity(0, mine)


def wait(process: subprocess.Popen[bytes], log: Path, *, timeout_s: float = 600) -> Used:
    """What a program used until its end, its children's processor time included. `wall_s` counts
    from this call.

    Raises RunFailed when it fails or takes longer than `timeout_s`.
    """
    started = looked = time.perf_counter()
    pid = 0
    rss_mib = 0.0
    try:
        while not pid:
            # Not `ru_maxrss`: that begins with what this process had when it started the other.
            if (now := time.perf_counter()) - looked >= LOOK_S:
                rss_mib, looked = max(rss_mib, rss_peak_mib(process.pid)), now
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not pid and time.perf_counter() - started > timeout_s:
                kill(process)
                pid, status, usage = os.wait4(process.pid, 0)
            time.sleep(0.002)
    except KeyboardInterrupt:
        kill(process)
        raise
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        command = " ".join(map(str, process.args)) if isinstance(process.args, list) else ""
        raise RunFailed(f"{command} ended with {process.returncode}: {_tail(log)}")
    return Used(wall_s, usage.ru_utime + usage.ru_stime, rss_mib)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and all it started, at once; nothing when it has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def running(
    command: Sequence[str], log: Path, *, on: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs while the block does; its whole process group is ended after it."""
    process = start(command, log, on=on)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
        kill(process)
        process.wait()


def rss_peak_mib(pid: int) -> float:
    """The peak resident memory of a process so far; 0 when it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """The processor time that a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when something listens on a loopback port; raises RunFailed after 20 s."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RunFailed(f"nothing listens on port {port}: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-600:] or "it said nothing"
