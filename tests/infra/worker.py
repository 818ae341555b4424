"""What Lambda is to a function: a process that has its zip and its environment, and nothing else.

Started as `python -I -S worker.py FOLDER HANDLER`: it sees the unpacked zip and the standard
library. Reads one invocation a line from standard input, writes one reply a line to the descriptor
that REPLIES names. What the function prints goes where the process's output goes.

An invocation may say what time it is (then `time.time()` and `time.time_ns()` go on from there) and
which calls of AWS's API are to go wrong. A reply tells which calls were made that weren't before.
"""

import importlib
import json
import os
import sys
import time
import traceback
from contextlib import suppress
from typing import IO, Any, NoReturn

REPLIES = "SHOPSTREAM_TEST_REPLIES"
TIMEOUT_S = "SHOPSTREAM_TEST_TIMEOUT_S"
_SEEN_MAX = 100_000
_NAMED = (
    *("TableName", "IndexName", "StreamName", "StreamARN", "QueueUrl", "QueueName", "Bucket"),
    *("TopicArn", "DeliveryStreamName", "FunctionName", "WorkGroup", "DatabaseName", "Name"),
    *("CatalogId", "Database", "QueryExecutionId"),
)
_real_time, _real_time_ns = time.time, time.time_ns


class _Clock:
    """`time.time` and `time.time_ns`, shifted."""

    def __init__(self) -> None:
        self._ahead_ns = 0
        time.time = lambda: self.now_ns() / 1e9
        time.time_ns = self.now_ns

    def now_ns(self) -> int:
        return _real_time_ns() + self._ahead_ns

    def set(self, now_us: int | None) -> None:
        self._ahead_ns = 0 if now_us is None else now_us * 1_000 - _real_time_ns()


