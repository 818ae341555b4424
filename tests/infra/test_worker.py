"""A function's process: what it keeps between invocations, and what is left when it dies."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from tests.infra.worker import REPLIES, TIMEOUT_S

WORKER = Path(__file__).with_name("worker.py")
LIBRARIES = ("botocore", "jmespath", "dateutil", "urllib3", "six.py")
FUNCTION = """
import os
seen = []
def handler(event, context):
    seen.append(event)
    if event == "die":
        os._exit(70)
    if event == "raise":
        raise KeyError(event)
    return seen
"""


class Worker:
    def __init__(self, process: "subprocess.Popen[str]", replies: IO[str]) -> None:
        self.process, self.replies = process, replies

    def invoke(self, event: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"event": event, "request_id": "r"}) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.replies.readline())
        return reply.get("answer") or reply["error"]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    for name in LIBRARIES:
        (tmp_path / name).symlink_to(Path(sysconfig.get_path("purelib")) / name)
    (tmp_path / "function.py").write_text(FUNCTION)
    reading, writing = os.pipe()
    named = {"FUNCTION_NAME": "f", "FUNCTION_MEMORY_SIZE": "128"}
    named |= {"LOG_GROUP_NAME": "g", "LOG_STREAM_NAME": "s"}
    environ = {f"AWS_LAMBDA_{name}": value for name, value in named.items()}
    environ |= {"SHOPSTREAM_TEST_FUNCTION_ARN": "a", TIMEOUT_S: "9", REPLIES: str(writing)}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(WORKER), str(tmp_path), "function.handler"],
        env=environ,
        pass_fds=(writing,),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as replies:
            yield Worker(process, replies)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(10) == 0


def test_what_a_module_keeps_is_kept_between_invocations(worker: Worker) -> None:
    assert [worker.invoke("a"), worker.invoke("b")] == [["a"], ["a", "b"]]


def test_a_function_that_raises_lives_on(worker: Worker) -> None:
    assert worker.invoke("raise") == "KeyError: 'raise'"
    assert worker.invoke("a") == ["raise", "a"]


def test_a_function_that_dies_begins_anew_and_knows_nothing(worker: Worker) -> None:
    worker.invoke("a")
    assert worker.invoke("die") == "Runtime.ExitError"
    assert worker.invoke("b") == ["b"]
