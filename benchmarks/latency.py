"""From the moment an event is sent to the moment its offer can be read, through a running `up`.

Shoppers' events come at a steady rate over HTTP; forty times a second a new user views a product
three times in one request, and the tables are read until that user's offer is there. So the
collector, the log, the processor and its commit are all in it, and so is the pause between two
looks at the tables.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.figures import Bench, Figure
from benchmarks.offers import RULES
from benchmarks.probing import Seen
from benchmarks.processes import (
    SHOPSTREAM,
    RunFailed,
    free_port,
    rss_peak_mib,
    running,
    start,
    wait,
    wait_for_port,
)

JOB = "latency"
RATES = (1_000, 20_000)
SECONDS, SECONDS_QUICK = 15.0, 4.0


def measure(bench: Bench) -> list[Figure]:
    return [figure for rate in RATES for figure in _at_rate(bench, rate)]


def _at_rate(bench: Bench, rate: int) -> list[Figure]:
    root = bench.folder / "latency"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / "rules.toml").write_text(RULES)
    port, log = free_port(), bench.folder / "up.txt"
    command = [SHOPSTREAM, "up", "--data-dir", str(root), "--port", str(port)]
    with running(command, log) as process:
        wait_for_port(port, process, log)
        _wait_for_tables(root, process, log)
        seen = _probe(bench, rate, port, root)
        memory = _memory(root, rate)
    shutil.rmtree(root)
    note = f"{len(seen.took_ms)} offers, {seen.missing} not seen; {seen.rate:,.0f} events/s taken"
    return [_quantile(seen, rate, 0.50, note), _quantile(seen, rate, 0.99, note), *memory]


def _probe(bench: Bench, rate: int, port: int, root: Path) -> Seen:
    output = bench.folder / "probing.txt"
    command = [
        sys.executable, "-m", "benchmarks.probing", str(bench.input),
        "--port", str(port),
        "--rate", str(rate),
        "--tables", str(root / "tables" / "0"),
        "--seconds", str(SECONDS_QUICK if bench.quick else SECONDS),
    ]  # fmt: skip
    wait(start(command, output), output, timeout_s=120)
    seen = msgspec.json.decode(output.read_bytes(), type=Seen)
    if not seen.took_ms:
        raise RunFailed(f"no offer was seen at {rate:,} events/s: {seen.refusal}")
    return seen


def _quantile(seen: Seen, rate: int, q: float, note: str) -> Figure:
    ordered = sorted(seen.took_ms)
    worst = q > 0.9
    return Figure(
        job=JOB,
        name=f"event to offer at {rate:,} events/s, p{q * 100:.0f}",
        value=ordered[min(len(ordered) - 1, int(q * len(ordered)))],
        unit="ms",
        less=True,
        target=100.0 if worst and rate == max(RATES) else 0.0,
        note=note if worst else "",
    )


def _memory(root: Path, rate: int) -> list[Figure]:
    """Peak memory of each running stage, as its heartbeat names its process."""
    found = []
    for beat in sorted((root / "run").glob("[!.]*.json")):
        pid = json.loads(beat.read_text())["pid"]
        name = f"peak memory of {beat.stem} at {rate:,} events/s"
        found.append(Figure(job=JOB, name=name, value=rss_peak_mib(pid), unit="MiB", less=True))
    return found


def _wait_for_tables(root: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while not (root / "run" / "processor-0.json").exists():
        if time.monotonic() > deadline or process.poll() is not None:
            raise RunFailed(f"no processor came up: {log.read_text(errors='replace')[-600:]}")
        time.sleep(0.05)
