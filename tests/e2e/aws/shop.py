"""A deployment in an emulator as the command line sees it, with functions that work when asked."""

import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.command import COMMAND
from tests.engines.aws_resources import ACCOUNT, REGION, Deployment

from shopstream.aws.clients import Clients
from shopstream.aws.engine import AwsEngine
from shopstream.aws.ingestor import Ingestor
from shopstream.aws.names import BRONZE_TOPICS
from shopstream.events import Alert, Entry
from shopstream.flow_settings import flow_config
from shopstream.flows.offering import make_offers
from shopstream.settings import Settings

MESSAGE_BYTES_MAX = 262_144
NOW_US = 1_800_000_000_000_000


class AwsShop:
    """Commands on one deployment. The functions are played by `work`, called when a test wants."""

    def __init__(self, clients: Clients, url: str, folder: Path) -> None:
        self.clients = clients
        self.made = Deployment(clients, folder)
        self.names = self.made.names
        self.folder = folder
        self.alerts: list[Alert] = []
        self.environ = {
            k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SHOPSTREAM_"))
        } | {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SHOPSTREAM_AWS_PREFIX": self.names.prefix,
            "SHOPSTREAM_AWS_ACCOUNT": ACCOUNT,
            "SHOPSTREAM_DATA_DIR": str(folder / "none"),
            "COLUMNS": "200",
        }

    def deploy(self) -> None:
        """Make what Terraform makes, as far as commands touch it."""
        self.made.tables()
        self.made.lake()
        for name in (self.names.queue("clicks"), self.names.queue("orders")):
            self.queue(name)
        for name in (self.names.dead_letters("clicks"), self.names.dead_letters("orders")):
            self.queue(name)
        self.queue(self.names.failures)
        by_hour = "dt=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/"
        for topic in BRONZE_TOPICS:
            self.clients.firehose.create_delivery_stream(
                DeliveryStreamName=self.names.delivery(topic),
                ExtendedS3DestinationConfiguration={
                    "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/firehose",
                    "BucketARN": f"arn:aws:s3:::{self.names.lake}",
                    "Prefix": f"bronze/{topic}/{by_hour}",
                    "ErrorOutputPrefix": f"errors/bronze/{topic}/",
                    "CompressionFormat": "GZIP",
                },
            )

    def remove_deliveries(self) -> None:
        """An account may have 50, and all tests share one."""
        firehose = self.clients.firehose
        for name in firehose.list_delivery_streams(Limit=100)["DeliveryStreamNames"]:
            if name.startswith(self.names.prefix):
                firehose.delete_delivery_stream(DeliveryStreamName=name)

    def queue(self, name: str) -> str:
        attributes: Any = {"MaximumMessageSize": str(MESSAGE_BYTES_MAX)}
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        return self.clients.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    # --- commands -----------------------------------------------------------------------------

    def run(
        self,
        *words: str | Path,
        code: int = 0,
        engine: bool = True,
        environ: Mapping[str, str | None] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that must end with `code`; by default with `--engine aws`. `environ` adds
        to the environment, or with None takes away.
        """
        changed = self.environ | dict(environ or {})
        done = subprocess.run(
            [*COMMAND, *map(str, words), *(("--engine", "aws") if engine else ())],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={name: value for name, value in changed.items() if value is not None},
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str | Path, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--format", "json", code=code).stdout)

    def ndjson(self, name: str, *events: Any) -> Path:
        path = self.folder / name
        lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path

    # --- what is there ------------------------------------------------------------------------

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """All messages of a queue, which is empty then, as Lambda would have them."""
        sqs = self.clients.sqs
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        found: list[dict[str, Any]] = []
        while True:
            answer = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"]
            )
            if not (messages := answer.get("Messages", [])):
                return found
            for message in messages:
                found.append(
                    {
                        "messageId": message["MessageId"],
                        "body": message["Body"],
                        "attributes": message["Attributes"],
                        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
                    }
                )
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    @property
    def engine(self) -> AwsEngine:
        settings = Settings(engine="aws", aws_prefix=self.names.prefix, aws_account=ACCOUNT)
        return AwsEngine(settings, self.clients)

    def send(self, topic: str, *events: Mapping[str, Any]) -> None:
        """Send events as the collector does."""
        entry = Entry(
            topic=topic,
            events=[json.dumps(event).encode() for event in events],
            source="http",
            received_us=time.time_ns() // 1_000,
            units=len(events),
        )
        self.engine.write_log().append([entry])

    def work(self) -> None:
        """Have the functions take all that waits, and make offers of it."""
        engine = self.engine
        settings = engine.settings
        ingestor = Ingestor(engine, self.alerts.append)
        for queue in (self.names.queue("clicks"), self.names.queue("orders")):
            taken = [r for message in self.messages(queue) for r in ingestor.take(message)]
            ingestor.deliver(taken)
            for recorded in taken:
                ingestor.settle(recorded)
        items, config, rules = engine.tables(), flow_config(settings, 0, 1), engine.rules()
        chunks: dict[str, list[tuple[str, bytes]]] = {}
        for pk, sk, item in items.scan("browsing_events"):
            chunks.setdefault(pk, []).append((sk, item))
        for user, of_user in chunks.items():
            make_offers(
                user, sorted(of_user), rules, config, engine.budget(), NOW_US, items, engine.lake()
            )

    def delete(self, table: str, keys: Iterable[tuple[str, str]] = ()) -> None:
        """Delete these items of a table, without keys all."""
        items = self.made.tables(table)
        batch = items.batch()
        for pk, sk in list(keys) or [(pk, sk) for pk, sk, _ in items.scan(table)]:
            batch.delete(table, pk, sk)
        items.write(batch)
