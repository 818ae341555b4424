"""The processor on a log that is full already: validate, dedupe, store, rules, checkpoint.

Times are of whole processes, from their start until all is processed, on the default rules. The
limits are the decoder alone, and a loop that on the same log and tables does the least that could
be called a processor: decode, put each event under its user, count one rule in a dict, checkpoint;
no repeated ids, sessions, timers, offers, ledger or quarantine.
"""

import shutil
import sys
import time
from pathlib import Path

from benchmarks.events import batches
from benchmarks.figures import Bench, Figure
from benchmarks.filling import data_dir
from benchmarks.limits import decode_s
from benchmarks.processes import ROOT, SHOPSTREAM, Used, kill, start, wait

JOB = "processor"
_LIMIT = "decode and validate only, one process"
_BARE = "decode, store, count, checkpoint and nothing else, one process"
_GAIN = "two processes against one"
_SCRIPT = ROOT / "benchmarks" / "peers" / "bare_processor.py"
_ONE, _TWO = "one process", "two processes, `--shards 2`"


def measure(bench: Bench) -> list[Figure]:
    limit = bench.events / decode_s(list(batches(bench.input)))
    found = [Figure(job=JOB, name=_LIMIT, value=limit, unit="events/s", kind="limit"), _bare(bench)]
    rates = []
    for shards in (1, 2):
        root = data_dir(bench, f"processor-{shards}", shards=shards, historical=False)
        wall_s, used = process(root, shards)
        shutil.rmtree(root)
        rates.append(bench.events / wall_s)
        found += _figures(shards, rates[-1], bench.events, used)
    gain = Figure(
        job=JOB,
        name="two processes against one",
        value=rates[1] / rates[0],
        unit="times",
        target=1.6,
    )
    return [*found, gain]


def _bare(bench: Bench) -> Figure:
    root = data_dir(bench, "processor-bare", shards=1, historical=False)
    output = bench.folder / "bare.txt"
    used = wait(start([sys.executable, str(_SCRIPT), str(root)], output), output)
    shutil.rmtree(root)
    return Figure(
        job=JOB,
        name=_BARE,
        value=bench.events / used.wall_s,
        unit="events/s",
        kind="limit",
        note=f"{used.cpu_s / bench.events * 1e6:.2f} µs of processor time an event",
    )


def process(root: Path, shards: int) -> tuple[float, list[Used]]:
    """Process all of a data directory's log, one process a shard: seconds, and what each used.

    Raises RunFailed when one of them fails.
    """
    started = time.perf_counter()
    running = [start(_command(root, shard), _output(root, shard)) for shard in range(shards)]
    try:
        used = [wait(process, _output(root, shard)) for shard, process in enumerate(running)]
    finally:
        for process in running:
            kill(process)
    return time.perf_counter() - started, used


def _command(root: Path, shard: int) -> list[str]:
    return [
        SHOPSTREAM, "processor", "--until-idle", "--shard", str(shard), "--data-dir", str(root),
    ]  # fmt: skip


def _output(root: Path, shard: int) -> Path:
    return root / f"processor-{shard}.txt"


def _figures(shards: int, rate: float, events: int, used: list[Used]) -> list[Figure]:
    name = _ONE if shards == 1 else _TWO
    cpu_us = sum(u.cpu_s for u in used) / events * 1e6
    return [
        Figure(
            job=JOB,
            name=name,
            value=rate,
            unit="events/s",
            against=_BARE,
            target=200_000 if shards == 1 else 0,
            note=f"{cpu_us:.2f} µs of processor time an event",
        ),
        Figure(
            job=JOB,
            name=f"{name}: peak memory of each",
            value=max(u.rss_mib for u in used),
            unit="MiB",
            less=True,
        ),
    ]
