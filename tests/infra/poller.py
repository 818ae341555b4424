"""What AWS's event source mappings do, for the mappings of an applied stack.

Streams: shard by shard in order, batches by count, size and window, filters, retries from the
lowest failed record, halving, records given up to the on-failure destination. Queues: batches,
filters, what was not reported as failed is deleted, what failed comes again and ends as a dead
letter.

Three things are not as in AWS: several batches of a shard are never in flight at once; with `hurry`
a failed message is visible again at once rather than after the queue's visibility time-out, and a
record of a stream is given up after `TRIES_IN_A_HURRY` more tries even where the mapping has more.
"""

import base64
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import uuid4

from tests.infra.emulator import Emulator
from tests.infra.mappings import (
    PAYLOAD_BYTES_MAX,
    Outcome,
    SourceMapping,
    Tried,
    after_try,
    cut,
    failures,
    given_up,
    passes,
    read_mapping,
)

Invoke: TypeAlias = Callable[[str, dict[str, Any]], Outcome]
Record: TypeAlias = dict[str, Any]
TRIES_IN_A_HURRY = 10
_RECEIVED_MAX = 10
_READ_MAX = {"kinesis": 10_000, "dynamodb": 1_000}


class Poller:
    """All enabled mappings. A `round` gives each its next batches; `invoke` runs a function."""

    def __init__(self, emulator: Emulator, invoke: Invoke, *, hurry: bool = True) -> None:
        found = emulator.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        self.mappings = [mapping for mapping in map(read_mapping, found) if mapping.enabled]
        if hurry:
            self.mappings = [_fewer_tries(mapping) for mapping in self.mappings]
        self.made_for: set[tuple[str, str, str]] = set()
        self._sources = [
            (_Queue if mapping.service == "sqs" else _Stream)(
                emulator, mapping, invoke, self._note, hurry
            )
            for mapping in self.mappings
        ]

    def _note(self, mapping: SourceMapping, action: str, resource: str) -> None:
        """AWS does it with the rights of the function."""
        self.made_for.add((mapping.function, action, resource))

    def round(self, *, flush: bool = True) -> int:
        """One batch or more from each source; returns how many invocations that were.

        With `flush` no batch waits until its window is over.
        """
        return sum(source.round(flush=flush) for source in self._sources)

    def drain(self, rounds_max: int = 10_000) -> int:
        """Rounds until nothing is left that could be given to a function."""
        invoked = 0
        for _ in range(rounds_max):
            now = self.round()
            if not now:
                return invoked
            invoked += now
        raise AssertionError(f"functions are still invoked after {rounds_max} rounds")


def _fewer_tries(mapping: SourceMapping) -> SourceMapping:
    return mapping._replace(retries_max=min(mapping.retries_max, TRIES_IN_A_HURRY))


