"""Data directories whose log is full already, so that a processor can be measured by itself."""

import os
import shutil
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.events import batches
from benchmarks.figures import Bench
from shopstream.events import Click, Entry
from shopstream.local.datadir import make_data_dir
from shopstream.local.log import SqliteLog

ROW = 1_000


def data_dir(bench: Bench, name: str, *, shards: int, historical: bool, rules: str = "") -> Path:
    """A new data directory with all events of the input in its log, in rows of 1,000.

    Historical events are decided by their own time alone, so that the answer is the same on every
    run; those of a live stream are delivered and fall due by the clock too.
    """
    root = bench.folder / name
    shutil.rmtree(root, ignore_errors=True)
    made = make_data_dir(root, shards)
    shutil.rmtree(made.log, ignore_errors=True)
    filled = _filled_log(bench, shards, historical)
    shutil.copytree(filled, made.log, copy_function=partial(os.link, follow_symlinks=False))
    if rules:
        (root / "rules.toml").write_text(rules)
    return root


def _filled_log(bench: Bench, shards: int, historical: bool) -> Path:
    """A log of the input, filled once and linked into each data directory: nothing appends."""
    folder = bench.folder / f"log-{bench.events}-{shards}-{'past' if historical else 'live'}"
    done = folder / "filled"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    log = SqliteLog(folder, shards=shards)
    watermark_us = 0
    for row in batches(bench.input, ROW):
        seen_us = max(map(_time_us, row))
        watermark_us = max(watermark_us, seen_us)
        entry = Entry(
            topic="clicks",
            events=row,
            source="load:benchmark" if historical else "http",
            received_us=watermark_us + 1_000_000,
            units=len(row),
            historical=historical,
            watermark_us=watermark_us if historical else 0,
        )
        log.append([entry])
    log.close()
    done.touch()
    return folder


_read = msgspec.json.Decoder(Click).decode


def _time_us(raw: bytes) -> int:
    try:
        return round(_read(raw).timestamp.timestamp() * 1e6)
    except msgspec.DecodeError:
        return 0
