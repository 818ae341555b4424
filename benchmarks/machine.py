"""What the figures were taken on, without anything that says whose machine it is."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import apsw

from benchmarks.peers import environment
from benchmarks.processes import ROOT

_OURS = (
    "msgspec", "apsw", "rocksdict", "zstandard", "uvicorn", "uvloop", "httptools", "starlette",
    "duckdb", "pyiceberg", "pyarrow",
)  # fmt: skip
_PEERS = ("orjson", "bytewax", "pyspark")


def facts() -> dict[str, str]:
    """Processor, memory, system, and the versions of what was measured and measured against."""
    installed = {package: environment.version_of(package) for package in _PEERS}
    return {
        "processor": f"{len(os.sched_getaffinity(0))} cores of {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "libraries": ", ".join(f"{p} {importlib.metadata.version(p)}" for p in _OURS)
        + f" (SQLite {apsw.sqlite_lib_version()})",
        "peers": ", ".join(f"{p} {version}" for p, version in installed.items() if version),
    }


def commit() -> str:
    """The commit that is measured, with `+` when files differ from it; empty outside git."""
    try:
        head = _git("rev-parse", "--short=10", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--", "src", "benchmarks") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