class _Stream:
    """A Kinesis stream or a table's: each shard goes on by itself."""

    def __init__(
        self,
        emulator: Emulator,
        mapping: SourceMapping,
        invoke: Invoke,
        note: Callable[[SourceMapping, str, str], None],
        _hurry: bool,
    ) -> None:
        self.mapping = mapping
        self._invoke = invoke
        self._note = note
        self._sqs, self._s3 = emulator.client("sqs"), emulator.client("s3")
        self._kinesis = mapping.service == "kinesis"
        client = emulator.client("kinesis" if self._kinesis else "dynamodbstreams")
        self._get = client.get_records
        arn = mapping.source_arn
        if self._kinesis:
            shards = client.list_shards(StreamARN=arn)["Shards"]
        else:
            shards = client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        # By name: the emulator forgets an ARN in the iterator.
        named = {"StreamName": arn.split("/")[-1]} if self._kinesis else {"StreamArn": arn}
        at = named | {"ShardIteratorType": "TRIM_HORIZON"}
        self._shards = {
            one["ShardId"]: _Shard(
                client.get_shard_iterator(**at, ShardId=one["ShardId"])["ShardIterator"]
            )
            for one in shards
        }
        prefix = "kinesis" if self._kinesis else "dynamodb"
        for action in ("GetRecords", "GetShardIterator", "DescribeStream"):
            note(mapping, f"{prefix}:{action}", arn)

    def round(self, *, flush: bool) -> int:
        return sum(self._give(name, shard, flush=flush) for name, shard in self._shards.items())

    def _give(self, name: str, shard: "_Shard", *, flush: bool) -> int:
        mapping = self.mapping
        if not shard.tried:
            self._read(name, shard, flush=flush)
        if not shard.tried:
            return 0
        tried = shard.tried.popleft()
        ids = [_sequence(record) for record in tried.records]
        outcome = self._invoke(mapping.function, {"Records": list(tried.records)})
        again = after_try(tried, outcome, ids, mapping)
        for left in reversed(again):
            age_s = time.time() - _arrived(left.records[0])
            if why := given_up(left, mapping, age_s):
                self._give_up(name, left, why, outcome)
            else:
                shard.tried.appendleft(left)
        return 1

    def _read(self, name: str, shard: "_Shard", *, flush: bool) -> None:
        """Fill the shard's batches, once what is there is enough or has waited long enough."""
        mapping = self.mapping
        found = self._get(ShardIterator=shard.iterator, Limit=_READ_MAX[mapping.service])
        shard.iterator = found["NextShardIterator"]
        for raw in found["Records"]:
            record = _of_kinesis(raw, name, mapping) if self._kinesis else _of_table(raw, mapping)
            if passes(_filtered(record), mapping.patterns):
                shard.waiting.append(record)
        if not shard.waiting:
            return
        shard.since = shard.since or time.monotonic()
        over = time.monotonic() - shard.since >= mapping.window_s
        if flush or over or len(shard.waiting) >= mapping.batch_size:
            batches = cut(shard.waiting, mapping.batch_size, _size, PAYLOAD_BYTES_MAX)
            shard.tried.extend(Tried(tuple(batch)) for batch in batches)
            shard.waiting, shard.since = [], 0.0

    def _give_up(self, shard: str, tried: Tried, why: str, outcome: Outcome) -> None:
        """Tell the on-failure destination what was given up: a queue where it is, a bucket what."""
        arn = self.mapping.destination_arn
        if not arn:
            return
        times = [datetime.fromtimestamp(_arrived(one), UTC) for one in tried.records]
        batch = {
            "shardId": shard,
            "startSequenceNumber": _sequence(tried.records[0]),
            "endSequenceNumber": _sequence(tried.records[-1]),
            "approximateArrivalOfFirstRecord": times[0].isoformat().replace("+00:00", "Z"),
            "approximateArrivalOfLastRecord": times[-1].isoformat().replace("+00:00", "Z"),
            "batchSize": len(tried.records),
            "streamArn": self.mapping.source_arn,
        }
        said: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
        if outcome.error:
            said["functionError"] = "Unhandled"
        message = {
            "requestContext": {
                "requestId": "00000000-0000-4000-8000-000000000000",
                "functionArn": self.mapping.function,
                "condition": why,
                "approximateInvokeCount": tried.tries,
            },
            "responseContext": said,
            "version": "1.0",
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            ("KinesisBatchInfo" if self._kinesis else "DDBStreamBatchInfo"): batch,
        }
        if arn.split(":")[2] == "s3":
            self._keep(shard, message | {"payload": json.dumps({"Records": list(tried.records)})})
            return
        queue = self._sqs.get_queue_url(QueueName=arn.split(":")[-1])["QueueUrl"]
        self._sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(message))
        self._note(self.mapping, "sqs:SendMessage", arn)

    def _keep(self, shard: str, message: Mapping[str, Any]) -> None:
        arn, now = self.mapping.destination_arn, datetime.now(UTC)
        key = f"aws/lambda/{self.mapping.uuid}/{shard}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid4()}"
        self._s3.put_object(Bucket=arn.split(":")[-1], Key=key, Body=json.dumps(message).encode())
        self._note(self.mapping, "s3:PutObject", f"{arn}/{key}")


class _Shard:
    """How far a shard is read, what waits for its batch, and the batches that are under way."""

    def __init__(self, iterator: str) -> None:
        self.iterator = iterator
        self.waiting: list[Record] = []
        self.since = 0.0
        self.tried: deque[Tried] = deque()


