"""The real command line, as a user runs it: a process of its own for every command."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DATA = Path(
    os.environ.get("SHOPSTREAM_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
REES46 = DATA / "rees46" / "2019-Oct-head.csv"
UCI = DATA / "uci_online_retail" / "lines_2010-12_2011-05.csv.gz"
NORTHWIND = DATA / "northwind" / "products.csv"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="real data files are absent; name their folder SHOPSTREAM_TEST_DATA"
)
COMMAND = [sys.executable, "-m", "shopstream"]


class Shop:
    """Commands on one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def run(self, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command that must end with `code`."""
        done = subprocess.run(
            [*COMMAND, *map(str, words), "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str | Path, code: int = 0) -> Any:
        """What a command prints with `--format json`."""
        return json.loads(self.run(*words, "--format", "json", code=code).stdout)

    def load(self, file: Path, mapping: str | Path, *options: str) -> str:
        return self.run("load", file, "--mapping", mapping, *options).stderr

    def counts(self, topic: str) -> dict[str, int]:
        """One topic of `check`, which must balance; counts of nothing left out."""
        report = self.json("check")
        assert report["balanced"]
        assert report["differences"] == []
        return {name: n for name, n in report["topics"][topic].items() if n}

    def ndjson(self, name: str, *events: Any) -> Path:
        """A file of events (or of lines given as text) beside the data directory."""
        lines = [e if isinstance(e, str) else json.dumps(e) for e in events]
        path = self.data_dir.parent / name
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path
