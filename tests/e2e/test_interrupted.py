"""Ctrl-C while what was sent is processed ends the command, and says that it was not all."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.e2e.command import COMMAND, Shop

CTRL_C = """
import os
import signal
from shopstream.flows.processor import Processor

command = int(os.environ.setdefault("SHOPSTREAM_TEST_COMMAND", str(os.getpid())))
process = Processor.process

def process_and_interrupt(processor, *batch):
    process(processor, *batch)
    if processor.config.shard == 0:
        Processor.process = process
        os.kill(command, signal.SIGINT)

Processor.process = process_and_interrupt
"""
"""Python runs it at its start, in the command as in the processors that the command starts. After
the first batch that one of them processes, Ctrl-C comes to the command.
"""


@pytest.mark.parametrize("shards", [1, 2])
def test_ctrl_c_while_processing_is_told_by_the_exit_code(
    shop: Shop, shards: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHOPSTREAM_SHARDS", str(shards))
    monkeypatch.setenv("SHOPSTREAM_BATCH_EVENTS", "1")
    event = {"event_type": "view", "timestamp": "2025-11-21T10:00:00Z"}
    clicks = [event | {"user_id": f"u{n}", "page": "x" * 1_000} for n in range(5_000)]
    file = shop.ndjson("c.ndjson", *clicks)  # too large for one batch
    (tmp_path / "sitecustomize.py").write_text(CTRL_C)
    command = [*COMMAND, "load", str(file), "--mapping", "clicks", "--data-dir", str(shop.data_dir)]
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environ, stderr=subprocess.DEVNULL, timeout=120, check=False)
    assert done.returncode == 130  # without Ctrl-C it would end with 0
    shop.load(file, "clicks")
    assert shop.counts("clicks") == {"received": 5_000, "accepted": 5_000}
