"""The poller against streams, tables and queues of the emulator, and a function that fails."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.infra.emulator import ABSENT, ACCOUNT, PROGRAM, REGION, Emulator
from tests.infra.mappings import Outcome
from tests.infra.poller import TRIES_IN_A_HURRY, Poller

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=ABSENT)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    started = Emulator.start(tmp_path_factory.mktemp("emulator"))
    yield started
    started.close()


class Seen:
    """A function's invocations: the bodies of each batch; `fails` says how it answers."""

    def __init__(self, fails: Callable[[list[dict[str, Any]]], Outcome]) -> None:
        self.batches: list[list[str]] = []
        self.records: list[dict[str, Any]] = []
        self._fails = fails

    def __call__(self, _function: str, event: dict[str, Any]) -> Outcome:
        records = event["Records"]
        json.dumps(event)
        self.records += records
        self.batches.append([_content(record) for record in records])
        return self._fails(records)


def _content(record: dict[str, Any]) -> str:
    if "kinesis" in record:
        return str(record["kinesis"]["partitionKey"])
    if "dynamodb" in record:
        return str(record["dynamodb"]["Keys"]["pk"]["S"])
    return str(record["body"])


def _id(record: dict[str, Any]) -> str:
    if "kinesis" in record:
        return str(record["kinesis"]["sequenceNumber"])
    if "dynamodb" in record:
        return str(record["dynamodb"]["SequenceNumber"])
    return str(record["messageId"])


def well(_: object) -> Outcome:
    return Outcome({"batchItemFailures": []})


def failing(*bad: str) -> Callable[[list[dict[str, Any]]], Outcome]:
    def fails(records: list[dict[str, Any]]) -> Outcome:
        failed = [{"itemIdentifier": _id(one)} for one in records if _content(one) in bad]
        return Outcome({"batchItemFailures": failed})

    return fails


def raising(*bad: str) -> Callable[[list[dict[str, Any]]], Outcome]:
    def fails(records: list[dict[str, Any]]) -> Outcome:
        return Outcome(error="E" if {_content(one) for one in records} & set(bad) else "")

    return fails


@pytest.fixture
def mapped(emulator: Emulator) -> Iterator[Callable[..., None]]:
    """Maps a source to a function, for one test."""
    functions = emulator.client("lambda")
    made: list[str] = []

    def one(source_arn: str, **options: Any) -> None:
        found = functions.create_event_source_mapping(
            EventSourceArn=source_arn,
            FunctionName="Function",
            FunctionResponseTypes=["ReportBatchItemFailures"],
            **options,
        )
        made.append(found["UUID"])

    if not functions.list_functions()["Functions"]:
        role = emulator.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
        functions.create_function(
            FunctionName="Function",
            Role=role["Role"]["Arn"],
            Code={"ZipFile": b"PK\x05\x06" + b"\0" * 18},
            Runtime="python3.13",
            Handler="a.b",
        )
    yield one
    for uuid in made:
        functions.delete_event_source_mapping(UUID=uuid)


def queue(emulator: Emulator, name: str, **attributes: str) -> tuple[str, str]:
    sqs = emulator.client("sqs")
    url: str = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def stream(emulator: Emulator, name: str, *keys: str) -> str:
    kinesis = emulator.client("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    records: list[Any] = [{"PartitionKey": key, "Data": b'{"n": 1}'} for key in keys]
    kinesis.put_records(StreamName=name, Records=records)
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"


def messages(emulator: Emulator, url: str) -> list[Any]:
    found = emulator.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(one["Body"]) for one in found.get("Messages", [])]


def test_a_stream_comes_in_order_in_batches(emulator: Emulator, mapped: Any) -> None:
    mapped(stream(emulator, "plain", *"abcde"), StartingPosition="TRIM_HORIZON", BatchSize=2)
    seen = Seen(well)
    poller = Poller(emulator, seen)
    assert poller.drain() == 3
    assert seen.batches == [["a", "b"], ["c", "d"], ["e"]]
    assert poller.drain() == 0
    assert seen.records[0]["kinesis"]["data"] == "eyJuIjogMX0="
    assert {name for name, _, _ in poller.made_for} == {"Function"}


def test_a_window_waits_for_a_full_batch(emulator: Emulator, mapped: Any) -> None:
    source = stream(emulator, "window", "a")
    mapped(source, StartingPosition="LATEST", BatchSize=2, MaximumBatchingWindowInSeconds=60)
    seen = Seen(well)
    poller = Poller(emulator, seen)
    assert poller.round(flush=False) == 0
    emulator.client("kinesis").put_record(StreamName="window", PartitionKey="b", Data=b"2")
    assert poller.round(flush=False) == 1
    assert seen.batches == [["a", "b"]]


