"""Emulators of AWS as processes: moto for everything, and AWS's own DynamoDB Local."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from tests.models.engines.downloads import dynamodb_local_home

START_S_MAX = 60
MOTO_PLUS = Path(__file__).resolve().parents[3] / "shared" / "aws-local" / "moto_plus.py"
"""moto with some of its gaps filled; it may lie beside the repository."""
lands_bronze = pytest.mark.skipif(
    not MOTO_PLUS.exists(), reason="moto by itself doesn't know the prefixes of Firehose by date"
)
"""For tests that read what Firehose has put into the lake."""


@contextmanager
def run_moto(folder: Path) -> Iterator[str]:
    """A moto server of its own, empty; gives its URL. Skips the test where moto isn't installed."""
    if find_spec("moto") is None:
        pytest.skip("moto is not installed: make test installs it")
    program = [str(MOTO_PLUS)] if MOTO_PLUS.exists() else ["-m", "moto.server"]
    port = _free_port()
    command = [sys.executable, *program, "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, folder):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def run_dynamodb_local(folder: Path) -> Iterator[str]:
    """DynamoDB Local in memory; skips the test where it, or Java, can't be had."""
    java = shutil.which("java")
    if java is None:
        pytest.skip("there is no java to run DynamoDB Local")
    home = dynamodb_local_home()
    port = _free_port()
    command = [
        *(java, "-Xmx512m", "-XX:TieredStopAtLevel=1", f"-Djava.library.path={home}"),
        *("-cp", f"{home}/*", "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"),
        *("-inMemory", "-disableTelemetry", "-port", str(port)),
    ]
    with _running(command, port, folder):
        yield f"http://127.0.0.1:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(command: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MOTO_"))}
    said = folder / "emulator.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environ | {"MOTO_PLUS_ESM": "off"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            _wait(process, port, said)
            yield
        finally:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int, said: Path) -> None:
    ends_at = time.monotonic() + START_S_MAX
    with httpx.Client(trust_env=False) as client:
        while True:
            try:
                client.get(f"http://127.0.0.1:{port}/", timeout=5)
            except httpx.TransportError:
                if process.poll() is not None or time.monotonic() > ends_at:
                    output = said.read_text("utf-8", "replace")[-2_000:]
                    raise RuntimeError(f"the emulator did not start:\n{output}") from None
                time.sleep(0.1)
            else:
                return
