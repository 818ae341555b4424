"""What this machine and the libraries underneath can do at most: nothing built on them is faster.

One process on one core, on the same input as every other job.
"""

import os
import time
from pathlib import Path

import apsw
import msgspec
import zstandard

from benchmarks.events import batches, warm
from benchmarks.figures import Bench, Figure
from benchmarks.peers import environment
from benchmarks.processes import ROOT, RunFailed, start, wait
from shopstream.events import Click

JOB = "limits"
_ORJSON = ROOT / "benchmarks" / "peers" / "orjson_dicts.py"


def measure(bench: Bench) -> list[Figure]:
    events = bench.events
    warm(bench.input)
    started = time.perf_counter()
    warm(bench.input)
    found = [_timed("read from page cache", events, time.perf_counter() - started)]
    took_s = decode_s(list(batches(bench.input)))
    found += [_timed("msgspec decode and validate", events, took_s), _orjson(bench)]
    for size in (1_000, 10_000):
        blobs = [b"\n".join(batch) for batch in batches(bench.input, size)]
        found.append(
            _timed(
                f"SQLite FULL, zstd blob of {size:,} events",
                events,
                sqlite_blobs(blobs, bench.folder / f"limit-{size}.db"),
            )
        )
        if size == 1_000:
            took_s = append_fsync(blobs, bench.folder / "limit.ndjson")
            found.append(_timed("file append and fsync of 1,000 events", events, took_s))
    return found


def decode_s(batch_list: list[list[bytes]]) -> float:
    """Seconds to decode and validate events that are in memory already."""
    read = msgspec.json.Decoder(Click).decode
    started = time.perf_counter()
    for batch in batch_list:
        for raw in batch:
            try:
                read(raw)
            except msgspec.DecodeError:
                continue
    return time.perf_counter() - started


def sqlite_blobs(blobs: list[bytes], path: Path) -> float:
    """Seconds to compress and commit each blob with an fsync, one after the other."""
    path.unlink(missing_ok=True)
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, body BLOB)")
    compress = zstandard.ZstdCompressor(level=1).compress
    started = time.perf_counter()
    for blob in blobs:
        with db:
            db.execute("INSERT INTO log (body) VALUES (?)", (compress(blob),))
    took_s = time.perf_counter() - started
    db.close()
    for file in path.parent.glob(path.name + "*"):
        file.unlink()
    return took_s


def append_fsync(blobs: list[bytes], path: Path) -> float:
    """Seconds to append each blob to a file with an fsync, one after the other."""
    with path.open("wb", buffering=0) as file:
        started = time.perf_counter()
        for blob in blobs:
            file.write(blob)
            os.fdatasync(file.fileno())
        took_s = time.perf_counter() - started
    path.unlink()
    return took_s


def _orjson(bench: Bench) -> Figure:
    name = "orjson to dict, nothing validated"
    python, reason = environment.python_with("orjson", bench.folder)
    if python is None:
        return Figure(job=JOB, name=name, kind="limit", skipped=reason)
    log = bench.folder / "orjson.log"
    try:
        wait(start([str(python), str(_ORJSON), str(bench.input)], log), log)
    except RunFailed as e:
        return Figure(job=JOB, name=name, kind="limit", skipped=str(e))
    return _timed(name, bench.events, float(log.read_text().split()[-1]))


def _timed(name: str, events: int, took_s: float) -> Figure:
    return Figure(job=JOB, name=name, value=events / took_s, unit="events/s", kind="limit")
