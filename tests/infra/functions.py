"""Applied Lambda functions, run here: each from the zip it was deployed with, in its environment.

A worker process of `worker.py` per function stays as Lambda's do, so what a module keeps between
invocations is kept here too.
"""

import json
import os
import select
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.infra.emulator import Emulator
from tests.infra.mappings import Outcome
from tests.infra.worker import REPLIES, TIMEOUT_S

_PYTHON = (sys.executable, "-I", "-S", "-W", "ignore")
_WORKER = Path(__file__).with_name("worker.py")


class Call(NamedTuple):
    """A call of AWS's API made by a function: what it was made on, not with what."""

    function: str
    service: str
    operation: str
    named: dict[str, Any]


class Function:
    """One applied function. `now_us` is the time it believes it to be, None: what it is."""

    def __init__(
        self, configuration: Mapping[str, Any], package: Path, emulator: Emulator, folder: Path
    ) -> None:
        self.name: str = configuration["FunctionName"]
        self.configuration = configuration
        self.output = folder / f"{self.name}.txt"
        self.calls: list[Call] = []
        self.made = 0
        self.now_us: int | None = None
        self._package = package
        self._emulator = emulator
        self._process: subprocess.Popen[str] | None = None
        self._replies: IO[str] | None = None
        self._invocations = 0

    def invoke(self, event: Any, faults: Sequence[Mapping[str, Any]] = ()) -> Outcome:
        """As Lambda would; a function that dies or takes too long is an outcome too."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._replies is not None
        self._invocations += 1
        asked = {
            "event": event,
            "now_us": self.now_us,
            "request_id": f"00000000-0000-4000-8000-{self._invocations:012d}",
            "faults": list(faults),
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        limit_s = self.configuration["Timeout"]
        readable, _, _ = select.select([self._replies], [], [], limit_s)
        line = self._replies.readline() if readable else ""
        if not line:
            self.close()
            why = "Runtime.ExitError" if readable else f"Task timed out after {limit_s} seconds"
            return Outcome(error=why)
        reply = json.loads(line)
        self.calls += [Call(self.name, *call) for call in reply["calls"]]
        self.made += reply["made"]
        return Outcome(reply.get("answer"), reply.get("error", ""))

    def _start(self) -> None:
        reading, writing = os.pipe()
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*_PYTHON, str(_WORKER), str(self._package), self.configuration["Handler"]],
                env=self._environment() | {REPLIES: str(writing)},
                pass_fds=(writing,),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,  # so that its lives end with it
            )
        os.close(writing)
        self._replies = os.fdopen(reading, encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        """What is applied, and what Lambda adds to it; only the emulator's address is ours."""
        applied: dict[str, str] = self.configuration.get("Environment", {}).get("Variables", {})
        of_runtime = {
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.configuration["MemorySize"]),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "test",
            "_HANDLER": self.configuration["Handler"],
            "LAMBDA_TASK_ROOT": str(self._package),
            "SHOPSTREAM_TEST_FUNCTION_ARN": self.configuration["FunctionArn"],
            TIMEOUT_S: str(self.configuration["Timeout"]),
            "TZ": ":UTC",
            "LANG": "en_US.UTF-8",
        }
        path = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        assert not set(applied) & set(of_runtime)
        return path | of_runtime | self._emulator.environment() | applied

    def text(self) -> str:
        """All that the function printed."""
        return self.output.read_text("utf-8") if self.output.exists() else ""

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process.stdin.close()
        if self._replies is not None:
            self._replies.close()
        self._process = self._replies = None


class Functions:
    """All functions of an applied stack, by name."""

    def __init__(self, emulator: Emulator, package: Path, folder: Path) -> None:
        unpacked = folder / "package"
        with zipfile.ZipFile(package) as archive:
            archive.extractall(unpacked)
        pages = emulator.client("lambda").get_paginator("list_functions").paginate()
        names = [one["FunctionName"] for page in pages for one in page["Functions"]]
        configuration = emulator.client("lambda").get_function_configuration
        self.by_name = {
            name: Function(configuration(FunctionName=name), unpacked, emulator, folder)
            for name in names
        }

    def __getitem__(self, name: str) -> Function:
        return self.by_name[name]

    def set_clock(self, now_us: int | None) -> None:
        for function in self.by_name.values():
            function.now_us = now_us

    def calls(self) -> list[Call]:
        return [call for function in self.by_name.values() for call in function.calls]

    def close(self) -> None:
        for function in self.by_name.values():
            function.close()
