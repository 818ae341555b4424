"""A collector that runs without processors: who loads into it processes what waits."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.e2e.command import COMMAND, Shop


@contextmanager
def collecting(shop: Shop) -> Iterator[None]:
    command = [*COMMAND, "collector", "--port", "0", "--data-dir", str(shop.data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not (shop.data_dir / "run" / "collector.json").exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("shards", [1, 2])
def test_what_is_loaded_is_processed(
    shop: Shop, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSTREAM_SHARDS", str(shards))
    event = {"event_type": "view", "timestamp": "2025-11-21T10:00:00Z"}
    clicks = shop.ndjson("c.ndjson", *(event | {"user_id": f"u{n}"} for n in range(20)))
    with collecting(shop):
        shop.load(clicks, "clicks")
        assert shop.counts("clicks") == {"received": 20, "accepted": 20}
        sent = ("simulate", "clicks", "--count", "30", "--seed", "1")
        shop.run(*sent)
        assert sum(shop.counts("clicks").values()) == 100
