"""`simulate`, `load` and `replay` to AWS, by the real command line."""

import gzip
import json
import os
import signal
import subprocess
import time

from tests.e2e.aws.shop import AwsShop
from tests.e2e.command import COMMAND
from tests.engines.aws_resources import ACCOUNT, REGION
from tests.engines.emulators import lands_bronze

from shopstream.domain.partition import partition_key


def test_large_orders_go_into_a_queue_as_raw_json_in_calls_that_sqs_takes(shop: AwsShop) -> None:
    queue = shop.names.queue("orders")
    words = ("simulate", "orders", "--to", f"sqs://{queue}", "--count", "23", "--batch-size", "10")
    done = shop.run(*words, "--target-kb", "200", "--rate", "0", engine=False)
    # Five of 200 KiB are what one call of 1 MiB takes.
    assert "sent 23 orders in 5 batches, 4.7 MB" in done.stderr
    messages = shop.messages(queue)
    orders = [json.loads(message["body"]) for message in messages]
    assert len({(order["order_id"], order["status"]) for order in orders}) == 23
    assert all(190_000 < len(message["body"]) < 262_144 for message in messages)
    for message in messages:
        key = partition_key("orders", "shopstream", message["body"].encode())
        assert message["attributes"]["MessageGroupId"] == key


def test_a_queue_may_be_named_by_its_url_or_arn(shop: AwsShop) -> None:
    url = shop.queue("plain")
    for place in (url, url.removeprefix("http://"), f"arn:aws:sqs:{REGION}:{ACCOUNT}:plain"):
        if "://" in place or place.startswith("arn"):
            shop.run("simulate", "orders", "--to", f"sqs://{place}", "--count", "4", engine=False)
    messages = shop.messages("plain")
    assert len(messages) == 8
    assert "MessageGroupId" not in messages[0]["attributes"]


def test_a_queue_in_another_region_is_sent_to_there(shop: AwsShop) -> None:
    far = shop.clients.in_region("us-west-2").sqs
    url = far.create_queue(QueueName="far")["QueueUrl"]
    to = f"sqs://arn:aws:sqs:us-west-2:{ACCOUNT}:far"
    shop.run("simulate", "orders", "--to", to, "--count", "3", engine=False)
    assert len(far.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 3


def test_a_stream_gets_a_users_events_as_lines_of_one_record(shop: AwsShop) -> None:
    kinesis, stream = shop.clients.kinesis, shop.names.stream
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream)
    shop.run("simulate", "clicks", "--to", f"kinesis://{stream}", "--count", "300", engine=False)
    shard = kinesis.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    events = [json.loads(line) for record in records for line in record["Data"].splitlines()]
    assert len(events) == 300
    for record in records:
        users = {json.loads(line)["user_id"] for line in record["Data"].splitlines()}
        assert users == {record["PartitionKey"]}


def test_a_bucket_gets_gzipped_lines_and_a_shops_name_their_topic(shop: AwsShop) -> None:
    bucket = shop.names.lake
    shop.run("simulate", "shop", "--to", f"s3://{bucket}/made-up/", "--count", "500", engine=False)
    found = shop.clients.s3.list_objects_v2(Bucket=bucket, Prefix="made-up/")["Contents"]
    lines = [
        json.loads(line)
        for one in found
        for line in gzip.decompress(
            shop.clients.s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
        ).splitlines()
    ]
    assert len(lines) == 500
    assert {line["topic"] for line in lines} == {"clicks", "orders", "carts", "stock"}


def test_a_delivery_stream_gets_lines_but_never_one_that_lands_bronze(shop: AwsShop) -> None:
    shop.clients.firehose.create_delivery_stream(
        DeliveryStreamName=f"{shop.names.prefix}-mine",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{shop.names.lake}",
            "Prefix": "mine/",
        },
    )
    to = f"firehose://{shop.names.prefix}-mine"
    done = shop.run("simulate", "clicks", "--to", to, "--count", "700", engine=False)
    assert "sent 700 clicks" in done.stderr
    found = shop.clients.s3.list_objects_v2(Bucket=shop.names.lake, Prefix="mine/")["Contents"]
    bodies = [
        shop.clients.s3.get_object(Bucket=shop.names.lake, Key=one["Key"])["Body"].read()
        for one in found
    ]
    assert sum(len(body.splitlines()) for body in bodies) == 700
    ours = f"firehose://{shop.names.delivery('clicks')}"
    refused = shop.run("simulate", "clicks", "--to", ours, "--count", "1", code=2, engine=False)
    assert "bronze is landed by it" in refused.stderr


