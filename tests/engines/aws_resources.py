"""What Terraform would make, made in an emulator for one test: streams, queues, tables, buckets."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from shopstream.aws.clients import Clients
from shopstream.aws.lake import S3Lake
from shopstream.aws.log import KinesisLog, SqsLog
from shopstream.aws.names import TABLES, Names
from shopstream.aws.tables import DynamoTables
from shopstream.aws.wire import Raw, from_text, read
from shopstream.collector.splitting import BodyLimits
from shopstream.events import Entry

ACCOUNT = "123456789012"
REGION = "eu-central-1"


def clients_of(url: str) -> Clients:
    """Clients of an emulator, whatever the environment says."""
    clients = Clients(region=REGION, endpoint=url)
    clients.session.set_credentials("testing", "testing")
    clients.session.set_config_variable("profile", None)
    return clients


class Deployment:
    """The resources under one folder's own prefix; each is made when it is first asked for."""

    def __init__(self, clients: Clients, folder: Path) -> None:
        self.clients = clients
        prefix = f"t{sha256(str(folder).encode()).hexdigest()[:20]}"
        self.names = Names(prefix, ACCOUNT)

    def table(self, name: str) -> None:
        keys = {"pk": "HASH", "sk": "RANGE"}
        definition: dict[str, Any] = {
            "TableName": self.names.table(name),
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": k, "KeyType": kind} for k, kind in keys.items()],
            "AttributeDefinitions": [{"AttributeName": k, "AttributeType": "S"} for k in keys],
        }
        if name == "timers":
            definition["AttributeDefinitions"] += [
                {"AttributeName": "wait", "AttributeType": "S"},
                {"AttributeName": "due", "AttributeType": "N"},
            ]
            definition["GlobalSecondaryIndexes"] = [
                {
                    "IndexName": "due",
                    "KeySchema": [
                        {"AttributeName": "wait", "KeyType": "HASH"},
                        {"AttributeName": "due", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ]
        dynamodb = self.clients.dynamodb
        try:
            dynamodb.create_table(**definition)
        except dynamodb.exceptions.ResourceInUseException:
            return

    def tables(self, *names: str, **options: Any) -> DynamoTables:
        for name in names or TABLES:
            self.table(name)
        return DynamoTables(self.clients, self.names, **options)

    def lake(self) -> S3Lake:
        s3 = self.clients.s3
        for bucket in (self.names.lake, self.names.offers_archive):
            try:
                s3.create_bucket(
                    Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
                )
            except s3.exceptions.BucketAlreadyOwnedByYou:
                continue
        return S3Lake(self.clients, self.names)

    def sqs_log(self, **options: Any) -> SqsLog:
        """The queue of clicks, as Terraform makes it."""
        queue = self.names.queue("clicks")
        self.clients.sqs.create_queue(
            QueueName=queue,
            Attributes={
                "FifoQueue": "true",
                "DeduplicationScope": "messageGroup",
                "FifoThroughputLimit": "perMessageGroupId",
                "MaximumMessageSize": "262144",
            },
        )
        return SqsLog(self.clients, queue, self.tables("state"), self.lake(), **options)

    def kinesis_log(self, **options: Any) -> KinesisLog:
        """The stream of clicks, of two shards."""
        kinesis = self.clients.kinesis
        try:
            kinesis.create_stream(StreamName=self.names.stream, ShardCount=2)
        except kinesis.exceptions.ResourceInUseException:
            pass
        else:
            kinesis.get_waiter("stream_exists").wait(StreamName=self.names.stream)
        tables, lake = self.tables("state"), self.lake()
        return KinesisLog(self.clients, self.names.stream, tables, lake, **options)

    def in_queue(self) -> list[Entry]:
        """All that is in the queue, in the order in which it gives it; it is empty then."""
        url = self.clients.sqs.get_queue_url(QueueName=self.names.queue("clicks"))["QueueUrl"]
        found: list[Entry] = []
        while True:
            answer = self.clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            messages = answer.get("Messages", [])
            if not messages:
                return found
            for message in messages:
                found += self._entries(from_text(message["Body"]))
            self.clients.sqs.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                    for n, message in enumerate(messages)
                ],
            )

    def in_stream(self) -> list[Entry]:
        """All that is in the stream, shard after shard, each in order."""
        return [entry for body in self._bodies() for entry in self._entries(body)]

    def _bodies(self) -> Iterator[bytes]:
        kinesis, name = self.clients.kinesis, self.names.stream
        for shard in kinesis.list_shards(StreamName=name)["Shards"]:
            place = kinesis.get_shard_iterator(
                StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while True:
                answer = kinesis.get_records(ShardIterator=place)
                yield from (record["Data"] for record in answer["Records"])
                if not answer["Records"]:
                    break
                place = answer["NextShardIterator"]

    def _entries(self, body: bytes) -> list[Entry]:
        raw = Raw("clicks", "aws", 0, "theirs", BodyLimits(10_000, 1 << 20))
        return [record.entry for record in read(body, raw, self.lake().get)]
