"""The stages as the processes that they are, and a client that remembers what it was promised."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.shop import RULES, Request

START_S = 60.0
Wrap = Callable[[Sequence[str]], list[str]]
"""Puts a command under strace."""


def shopstream(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "shopstream", *arguments]


def run(
    command: Sequence[str], *, timeout_s: float = 120, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, which may be a kill. Settings as in `batch_events="5"`."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env=environment(settings)
    )


def environment(settings: dict[str, str]) -> dict[str, str]:
    mine = {f"SHOPSTREAM_{name.upper()}": value for name, value in settings.items()}
    return {k: v for k, v in os.environ.items() if not k.startswith("SHOPSTREAM_")} | mine


def make_shop(data_dir: Path, *, notify: Sequence[str] = ("file://told.ndjson",)) -> Path:
    """A data directory with our rules, whose alerts go into a file."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "rules.toml").write_text(RULES, "utf-8")
    told = ", ".join(json.dumps(name) for name in notify)
    (data_dir / "shopstream.toml").write_text(
        f'notify = [{told}]\nbatch_events = 5\nlog_level = "error"\nport = 0\n', "utf-8"
    )
    return data_dir


class RunningCollector:
    """`shopstream collector` in a process of its own, by itself or under strace."""

    def __init__(
        self, data_dir: Path, wrap: Wrap | None = None, *, wait: bool = True, **settings: str
    ) -> None:
        self._beat = data_dir / "run" / "collector.json"
        self._beat.unlink(missing_ok=True)
        command = shopstream("collector", "--data-dir", str(data_dir), "--port", "0")
        self.process = subprocess.Popen(
            wrap(command) if wrap else command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(settings),
        )
        self.address: tuple[str, int] | None = None
        self.pid = 0
        if wait:
            self.wait_for_start()

    def wait_for_start(self) -> bool:
        """Wait until it listens; False when it ended before."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                beat = json.loads(self._beat.read_text("utf-8"))
                self.address, self.pid = (beat["host"], beat["port"]), beat["pid"]
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        raise TimeoutError(f"the collector didn't start within {START_S:.0f} s")

    def wait_until_serving(self) -> tuple[str, int]:
        """Wait until it has answered; what ends it afterwards ends it in order."""
        assert self.address, "it didn't start"
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                get(self.address, "/health")
                return self.address
            time.sleep(0.01)
        raise TimeoutError(f"the collector didn't answer within {START_S:.0f} s")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it and return the exit code of the process or of the strace above it."""
        if self.running and self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        elif self.running:
            self.process.kill()
        self.said = (self.process.communicate(timeout=60)[1] or b"").decode("utf-8", "replace")
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.returncode is None:
            self.end(signal.SIGKILL)


class Client:
    """Sends requests in order, groups of them at once, each until it is answered 200 or 400.

    A body that can't be read is answered 400 after it is durable, so both are promises.
    """

    def __init__(self, groups: Sequence[Sequence[Request]]) -> None:
        self._groups = [list(group) for group in groups]
        self.acknowledged: list[Request] = []
        self.sent: Counter[bytes] = Counter()
        self.statuses: Counter[int] = Counter()
        self._lock = threading.Lock()

    @property
    def done(self) -> bool:
        return not self._groups

    def send(self, address: tuple[str, int]) -> bool:
        """Send what is left; False as soon as nobody answers."""
        with ThreadPoolExecutor(8) as pool:
            while self._groups:
                group = self._groups[0]
                answered = list(pool.map(lambda request: self._post(address, request), group))
                left = [r for r, taken in zip(group, answered, strict=True) if not taken]
                if left:
                    self._groups[0] = left
                    return False
                self._groups.pop(0)
        return True

    def _post(self, address: tuple[str, int], request: Request) -> bool:
        with self._lock:
            for event in events_of(request):
                self.sent[event] += 1
        status = post(address, request)[0]
        with self._lock:
            self.statuses[status] += 1
            if status in (200, 400):
                self.acknowledged.append(request)
        return status in (200, 400)


def events_of(request: Request) -> list[bytes]:
    """The events of a request as the quarantine would keep them."""
    if request.path == "/v1/batch":
        return []
    return request.body.split(b"\n")


def post(
    address: tuple[str, int], request: Request, *, timeout_s: float = 30
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in small letters) and body of the answer; status 0 when none came."""
    connection = http.client.HTTPConnection(*address, timeout=timeout_s)
    try:
        connection.request("POST", request.path, request.body)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body
    except (OSError, http.client.HTTPException):
        return 0, {}, b""
    finally:
        connection.close()


def get(address: tuple[str, int], path: str) -> int:
    """The status of the answer to a GET."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
