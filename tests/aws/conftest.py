"""Functions on an emulator: what Terraform would make for them, and their environment.

Handlers are called in this process, as Lambda calls them. One deployment serves all tests of a
file; each test has users of its own.
"""

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.engines.aws_resources import ACCOUNT, REGION, Deployment, clients_of
from tests.engines.emulators import run_moto

from shopstream.aws import handlers
from shopstream.aws.clients import Clients
from shopstream.aws.names import BRONZE_TOPICS, TABLES
from shopstream.events import Order

_CACHED = (
    *("_engine", "_metrics", "_traced", "_collector", "_ingestor", "_publisher", "_offers"),
    "_cart_watcher",
)


class Stack(Deployment):
    """A whole deployment. `failing` makes calls go wrong: operation -> text in its request."""

    def __init__(self, clients: Clients, folder: Path) -> None:
        super().__init__(clients, folder)
        self.items = self.tables(*TABLES)
        self.files = self.lake()
        self._queues()
        self._topics()
        self._deliveries()
        clients.dynamodb.create_table(
            TableName=self.names.idempotency,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )

    def _queues(self) -> None:
        sqs, names = self.clients.sqs, self.names
        fifo: Any = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        for topic in ("clicks", "orders"):
            for queue in (names.queue(topic), names.dead_letters(topic)):
                sqs.create_queue(QueueName=queue, Attributes=fifo)
        sqs.create_queue(QueueName=names.failures)

    def _topics(self) -> None:
        sns, sqs, names = self.clients.sns, self.clients.sqs, self.names
        for topic in (names.alerts, names.invalid_orders):
            arn = sns.create_topic(Name=topic)["TopicArn"]
            sqs.create_queue(QueueName=f"{topic}-told")
            queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{topic}-told"
            sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)

    def _deliveries(self) -> None:
        for topic in BRONZE_TOPICS:
            self.clients.firehose.create_delivery_stream(
                DeliveryStreamName=self.names.delivery(topic),
                ExtendedS3DestinationConfiguration={
                    "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/firehose",
                    "BucketARN": f"arn:aws:s3:::{self.names.lake}",
                    "Prefix": f"bronze/{topic}/",
                    "CompressionFormat": "GZIP",
                },
            )

    def bronze(self, topic: str) -> list[dict[str, Any]]:
        """All lines that were landed of a topic."""
        s3, lake = self.clients.s3, self.names.lake
        found = s3.list_objects_v2(Bucket=lake, Prefix=f"bronze/{topic}/").get("Contents", [])
        lines: list[dict[str, Any]] = []
        for one in found:
            body = s3.get_object(Bucket=lake, Key=one["Key"])["Body"].read()
            text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            lines += [json.loads(line) for line in text.splitlines()]
        return lines

    def told(self, topic: str) -> list[dict[str, Any]]:
        """Alerts that a topic handed on since this was last asked."""
        sqs = self.clients.sqs
        url = sqs.get_queue_url(QueueName=f"{topic}-told")["QueueUrl"]
        alerts: list[dict[str, Any]] = []
        while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                alerts.append(json.loads(json.loads(message["Body"])["Message"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return alerts

    def clicks_of(self, user_id: str) -> list[dict[str, Any]]:
        """A user's stored clicks."""
        from shopstream.flows.history import lines_of

        items = self.items.query("browsing_events", user_id)
        return [json.loads(line) for _, item in items for line in lines_of(item)]

    def orders(self, order_id: str) -> list[Order]:
        """What is stored of an order."""
        import msgspec

        found = self.items.query("orders", order_id)
        return [msgspec.json.decode(item, type=Order) for _, item in found]

    def ledger(self) -> dict[str, int]:
        """All cells of the ledger, added up."""
        cells: dict[str, int] = {}
        for _, _, item in self.items.scan("ledger"):
            for cell, units in json.loads(item).items():
                cells[cell.replace("\x1f", "/")] = cells.get(cell.replace("\x1f", "/"), 0) + units
        return cells


class Faults:
    """Calls of an operation, those whose request holds a text, that AWS refuses."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def fail(self, operation: str, text: str) -> None:
        self._texts[operation] = text

    def heal(self) -> None:
        self._texts.clear()

    def before_send(self, request: Any, event_name: str, **_: Any) -> Any:
        from botocore.awsrequest import AWSResponse

        operation = event_name.rpartition(".")[2]
        text = self._texts.get(operation)
        sent = request.body or b""
        if text is None or text not in (sent if isinstance(sent, str) else sent.decode()):
            return None
        body = b'{"__type":"AccessDeniedException","message":"made to fail"}'
        if operation == "Publish":  # SNS speaks XML
            body = b"<ErrorResponse><Error><Code>AuthorizationError</Code></Error></ErrorResponse>"

        class Raw:
            def stream(self, **_: Any) -> Iterator[bytes]:
                yield body

        headers: Any = {"content-type": "application/x-amz-json-1.0"}
        return AWSResponse(request.url, 400, headers, Raw())


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as stack:
        yield stack.enter_context(run_moto(tmp_path_factory.mktemp("emulator")))


@pytest.fixture(scope="module")
def stack(
    emulator: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NO_PROXY", "127.0.0.1")
        made = Stack(clients_of(emulator), tmp_path_factory.mktemp("stack"))
        for name, value in {
            "AWS_ENDPOINT_URL": emulator,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "SHOPSTREAM_ENGINE": "aws",
            "SHOPSTREAM_AWS_PREFIX": made.names.prefix,
            "SHOPSTREAM_AWS_ACCOUNT": ACCOUNT,
            "SHOPSTREAM_AWS_CLICKS": getattr(request.module, "CLICKS", "sqs"),
        }.items():
            environment.setenv(name, value)
        forget_what_is_open()
        yield made
        forget_what_is_open()


def forget_what_is_open() -> None:
    """As in a new environment of Lambda."""
    for name in _CACHED:
        cached = getattr(handlers, name)
        if name == "_collector" and cached.cache_info().currsize:
            cached().close()
        cached.cache_clear()
    structlog.reset_defaults()


@pytest.fixture
def faults(stack: Stack) -> Iterator[Faults]:
    """Faults in the calls of the functions, not in those of the test."""
    forget_what_is_open()
    made = Faults()
    hook: Any = made.before_send
    handlers._engine().clients.session.register("before-send", hook)
    yield made
    forget_what_is_open()