class _Queue:
    def __init__(
        self,
        emulator: Emulator,
        mapping: SourceMapping,
        invoke: Invoke,
        note: Callable[[SourceMapping, str, str], None],
        hurry: bool,
    ) -> None:
        self.mapping = mapping
        self._invoke = invoke
        self._hurry = hurry
        self._sqs = emulator.client("sqs")
        name = mapping.source_arn.split(":")[-1]
        self._url = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            note(mapping, f"sqs:{action}", mapping.source_arn)

    def round(self, *, flush: bool) -> int:
        """What the queue gives at once is a batch: a window only makes batches larger."""
        received: list[Record] = []
        while len(received) < self.mapping.batch_size:
            wanted = min(_RECEIVED_MAX, self.mapping.batch_size - len(received))
            found = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=wanted,
                WaitTimeSeconds=0,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            received += [_of_queue(raw, self.mapping) for raw in found]
            # Without a window a batch is what one call received.
            if len(found) < wanted or not self.mapping.window_s:
                break
        wanted_ones = [one for one in received if passes(_filtered(one), self.mapping.patterns)]
        self._delete([one for one in received if one not in wanted_ones])
        invoked = 0
        for batch in cut(wanted_ones, self.mapping.batch_size, _size, PAYLOAD_BYTES_MAX):
            self._give(batch)
            invoked += 1
        return invoked

    def _give(self, batch: Sequence[Record]) -> None:
        outcome = self._invoke(self.mapping.function, {"Records": list(batch)})
        ids = [record["messageId"] for record in batch]
        failed = failures(outcome, ids, reports=self.mapping.reports)
        self._delete([one for one in batch if one["messageId"] not in failed])
        if self._hurry and failed:
            for one in batch:
                if one["messageId"] in failed:
                    self._sqs.change_message_visibility(
                        QueueUrl=self._url,
                        ReceiptHandle=one["receiptHandle"],
                        VisibilityTimeout=0,
                    )

    def _delete(self, records: Sequence[Record]) -> None:
        for some in cut(records, _RECEIVED_MAX, lambda _: 0, 1):
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": one["receiptHandle"]}
                    for n, one in enumerate(some)
                ],
            )


def _of_kinesis(raw: Mapping[str, Any], shard: str, mapping: SourceMapping) -> Record:
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": raw["PartitionKey"],
            "sequenceNumber": raw["SequenceNumber"],
            "data": base64.b64encode(raw["Data"]).decode(),
            "approximateArrivalTimestamp": raw["ApproximateArrivalTimestamp"].timestamp(),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{raw['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "awsRegion": mapping.source_arn.split(":")[3],
        "eventSourceARN": mapping.source_arn,
    }


def _of_table(raw: Mapping[str, Any], mapping: SourceMapping) -> Record:
    change = dict(raw["dynamodb"])
    change["ApproximateCreationDateTime"] = int(change["ApproximateCreationDateTime"].timestamp())
    for name in ("Keys", "NewImage", "OldImage"):
        if name in change:
            change[name] = {field: _typed(value) for field, value in change[name].items()}
    return {
        "eventID": raw["eventID"],
        "eventName": raw["eventName"],
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": raw["awsRegion"],
        "dynamodb": change,
        "eventSourceARN": mapping.source_arn,
    }


def _typed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A typed value as Lambda gives it: binary as text."""
    ((kind, found),) = value.items()
    return {kind: base64.b64encode(found).decode() if kind == "B" else found}


def _of_queue(raw: Mapping[str, Any], mapping: SourceMapping) -> Record:
    return {
        "messageId": raw["MessageId"],
        "receiptHandle": raw["ReceiptHandle"],
        "body": raw["Body"],
        "attributes": raw.get("Attributes", {}),
        "messageAttributes": {
            name: {
                "stringValue": one.get("StringValue"),
                "dataType": one["DataType"],
                "stringListValues": [],
                "binaryListValues": [],
            }
            for name, one in raw.get("MessageAttributes", {}).items()
        },
        "md5OfBody": raw["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": mapping.source_arn,
        "awsRegion": mapping.source_arn.split(":")[3],
    }


def _filtered(record: Record) -> Record:
    """A record as filters see it: what it carries as JSON, when it is JSON."""
    if "kinesis" in record:
        return record | {"data": _json(base64.b64decode(record["kinesis"]["data"]))}
    return record | {"body": _json(record["body"])} if "body" in record else record


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text if isinstance(text, str) else text.decode("utf-8", "replace")


def _sequence(record: Record) -> str:
    if "kinesis" in record:
        return str(record["kinesis"]["sequenceNumber"])
    return str(record["dynamodb"]["SequenceNumber"])


def _arrived(record: Record) -> float:
    if "kinesis" in record:
        return float(record["kinesis"]["approximateArrivalTimestamp"])
    return float(record["dynamodb"]["ApproximateCreationDateTime"])


def _size(record: Record) -> int:
    return len(json.dumps(record))
