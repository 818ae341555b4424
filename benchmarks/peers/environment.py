"""The virtual environment that the peers live in: made on first use, kept beside the results."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from benchmarks.processes import ROOT

_FOLDER = ROOT / ".benchmarks" / "venv"
_WANTED = {
    "orjson": ("orjson>=3.10",),
    "bytewax": ("bytewax==0.21.1", "msgspec>=0.19"),
    "pyspark": ("pyspark>=3.5,<3.6",),
}
_INSTALL_S_MAX = 300


@cache
def python_with(package: str, folder: Path) -> tuple[Path | None, str]:
    """A Python that can import `package`, or None and the reason why there is none."""
    python = _FOLDER / "bin" / "python"
    log = folder / f"install-{package}.log"
    try:
        if not python.exists():
            _call([sys.executable, "-m", "venv", str(_FOLDER)], log)
        if not _has(python, package):
            _call([str(python), "-m", "pip", "install", "-q", *_WANTED[package]], log)
        if not _has(python, package):
            return None, f"{package} is installed but can't be imported"
    except (OSError, subprocess.SubprocessError) as e:
        return None, f"{package} can't be installed ({type(e).__name__}, see {log.name})"
    return python, ""


def own_python() -> str:
    """The Python that this runs on, for peers that need nothing but the project itself."""
    return sys.executable


def version_of(package: str) -> str:
    """The installed version of a peer, empty when it isn't there."""
    python = _FOLDER / "bin" / "python"
    if not python.exists():
        return ""
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _has(python: Path, package: str) -> bool:
    asked = subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False)
    return asked.returncode == 0


def _call(command: list[str], log: Path) -> None:
    with log.open("ab") as out:
        subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, check=True, timeout=_INSTALL_S_MAX
        )
