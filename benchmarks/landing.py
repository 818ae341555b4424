"""From the log to tables: land, and land and build silver, of a log that is full already.

Ours are whole processes, from their start to files that survive a power cut; what landed repeats
nothing after a kill. The limit is what DuckDB does at most with the same lines: read them and write
them as Parquet, nothing validated. The peers validate and land to Parquet by date, rejects with
their reason; nothing of theirs is durable, and a kill repeats all.
"""

import json
import shutil
import sys
from pathlib import Path

from benchmarks.figures import Bench, Figure
from benchmarks.filling import data_dir
from benchmarks.peers import environment
from benchmarks.processes import ROOT, SHOPSTREAM, RunFailed, Used, start, wait

JOB = "landing"
TARGET_S = 4.0
"""For 2,000,000 events, as `TARGET_RATE` is for any number."""
TARGET_RATE = 500_000
_PEERS = ROOT / "benchmarks" / "peers"
_LIMIT = "DuckDB: JSON to one Parquet file"
_PEER = "DuckDB SQL: validate, Parquet by date"
_LAND = "land: log to bronze"
_SILVER = "land and silver"


def measure(bench: Bench) -> list[Figure]:
    peers = [
        _peer(bench, _LIMIT, "limit", [sys.executable, str(_PEERS / "duckdb_landing.py"), "copy"]),
        _peer(bench, _PEER, "peer", [sys.executable, str(_PEERS / "duckdb_landing.py"), "land"]),
        _spark(bench),
    ]
    return [*_ours(bench), *peers]


def _ours(bench: Bench) -> list[Figure]:
    root = data_dir(bench, "landing", shards=1, historical=True)
    landed = run(root, "lander", "--until-idle")
    bronze = root / "bronze"
    files = list(bronze.rglob("*.zst"))
    size = sum(file.stat().st_size for file in files) / bench.events
    built = run(root, "build", "--select", "silver_clicks")
    shutil.rmtree(root)
    both_s = landed.wall_s + built.wall_s
    per_event = TARGET_S * bench.events / 2_000_000
    return [
        Figure(
            job=JOB, name=_LAND, value=bench.events / landed.wall_s, unit="events/s",
            target=TARGET_RATE,
            note=f"{landed.wall_s:.2f} s, {landed.cpu_s:.2f} s of processor time,"
            f" {len(files)} files, {size:.0f} bytes an event",
        ),
        _memory(_LAND, landed),
        Figure(
            job=JOB, name=_SILVER, value=both_s, unit="s", less=True, target=per_event,
            against=_PEER, note=f"of which the build of silver_clicks {built.wall_s:.2f} s,"
            f" {built.cpu_s:.2f} s of processor time",
        ),
        _memory("build silver", built),
    ]  # fmt: skip


def run(root: Path, *words: str) -> Used:
    """Run a command on a data directory to its end; raises RunFailed."""
    log = root / f"{words[0]}.txt"
    return wait(start([SHOPSTREAM, *words, "--data-dir", str(root)], log), log)


def _memory(name: str, used: Used) -> Figure:
    return Figure(job=JOB, name=f"{name}: peak memory", value=used.rss_mib, unit="MiB", less=True)


def _peer(bench: Bench, name: str, kind: str, command: list[str]) -> Figure:
    """Its own seconds, from an engine that has started to files that are written."""
    out = bench.folder / "landed"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    log = bench.folder / "landing-peer.txt"
    try:
        used = wait(start([*command, str(bench.input), str(out)], log), log)
        said = log.read_text(errors="replace")
        answer = json.loads(said[said.rindex("{") :])  # Spark's progress bar is on the same line
    except (RunFailed, ValueError) as e:
        return Figure(job=JOB, name=name, kind=kind, skipped=str(e))
    finally:
        shutil.rmtree(out)
    note = f"whole process {used.wall_s:.1f} s"
    if "accepted" in answer:
        note = f"{answer['accepted']:,} accepted, {answer['rejected']:,} rejected; {note}"
    return Figure(
        job=JOB, name=name, value=answer["seconds"], unit="s", kind=kind, less=True,
        against=_SILVER, note=note,
    )  # fmt: skip


def _spark(bench: Bench) -> Figure:
    name = "Spark SQL batch, local[2]: validate, Parquet by date"
    python, reason = environment.python_with("pyspark", bench.folder)
    if python is None:
        return Figure(job=JOB, name=name, kind="peer", skipped=reason)
    return _peer(bench, name, "peer", [str(python), str(_PEERS / "spark_landing.py")])