def test_a_poison_record_is_tried_again_from_itself_on_and_then_given_up_with_what_follows(
    emulator: Emulator, mapped: Any
) -> None:
    url, arn = queue(emulator, "given-up")
    mapped(
        stream(emulator, "poison", *"abcd"),
        StartingPosition="TRIM_HORIZON",
        MaximumRetryAttempts=2,
        BisectBatchOnFunctionError=True,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    seen = Seen(failing("c"))
    poller = Poller(emulator, seen)
    poller.drain()
    assert seen.batches == [["a", "b", "c", "d"], ["c", "d"], ["c", "d"]]
    (told,) = messages(emulator, url)
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["KinesisBatchInfo"]["batchSize"] == 2
    assert ("Function", "sqs:SendMessage", arn) in poller.made_for


def test_a_bucket_gets_what_was_given_up_whole(emulator: Emulator, mapped: Any) -> None:
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    mapped(
        stream(emulator, "kept", *"ab"),
        StartingPosition="TRIM_HORIZON",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::kept"}},
    )
    seen = Seen(raising("a", "b"))
    poller = Poller(emulator, seen)
    poller.drain()
    (key,) = [one["Key"] for one in s3.list_objects_v2(Bucket="kept")["Contents"]]
    told = json.loads(s3.get_object(Bucket="kept", Key=key)["Body"].read())
    assert told["KinesisBatchInfo"]["batchSize"] == 2
    assert json.loads(told["payload"]) == {"Records": seen.records}
    assert ("Function", "s3:PutObject", f"arn:aws:s3:::kept/{key}") in poller.made_for


def test_in_a_hurry_a_record_is_given_up_early(emulator: Emulator, mapped: Any) -> None:
    source = stream(emulator, "early", "a")
    mapped(source, StartingPosition="TRIM_HORIZON", MaximumRetryAttempts=100)
    seen = Seen(failing("a"))
    assert Poller(emulator, seen).drain() == 1 + TRIES_IN_A_HURRY


def test_halving_finds_the_record_that_makes_the_function_fail(
    emulator: Emulator, mapped: Any
) -> None:
    mapped(
        stream(emulator, "halved", *"abcd"),
        StartingPosition="TRIM_HORIZON",
        MaximumRetryAttempts=0,
        BisectBatchOnFunctionError=True,
    )
    seen = Seen(raising("c"))
    Poller(emulator, seen).drain()
    assert seen.batches == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"], ["c"], ["d"]]


def test_a_tables_stream_is_filtered_and_its_binaries_are_text(
    emulator: Emulator, mapped: Any
) -> None:
    tables = emulator.client("dynamodb")
    table = tables.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )["TableDescription"]
    pattern = json.dumps({"eventName": ["INSERT"]})
    mapped(
        table["LatestStreamArn"],
        StartingPosition="TRIM_HORIZON",
        FilterCriteria={"Filters": [{"Pattern": pattern}]},
    )
    for value in (b"1", b"2"):
        tables.put_item(TableName="t", Item={"pk": {"S": "k"}, "item": {"B": value}})
    seen = Seen(well)
    Poller(emulator, seen).drain()
    assert seen.batches == [["k"]]
    assert seen.records[0]["dynamodb"]["NewImage"]["item"] == {"B": "MQ=="}


def test_a_queues_message_that_fails_comes_again_and_ends_as_a_dead_letter(
    emulator: Emulator, mapped: Any
) -> None:
    dead_url, dead_arn = queue(emulator, "dead")
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 3})
    url, arn = queue(emulator, "alive", RedrivePolicy=redrive)
    mapped(arn, BatchSize=10)
    sqs = emulator.client("sqs")
    for body in ("1", "2", "3"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    seen = Seen(failing("2"))
    Poller(emulator, seen).drain()
    assert seen.batches == [["1", "2", "3"], ["2"], ["2"]]
    assert messages(emulator, dead_url) == [2]


def test_a_group_of_a_fifo_queue_stays_in_order(emulator: Emulator, mapped: Any) -> None:
    url, arn = queue(emulator, "in-order.fifo", FifoQueue="true")
    mapped(arn, BatchSize=2)
    sqs = emulator.client("sqs")
    for n in range(5):
        sqs.send_message(
            QueueUrl=url, MessageBody=str(n), MessageGroupId="g", MessageDeduplicationId=str(n)
        )
    tries = iter([failing("0", "1"), well, well, well])
    seen = Seen(lambda records: next(tries)(records))
    Poller(emulator, seen).drain()
    assert seen.batches == [["0", "1"], ["0", "1"], ["2", "3"], ["4"]]


def test_a_disabled_mapping_does_nothing(emulator: Emulator, mapped: Any) -> None:
    mapped(stream(emulator, "off", "a"), StartingPosition="TRIM_HORIZON", Enabled=False)
    assert Poller(emulator, Seen(well)).drain() == 0


def test_what_a_rule_would_invoke_is_written_down(
    emulator: Emulator, mapped: Any, tmp_path: Path
) -> None:
    function = emulator.client("lambda").get_function(FunctionName="Function")["Configuration"]
    events = emulator.client("events")
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["shop"]}))
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": function["FunctionArn"]}])
    entry: Any = {"Source": "shop", "DetailType": "d", "Detail": "{}"}
    events.put_events(Entries=[entry, entry | {"Source": "another"}])
    ((name, event),) = emulator.invoked()
    assert (name, event["source"]) == ("Function", "shop")
    assert emulator.invoked() == []
