"""The command line on an applied stack: what it sends is processed, and everything adds up,
whatever the tests before have sent.
"""

import json
import os
import subprocess
import sys
from typing import Any
from uuid import uuid4

from tests.infra.drive import Drive


def run(drive: Drive, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell that has said `eval "$(terraform output -raw environment)"`."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SHOPSTREAM_"))}
    told = dict(
        line.removeprefix("export ").split("=", 1)
        for line in drive.outputs["environment"].splitlines()
    )
    emulated = {
        "AWS_ENDPOINT_URL": drive.emulator.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    return subprocess.run(
        [sys.executable, "-m", "shopstream", *words],
        capture_output=True,
        text=True,
        timeout=240,
        env=ours | told | emulated,
    )


def answer(drive: Drive, *words: str) -> Any:
    done = run(drive, *words, "--format", "json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_a_shop_that_a_command_simulates_adds_up_to_the_last_line(drive: Drive) -> None:
    before = answer(drive, "check")["records"]
    sent = run(drive, "simulate", "shop", "--count", "80", "--invalid-percent", "5")
    assert "sent " in sent.stderr, sent.stderr
    waiting = answer(drive, "check")
    drive.settle()
    report = answer(drive, "check")
    # What other tests have had given up is told, rightly.
    differences = [d for d in report["differences"] if "given up" not in d]
    assert differences == []
    assert report["records"] > before
    assert waiting["records"] <= report["records"]


def test_raw_orders_of_a_command_are_taken_as_anybodys(drive: Drive) -> None:
    queue = drive.names.queue("orders")
    seed = str(uuid4().int % 1_000_000)
    words = ("simulate", "orders", "--to", f"sqs://{queue}", "--count", "12", "--seed", seed)
    done = run(drive, *words, "--target-kb", "100", "--batch-size", "10", "--rate", "0")
    assert "sent 12 orders in 2 batches" in done.stderr
    before = len(drive.items("orders"))
    drive.settle()
    assert len(drive.items("orders")) == before + 12
    assert answer(drive, "check")["sources"]["orders"]["sqs"]["accepted"] >= 12


def test_status_tells_of_every_queue_and_the_days_counts(drive: Drive) -> None:
    found = answer(drive, "status")
    names = [queue["name"] for queue in found["standing"]["queues"]]
    assert {drive.names.queue("orders"), drive.names.failures} <= set(names)
    assert (drive.names.queue("clicks") in names) == (drive.engine.settings.aws_clicks == "sqs")
    assert run(drive, "status", "--format", "table").returncode == 0