class Fault:
    """Calls of one operation ("*": of any) that go wrong: the first `skip` don't, `times` do.

    `kind`: `throttled`, `lost` (done, but the answer doesn't come), `unprocessed` (a batch of which
    nothing was taken), `killed` (the process ends before the call), `killed_after` it.
    """

    def __init__(self, operation: str, kind: str, skip: int = 0, times: int = 1) -> None:
        self.operation, self.kind, self.skip, self.times = operation, kind, skip, times

    def strikes(self, operation: str) -> bool:
        if self.operation not in ("*", operation) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class _Calls:
    """Sees every call that the function's clients make."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.made = 0
        self._seen: set[str] = set()
        self._fresh: list[Any] = []
        import botocore.session

        make: Any = botocore.session.Session.create_client
        calls = self

        def create_client(session: Any, *given: Any, **named: Any) -> Any:
            client = make(session, *given, **named)
            client.meta.events.register("provide-client-params.*.*", calls.see)
            client.meta.events.register("before-send.*.*", calls.send)
            return client

        botocore.session.Session.create_client = create_client  # type: ignore[assignment,method-assign]  # each call is seen

    def fresh(self) -> list[Any]:
        """Calls on what no call was made on before."""
        found, self._fresh = self._fresh, []
        return found

    def see(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        named: dict[str, Any] = {name: params[name] for name in _NAMED if name in params}
        if "RequestItems" in params:
            named["Tables"] = sorted(params["RequestItems"])
        if "TransactItems" in params:
            named["Items"] = sorted(
                [kind, of["TableName"]]
                for one in params["TransactItems"]
                for kind, of in one.items()
            )
        for name in ("Key", "Prefix", "CopySource"):
            if isinstance(params.get(name), str):
                named[name] = params[name]
        # One key of a folder stands for all: each offer has a file.
        folder = str(named.get("Key", "")).rpartition("/")[0].partition("=")[0]
        call: list[Any] = [model.service_model.service_name, model.name, named]
        known = json.dumps([*call[:2], named | {"Key": folder}], sort_keys=True)
        if known not in self._seen and len(self._seen) < _SEEN_MAX:
            self._seen.add(known)
            self._fresh.append(call)

    def send(self, request: Any, event_name: str, **_: Any) -> Any:
        self.made += 1
        service, operation = event_name.split(".")[1:]
        for fault in self.faults:
            if fault.strikes(operation):
                return _go_wrong(fault.kind, request, service, operation)
        return None


def _go_wrong(kind: str, request: Any, service: str, operation: str) -> Any:
    from botocore.awsrequest import AWSResponse
    from botocore.exceptions import ReadTimeoutError
    from botocore.httpsession import URLLib3Session

    if kind == "killed":
        _die()
    if kind in ("lost", "killed_after"):
        URLLib3Session().send(request)
        if kind == "killed_after":
            _die()
        raise ReadTimeoutError(endpoint_url=request.url)
    if kind == "unprocessed":
        status, body = 200, _nothing_taken(operation, json.loads(request.body))
    else:
        status, body = _throttled(service)
    make: Any = AWSResponse
    answer = make(request.url, status, {"content-type": "application/x-amz-json-1.0"}, None)
    answer._content = body
    return answer


def _die() -> NoReturn:
    os._exit(70)


def _throttled(service: str) -> tuple[int, bytes]:
    if service == "s3":
        return 503, b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"
    code = "ProvisionedThroughputExceededException"
    if service in ("sqs", "sns", "athena", "glue"):
        code = "ThrottlingException"
    return 400, json.dumps({"__type": code, "message": "Rate exceeded"}).encode()


def _nothing_taken(operation: str, asked: dict[str, Any]) -> bytes:
    if operation == "BatchWriteItem":
        return json.dumps({"UnprocessedItems": asked["RequestItems"]}).encode()
    failed = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
    answers = [failed for _ in asked["Records"]]
    count = "FailedPutCount" if operation == "PutRecordBatch" else "FailedRecordCount"
    kind = "RequestResponses" if operation == "PutRecordBatch" else "Records"
    return json.dumps({count: len(answers), kind: answers}).encode()


class Context:
    """What a handler is told beside its event."""

    function_version = "$LATEST"
    identity = None
    client_context = None

    def __init__(self, request_id: str) -> None:
        environ = os.environ
        self.aws_request_id = request_id
        self.function_name = environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.memory_limit_in_mb = int(environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])
        self.log_group_name = environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.invoked_function_arn = environ["SHOPSTREAM_TEST_FUNCTION_ARN"]
        self._ends_at = time.monotonic() + float(environ[TIMEOUT_S])

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._ends_at - time.monotonic()) * 1_000))


def _main() -> None:
    """Serve until there is nothing more to read. Each life of the function is a process of its own,
    forked from this one, which has imported all and run nothing: to begin anew takes no second.
    """
    folder, handler = sys.argv[1:3]
    sys.path.insert(0, folder)
    os.chdir(folder)
    replies = os.fdopen(int(os.environ.pop(REPLIES)), "w", encoding="utf-8")
    clock, calls = _Clock(), _Calls()
    module, _, name = handler.rpartition(".")
    with suppress(Exception):  # then each invocation will say so
        importlib.import_module(module)
    while True:
        life = os.fork()
        if not life:
            _live(module, name, clock, calls, replies)
            os._exit(0)
        _, status = os.waitpid(life, 0)
        if status == 0:
            return
        replies.write(json.dumps({"error": "Runtime.ExitError", "calls": [], "made": 0}) + "\n")
        replies.flush()


def _live(module: str, name: str, clock: _Clock, calls: _Calls, replies: IO[str]) -> None:
    function: Any = None
    # Opened anew: what a life had read ahead would be lost to the next.
    for line in open(0, encoding="utf-8", buffering=1, closefd=False):  # noqa: SIM115  # standard input, kept open
        asked = json.loads(line)
        clock.set(asked.get("now_us"))
        calls.faults = [Fault(**fault) for fault in asked.get("faults", ())]
        before = calls.made
        reply: dict[str, Any] = {}
        try:
            if function is None:
                function = getattr(importlib.import_module(module), name)
            reply["answer"] = function(asked["event"], Context(asked["request_id"]))
            text = json.dumps(reply["answer"])
            assert text
        except Exception as e:  # noqa: BLE001  # as Lambda: whatever a function raises is its answer
            traceback.print_exc()
            reply = {"error": f"{type(e).__name__}: {e}"}
        sys.stdout.flush()
        reply |= {"calls": calls.fresh(), "made": calls.made - before}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    _main()
