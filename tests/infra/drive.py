"""The one driver: gives an applied stack events as the world would, and does what AWS would do.

Streams and queues go through its event source mappings, rules of EventBridge through what the
emulator writes down, schedules and the clock as a test says. What functions do can be made to fail.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests.infra.api import Api, Rule, applied_api, applied_policy, applied_rule, permits
from tests.infra.doors import Answer, Request
from tests.infra.functions import Functions
from tests.infra.mappings import Outcome
from tests.infra.poller import Poller
from tests.infra.terraform import Stack

from shopstream.aws.clients import Clients
from shopstream.aws.engine import AwsEngine
from shopstream.aws.names import Names
from shopstream.keys import add_key
from shopstream.settings import load_settings

ASYNC_TRIES = 3
"""AWS gives an event that nobody waits for to a function at most so often."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SETTLES_WITHIN = 10_000


class FunctionFailed(Exception):
    """A function ended with an error, which the message has."""


class Statement(NamedTuple):
    """What Athena was asked, and where."""

    text: str
    workgroup: str
    database: str


class Drive:
    """One applied stack whose functions run here. Close it before the emulator."""

    def __init__(self, stack: Stack, package: Path, folder: Path) -> None:
        self.stack = stack
        self.emulator = stack.emulator
        self.outputs = stack.outputs()
        self.functions = Functions(self.emulator, package, folder)
        self.poller = Poller(self.emulator, self._invoked_by_mapping)
        self.faults: dict[str, list[list[dict[str, Any]]]] = {}
        self._keys: dict[str, str] = {}
        self.errors: list[tuple[str, str]] = []
        self.given_up: list[tuple[str, Any]] = []
        self._api: tuple[Api, str] | None = None
        self._rules: dict[str, Rule] = {}
        self._bodies: dict[tuple[str, str, str], bytes] = {}
        self._policies: dict[str, Mapping[str, Any]] = {}
        settings = load_settings(environ=self._settings())
        clients = Clients(region=self.outputs["region"], endpoint=self.emulator.url)
        self.engine = AwsEngine(settings, clients)

    @property
    def names(self) -> Names:
        return self.engine.names

    def _settings(self) -> dict[str, str]:
        """What a user's shell has after `eval "$(terraform output -raw environment)"`."""
        lines = self.outputs["environment"].splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def begin_anew(self) -> None:
        """Functions know what time it is, nothing is to fail, and what failed is forgotten. What
        was applied is read anew.
        """
        self.set_clock(None)
        self._api = None
        self._rules.clear()
        self._policies.clear()
        self.faults.clear()
        self.errors.clear()
        self.given_up.clear()

    def close(self) -> None:
        self.functions.close()

    # The world

    def get(self, path: str) -> Answer:
        """A reader's look-up."""
        return self.request(Request("GET", path, headers=self.credentials("read")))

    def credentials(self, kind: Literal["read", "write"]) -> dict[str, str]:
        """Those of a key. Both are made when one is first needed, as `shopstream keys add` does:
        a collector that runs takes up a new one only after a while.
        """
        if not self._keys:
            file, now = self.engine.keys(), datetime.now(UTC)
            _, self._keys["read"] = add_key(file, kind="read", now=now)
            _, self._keys["write"] = add_key(file, kind="write", now=now)
        word = base64.b64encode(f"{self._keys[kind]}:".encode()).decode()
        return {"authorization": f"Basic {word}"}

    def request(self, request: Request) -> Answer:
        """An HTTP request to the collector's address, by way of the API that was applied."""
        if self._api is None:
            self._api = applied_api(self.emulator, self.outputs["collector_url"])
        api, stage = self._api
        return api.send(stage, request, self._permits_api, self._invoke)

    def _permits_api(self, function: str, source: str) -> bool:
        return permits(self._policy(function), function, "apigateway.amazonaws.com", source)

    def _policy(self, function: str) -> Mapping[str, Any]:
        """Who may invoke a function."""
        if function not in self._policies:
            self._policies[function] = applied_policy(self.emulator, function)
        return self._policies[function]

    def post(self, topic: str, *events: Any, **headers: str) -> Answer:
        """Events to `/v1/events/{topic}`."""
        kind = {"content-type": "application/json"} | self.credentials("write") | headers
        body = json.dumps(list(events)).encode()
        return self.request(Request("POST", f"/v1/events/{topic}", body, kind))

    def set_clock(self, now_us: int | None) -> None:
        """What time functions believe it to be; None is what it is."""
        self.functions.set_clock(now_us)

    def tick(self, at_us: int, *, now_us: int | None = None, **more: Any) -> Outcome:
        """The minute's event of EventBridge to the function that watches carts; what time it is
        when it comes may be another.
        """
        self.set_clock(at_us if now_us is None else now_us)
        return self.clock("cart-watcher", at_us, **more)

    def clock(self, rule: str, at_us: int, **more: Any) -> Outcome:
        """What a rule of EventBridge does when its time has come: reads what was applied."""
        if rule not in self._rules:
            self._rules[rule] = applied_rule(self.emulator, f"{self.names.prefix}-{rule}")
        found = self._rules[rule]
        assert found.schedule.startswith(("rate(", "cron(")), found
        policy = self._policy(found.function)
        assert permits(policy, found.function, "events.amazonaws.com", found.arn), found
        event = _scheduled(at_us, found.arn) if found.input is None else found.input
        return self._checked(found.function, event | more)

    # What AWS does

    def invoke(self, handler: str, event: Any) -> Outcome:
        """A function, by the name of its handler. Raises FunctionFailed."""
        return self._checked(self.names.function(handler), event)

    def _checked(self, function: str, event: Any) -> Outcome:
        outcome = self._invoke(function, event)
        if outcome.error:
            said = self.functions[function].text()[-2_000:]
            raise FunctionFailed(f"{function}: {outcome.error}\n{said}")
        return outcome

    def _invoke(self, name: str, event: Any) -> Outcome:
        waiting = self.faults.get(name)
        outcome = self.functions[name].invoke(event, waiting.pop(0) if waiting else ())
        if outcome.error:
            self.errors.append((name, outcome.error))
        return outcome

    def _invoked_by_mapping(self, name: str, event: dict[str, Any]) -> Outcome:
        return self._invoke(name, event)

    def go_wrong(self, handler: str, *faults: Mapping[str, Any]) -> None:
        """Let calls fail in the next invocation of a function that has none waiting yet."""
        waiting = self.faults.setdefault(self.names.function(handler), [])
        waiting.append([dict(fault) for fault in faults])

    def settle(self) -> None:
        """Let everything that is under way arrive: until no function has anything to do."""
        for _ in range(SETTLES_WITHIN):
            invoked = self.poller.drain()
            for name, event in self.emulator.invoked():
                self._invoke_alone(name, event)
                invoked += 1
            if not invoked:
                return
        raise AssertionError("functions go on invoking each other")

    def _invoke_alone(self, name: str, event: Any) -> None:
        if not any(not self._invoke(name, event).error for _ in range(ASYNC_TRIES)):
            self.given_up.append((name, event))

    # What came of it

    def items(self, table: str) -> list[tuple[str, str, bytes]]:
        return list(self.engine.tables().scan(table))

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Objects of a bucket (`lake`, `raw`, …) by key, gunzipped when named so."""
        s3, name = self.emulator.client("s3"), self.names.bucket(bucket)
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix)
        found = {}
        for page in pages:
            for one in page.get("Contents", []):
                key = one["Key"]
                # There are thousands; each is read once.
                known = (name, key, one["ETag"])
                if known not in self._bodies:
                    body = s3.get_object(Bucket=name, Key=key)["Body"].read()
                    self._bodies[known] = gzip.decompress(body) if key.endswith(".gz") else body
                found[key] = self._bodies[known]
        return found

    def bronze(self, topic: str) -> list[dict[str, Any]]:
        """Rows landed, in no order."""
        files = self.objects("lake", f"bronze/{topic}/").values()
        return [json.loads(line) for body in files for line in body.splitlines()]

    def queue_url(self, name: str) -> str:
        url: str = self.emulator.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
        return url

    def statements(self) -> list[Statement]:
        """All that Athena was asked, the earliest first."""
        athena = self.emulator.client("athena")
        pages = athena.get_paginator("list_query_executions").paginate()
        found = []
        for query in (one for page in pages for one in page["QueryExecutionIds"]):
            said = athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]
            database = said["QueryExecutionContext"].get("Database", "")
            found.append(Statement(said["Query"], said["WorkGroup"], database))
        return found

    def glue_tables(self) -> dict[str, str]:
        """The catalog's tables, each with its place in S3."""
        glue = self.emulator.client("glue")
        pages = glue.get_paginator("get_tables").paginate(DatabaseName=self.names.database)
        tables = [one for page in pages for one in page["TableList"]]
        return {one["Name"]: one["StorageDescriptor"]["Location"] for one in tables}

    def messages(self, name: str) -> list[Any]:
        """Takes all messages of a queue away and returns their bodies."""
        sqs, url = self.emulator.client("sqs"), self.queue_url(name)
        found: list[Any] = []
        asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
        while some := sqs.receive_message(**asked).get("Messages"):
            for one in some:
                found.append(_body(one["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return found


def _scheduled(at_us: int, rule: str) -> dict[str, Any]:
    moment = EPOCH + timedelta(microseconds=at_us)
    return {
        "version": "0",
        "id": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "time": moment.isoformat().replace("+00:00", "Z"),
        "resources": [rule],
        "detail": {},
    }


def _body(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