def test_what_a_queue_cannot_hold_is_counted_as_failed_and_the_exit_code_is_1(
    shop: AwsShop,
) -> None:
    to = f"sqs://{shop.names.queue('orders')}"
    words = ("simulate", "orders", "--to", to, "--count", "7", "--target-kb", "300")
    done = shop.run(*words, code=1, engine=False)
    assert "7 of them failed" in done.stderr
    assert "smaller --target-kb" in done.stderr


def test_a_topic_that_goes_another_way_is_refused(shop: AwsShop) -> None:
    to = f"sqs://{shop.names.queue('orders')}"
    done = shop.run("simulate", "clicks", "--to", to, "--count", "10", code=2, engine=False)
    assert "clicks don't travel on" in done.stderr


def test_an_address_without_a_name_is_refused(shop: AwsShop) -> None:
    done = shop.run("simulate", "clicks", "--to", "sqs://", code=2, engine=False)
    assert "wanted sqs://QUEUE" in done.stderr


def test_ctrl_c_ends_it_with_130_and_says_what_was_sent(shop: AwsShop) -> None:
    url = shop.queue("watched")
    words = ["simulate", "orders", "--to", "sqs://watched", "--count", "0", "--rate", "10"]
    process = subprocess.Popen(
        [*COMMAND, *words],
        stderr=subprocess.PIPE,
        text=True,
        env=shop.environ,
        # Tests that a shell runs in the background are deaf to Ctrl-C, and so would this be.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_for_messages(shop, url)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted: sent " in said


def wait_for_messages(shop: AwsShop, url: str) -> None:
    ends_at = time.monotonic() + 120
    while time.monotonic() < ends_at:
        found = shop.clients.sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        if found["Attributes"]["ApproximateNumberOfMessages"] != "0":
            return
        time.sleep(0.3)
    raise TimeoutError("nothing was sent")


@lands_bronze
def test_a_whole_shop_goes_each_topic_its_way_and_everything_adds_up(shop: AwsShop) -> None:
    shop.run("simulate", "shop", "--count", "60", "--seed", "3", "--invalid-percent", "5")
    shop.work()
    report = shop.json("check")
    assert report["balanced"], report["differences"]
    assert sum(counts["received"] for counts in report["topics"].values()) == 60
    assert report["on_the_way"] == []


CLICKS = """
topic = "clicks"
[format]
type = "ndjson"
[fields]
user_id = "user_id"
event_type = "event_type"
timestamp = "timestamp"
product_id = "product_id"
"""


def test_loading_twice_adds_nothing_and_what_was_refused_is_mended_and_replayed_once(
    shop: AwsShop,
) -> None:
    mapping = shop.folder / "clicks.toml"
    mapping.write_text(CLICKS, "utf-8")
    views = [
        {"user_id": "u1", "event_type": "view", "product_id": "p1"}
        | {"timestamp": f"2025-11-21T10:0{n}:00Z"}
        for n in range(4)
    ]
    wrong = {"user_id": "u2", "event_type": "fly", "timestamp": "2025-11-21T10:00:00Z"}
    file = shop.ndjson("clicks.ndjson", *views, wrong)
    shop.run("load", file, "--mapping", mapping)
    shop.work()
    assert "already loaded" in shop.run("load", file, "--mapping", mapping).stderr
    assert shop.json("check")["topics"]["clicks"]["received"] == 5
    (offer,) = shop.json("offers", "u1")
    assert (offer["rule"], offer["historical"]) == ("viewed-three-times", True)
    assert any(row["outcome"] == "made" for row in shop.json("rules", "explain", "u1"))

    (reason,) = shop.json("quarantine")
    assert (reason["topic"], reason["reason"], reason["resolved"]) == ("clicks", "value", 0)
    (listed,) = shop.json("quarantine", "list", "--where", "reason=value")
    assert json.loads(shop.json("quarantine", "show", listed["id"])["raw"])["user_id"] == "u2"
    assert len(shop.run("quarantine", "export").stdout.splitlines()) == 1

    mended = ("replay", "--where", "reason=value", "--set", "event_type=view")
    assert shop.json(*mended, "--dry-run")["replayed"] == 1
    assert shop.json("check")["topics"]["clicks"]["received"] == 5
    assert shop.json(*mended)["replayed"] == 1
    shop.work()
    assert shop.json(*mended)["already_resolved"] == 1
    counts = shop.json("check")["sources"]["clicks"]["replay"]
    assert (counts["received"], counts["accepted"]) == (1, 1)
    (listed,) = shop.json("quarantine", "list")
    assert listed["resolved"]
