"""The emulator that stands for AWS: moto with what Terraform's provider misses in it, as a process.

It is a tool that lies beside this repository and is started as it is. Where it is absent, the tests
that need it skip and say so.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import boto3
import botocore.config
import httpx
from tests.infra.emulated import FAILING, FOLDER, INVOCATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "eu-central-1"
ACCOUNT = "123456789012"
STARTS_WITHIN_S = 60.0
_ROOT = Path(__file__).resolve().parents[2]
NAME = "SHOPSTREAM_TEST_EMULATOR"
_BESIDE = Path("shared") / "aws-local" / "moto_plus.py"
ABSENT = f"the emulator is absent; name its program {NAME}"
_NOT_THE_USERS = ("AWS_", "TF_", "MOTO_", "SHOPSTREAM_")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}


def clean_environment(environ: "Mapping[str, str] | None" = None) -> dict[str, str]:
    """The environment without what leads to somebody's real account, proxies or settings."""
    environ = os.environ if environ is None else environ
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_NOT_THE_USERS) and name.lower() not in _PROXIES
    }


def _find_program() -> Path:
    """The one that the environment names, or the nearest that lies beside a folder of ours."""
    beside = [folder / _BESIDE for folder in _ROOT.parents]
    found = next((one for one in beside if one.is_file()), beside[0])
    return Path(os.environ.get(NAME, found))


PROGRAM = _find_program()


class Emulator:
    """A running emulator, empty at first; it knows nothing any more once it is closed.

    Lambda functions are kept and never run by it: who polls streams and queues is the test.
    """

    def __init__(
        self,
        url: str,
        process: "subprocess.Popen[bytes]",
        output: IO[bytes],
        folder: Path,
    ) -> None:
        self.url = url
        self._process = process
        self._output = output
        self._invocations = folder / INVOCATIONS
        self._failing = folder / FAILING
        self._invoked = 0
        self._clients: dict[str, Any] = {}

    @classmethod
    def start(cls, folder: Path) -> Self:
        """Start one on a free port; what it prints goes into `folder`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        output = (folder / "emulator.txt").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.infra.emulated", str(PROGRAM), "127.0.0.1", str(port)],
            env=clean_environment()
            | {"MOTO_PLUS_ESM": "off", "MOTO_PORT": str(port), FOLDER: str(folder)}
            | {"PYTHONPATH": str(_ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        emulator = cls(f"http://127.0.0.1:{port}", process, output, folder)
        try:
            emulator._wait(folder)
        except BaseException:
            emulator.close()
            raise
        return emulator

    def _wait(self, folder: Path) -> None:
        ends_at = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                # Not by the system's proxy, whatever the environment says.
                with httpx.Client(trust_env=False) as client:
                    client.get(f"{self.url}/moto-api/", timeout=5)
            except httpx.TransportError:
                if self._process.poll() is not None or time.monotonic() > ends_at:
                    said = (folder / "emulator.txt").read_text("utf-8", "replace")[-2_000:]
                    raise RuntimeError(f"the emulator did not start:\n{said}") from None
                time.sleep(0.1)
            else:
                return

    def environment(self) -> dict[str, str]:
        """What sends a program of AWS's SDKs, or Terraform, here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def invoked(self) -> list[tuple[str, Any]]:
        """Functions that were to be invoked since the last call, each with its event: by rules of
        EventBridge, topics, or a caller of the API, whom the emulator has told that all went well.
        """
        if not self._invocations.exists():
            return []
        with self._invocations.open(encoding="utf-8") as file:
            file.seek(self._invoked)
            lines = file.readlines()
            self._invoked = file.tell()
        return [(one["function"], one["event"]) for one in map(json.loads, lines)]

    def fail_queries(self, *texts: str) -> None:
        """Let statements that have one of these texts in them fail on Athena from now on."""
        self._failing.write_text(json.dumps(texts), "utf-8")

    def client(self, service: str) -> Any:
        """A client of one service."""
        if service not in self._clients:
            self._clients[service] = self._client(service)
        return self._clients[service]

    def _client(self, service: str) -> Any:
        # The stubs know each service by its literal name only.
        make: Any = boto3.session.Session().client
        return make(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=botocore.config.Config(
                proxies={}, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
            ),
        )

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
