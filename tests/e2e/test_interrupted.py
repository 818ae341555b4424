"""Ctrl-C while what was sent is processed ends the command, and says that it was not all."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.e2e.command import COMMAND, Shop


@pytest.mark.parametrize("shards", [1, 2])
def test_ctrl_c_while_processing_is_told_by_the_exit_code(
    shop: Shop, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSTREAM_SHARDS", str(shards))
    monkeypatch.setenv("SHOPSTREAM_BATCH_EVENTS", "1")
    event = {"event_type": "view", "timestamp": "2025-11-21T10:00:00Z"}
    clicks = [event | {"user_id": f"u{n}", "page": "x" * 1_000} for n in range(30_000)]
    file = shop.ndjson("c.ndjson", *clicks)
    command = [*COMMAND, "load", str(file), "--mapping", "clicks", "--data-dir", str(shop.data_dir)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not processed(shop.data_dir):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)  # now most of it waits: without this it would end with 0
    assert process.wait(30) == 130
    shop.load(file, "clicks")
    assert shop.counts("clicks") == {"received": 30_000, "accepted": 30_000}


def processed(data_dir: Path) -> bool:
    return any((data_dir / "run").glob("processor-*.json"))
