"""/openapi.json is right about every endpoint: schemathesis makes requests from it, good and bad
ones, and holds each answer against it.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from shopstream.heartbeats import write_heartbeat
from shopstream.local.tables import RocksTables

# 413 is an answer to bad data too: a batch of too many events.
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "413"]
"""


def test_every_answer_is_one_that_the_description_tells_of(
    start_collector: Any, tmp_path: Path
) -> None:
    collector = start_collector()
    RocksTables(collector.engine.dir.tables(0)).close()
    alive_for_long = time.time_ns() // 1000 + 3_600_000_000
    beat = {"position": 2**40, "at_us": alive_for_long}
    write_heartbeat(collector.engine.dir.run, "processor-0", beat)
    time.sleep(1.1)
    description = collector.client.get("/openapi.json").json()
    for operations in description["paths"].values():
        # schemathesis has no way to write NDJSON; test_collector_events does.
        operations.get("post", {}).get("requestBody", {}).get("content", {}).pop(
            "application/x-ndjson", None
        )
    (tmp_path / "openapi.json").write_bytes(msgspec.json.encode(description))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    found = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            "--config-file", tmp_path / "schemathesis.toml",
            "run", tmp_path / "openapi.json",
            "--url", f"http://127.0.0.1:{collector.port}",
            "--phases", "examples,coverage,fuzzing",
            "--max-examples", "5", "--seed", "1", "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-6_000:] + found.stderr[-2_000:]
    assert f"Tested: {sum(map(len, description['paths'].values()))}" in found.stdout
