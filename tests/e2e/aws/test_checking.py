"""`check`, `status` and `keys` on AWS, and what they say when AWS can't be asked."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from tests.e2e.aws.shop import AwsShop
from tests.engines.emulators import lands_bronze

from shopstream.cloud_check import check_engine

VIEW = {"user_id": "u1", "event_type": "view", "product_id": "p1"}
ORDER = {
    "order_id": "o1",
    "customer_id": "u2",
    "lines": [{"product_id": "p2", "quantity": 2, "unit_price": 9.5}],
    "currency": "EUR",
    "status": "paid",
}


@pytest.fixture
def worked(shop: AwsShop) -> AwsShop:
    """A shop that has taken clicks, an order, stock and rejections, and made an offer."""
    now = datetime.now(UTC)
    times = [f"{now - timedelta(minutes=n):%FT%TZ}" for n in range(4)]
    shop.send("clicks", *(VIEW | {"timestamp": at} for at in times), VIEW | {"timestamp": times[0]})
    shop.send("clicks", VIEW | {"timestamp": times[0], "event_type": "fly"})
    shop.send("orders", ORDER | {"timestamp": times[0]}, {"order_id": "o2"})
    shop.send("stock", {"product_id": "p2", "stock_on_hand": 3, "timestamp": times[0]})
    shop.work()
    return shop


def put_message(shop: AwsShop, queue: str, text: str) -> None:
    url = shop.clients.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    shop.clients.sqs.send_message(
        QueueUrl=url, MessageBody=text, MessageGroupId="g", MessageDeduplicationId=text
    )


def lose_events(shop: AwsShop) -> None:
    shop.delete("browsing_events")


def lose_orders(shop: AwsShop) -> None:
    shop.delete("orders")


def lose_rejections(shop: AwsShop) -> None:
    shop.delete("quarantine")


def lose_the_archive(shop: AwsShop) -> None:
    s3, bucket = shop.clients.s3, shop.names.offers_archive
    for one in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=one["Key"])


def give_up_an_order(shop: AwsShop) -> None:
    put_message(shop, shop.names.dead_letters("orders"), "{}")


def break_a_file(shop: AwsShop) -> None:
    key = shop.clients.s3.list_objects_v2(Bucket=shop.names.lake, Prefix="bronze/clicks/")[
        "Contents"
    ][0]["Key"]
    shop.clients.s3.put_object(Bucket=shop.names.lake, Key=key, Body=b"no gzip")


def cook_the_books(shop: AwsShop) -> None:
    items = shop.made.tables("ledger")
    today = datetime.now(UTC).date()
    counts = {"clicks\x1fcooks\x1freceived": 3, "clicks\x1fcooks\x1faccepted": 2}
    items.put_new("ledger", f"{today}#0", "cooked", json.dumps(counts).encode())


@lands_bronze
def test_check_names_all_that_differs_and_exits_1(worked: AwsShop) -> None:
    assert worked.json("check")["balanced"]
    said = {
        lose_events: "4 clicks were stored, 0 are there",
        lose_orders: "1 orders were stored, 0 are there",
        lose_rejections: "2 quarantine were stored, 0 are there",
        lose_the_archive: "1 offers made are not in the archive",
        give_up_an_order: "1 given up",
        break_a_file: "is no gzip file",
        cook_the_books: "clicks from cooks: 3 received, 2 accounted for",
    }
    for tamper in said:
        tamper(worked)
    done = worked.run("check", "--format", "json", code=1)
    report = json.loads(done.stdout)
    assert not report["balanced"]
    for expected in said.values():
        assert any(expected in found for found in report["differences"]), report["differences"]
        assert expected in done.stderr


@lands_bronze
def test_events_of_records_that_were_never_settled_are_told(worked: AwsShop) -> None:
    worked.delete("ledger")
    report = worked.json("check", code=1)
    assert "events of 5 records are being taken" in " ".join(report["on_the_way"])
    in_half_an_hour = time.time_ns() // 1_000 + 30 * 60_000_000
    later = check_engine(worked.engine, datetime.now(UTC).date(), in_half_an_hour)
    assert "stored and were never settled" in " ".join(later.differences)


def test_check_tells_what_is_on_its_way_from_what_is_missing(worked: AwsShop) -> None:
    worked.run("simulate", "orders", "--count", "5")
    report = worked.json("check")
    assert report["balanced"]
    assert "messages wait to be processed" in report["on_the_way"][0]


def test_check_reads_no_rejections_from_long_before_the_days_it_is_asked_for(
    worked: AwsShop,
) -> None:
    long_ago = time.time_ns() // 1_000 - 17 * 86_400_000_000
    items = worked.made.tables("quarantine")
    items.put_new("quarantine", "clicks", f"{long_ago:020d}-x-000000", b"unreadable")
    today = datetime.now(UTC).date()
    assert worked.json("check", "--since", f"{today}")["balanced"]


def test_check_adds_up_as_a_table_for_people(worked: AwsShop) -> None:
    done = worked.run("check", "--format", "table")
    assert "everything adds up since" in done.stderr
    assert "bronze: clicks" in done.stdout
    assert f"queue: {worked.names.failures}" in done.stdout


def test_check_takes_a_day_and_refuses_one_whose_events_have_expired(worked: AwsShop) -> None:
    today = datetime.now(UTC).date()
    report = worked.json("check", "--since", f"{today}")
    assert report["balanced"]
    assert report["since"] == f"{today}"
    too_old = today - timedelta(days=40)
    assert "or later" in worked.run("check", "--since", f"{too_old}", code=2).stderr


def test_status_shows_queues_counts_and_what_was_given_up(worked: AwsShop) -> None:
    worked.run("simulate", "orders", "--count", "4")
    give_up_an_order(worked)
    found = worked.json("status")
    waiting = {queue["name"]: queue["waiting"] for queue in found["standing"]["queues"]}
    assert waiting[worked.names.queue("orders")] > 0
    assert waiting[worked.names.dead_letters("orders")] == 1
    assert found["today"]["clicks"] == {
        "received": 6,
        "accepted": 4,
        "duplicate": 1,
        "quarantined": 1,
    }
    assert found["build"] is None
    assert "given up" in worked.run("status", "--format", "table").stdout


def test_status_shows_the_last_build_and_the_alarms_that_are_on(shop: AwsShop) -> None:
    build = {"build": 7, "built_at": "2026-11-21T10:00:00Z", "failed": ["gold_funnel"]}
    shop.made.tables("state").put_new("state", "build", "", json.dumps(build).encode())
    name = f"{shop.names.prefix}-failures-depth"
    shop.clients.cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )
    shop.clients.cloudwatch.set_alarm_state(
        AlarmName=name, StateValue="ALARM", StateReason="3 messages"
    )
    found = shop.json("status")
    assert found["build"]["failed"] == ["gold_funnel"]
    assert [alarm["name"] for alarm in found["standing"]["alarms"]] == [name]
    table = shop.run("status", "--format", "table").stdout
    assert "not published: gold_funnel" in table
    assert "3 messages" in table


def test_a_key_is_kept_hashed_in_the_bucket_listed_and_revoked(shop: AwsShop) -> None:
    made = shop.run("keys", "add", "--name", "web", "--topics", "clicks")
    secret = made.stdout.strip()
    body = shop.clients.s3.get_object(Bucket=shop.names.lake, Key="config/keys.json")["Body"]
    assert secret.encode() not in body.read()
    assert secret not in made.stderr
    (listed,) = shop.json("keys", "list")
    assert (listed["name"], listed["topics"]) == ("web", ["clicks"])
    assert "sha256" not in listed
    shop.run("keys", "revoke", listed["id"])
    assert shop.json("keys", "list")[0]["revoked_at"]
    assert "no key with id" in shop.run("keys", "revoke", "nobody", code=2).stderr


COMMANDS = [
    ("check",),
    ("status",),
    ("quarantine",),
    ("quarantine", "list"),
    ("replay",),
    ("offers", "u1"),
    ("rules", "explain", "u1"),
    ("simulate", "clicks", "--count", "1"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_where_nothing_is_deployed_a_command_says_where_it_looked(
    bare: AwsShop, words: tuple[str, ...]
) -> None:
    done = bare.run(*words, code=2)
    assert f"there is no table {bare.names.table('ledger')} in account 123456789012" in done.stderr
    assert "region eu-central-1: run `make deploy`, or set aws_prefix" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_bucket_keys_say_what_to_do(bare: AwsShop) -> None:
    done = bare.run("keys", "list", code=2)
    assert "NoSuchBucket" in done.stderr
    assert "deploy first" in done.stderr


def test_without_credentials_or_a_region_it_says_what_to_set(bare: AwsShop) -> None:
    home = {"HOME": str(bare.folder)}
    none = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, **home}
    assert "no AWS credentials" in bare.run("status", code=2, environ=none).stderr
    nowhere = {"AWS_REGION": None, **home}
    assert "no region is set" in bare.run("status", code=2, environ=nowhere).stderr


def test_where_nobody_answers_it_may_be_tried_again(bare: AwsShop) -> None:
    done = bare.run("status", code=3, environ={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert "EndpointConnectionError" in done.stderr
    assert "testing-secret" not in done.stderr


def test_without_awss_libraries_it_says_how_to_install_them(bare: AwsShop) -> None:
    program = "import sys; sys.modules['botocore'] = None; from shopstream.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "status", "--engine", "aws"],
        capture_output=True,
        text=True,
        env=bare.environ,
    )
    assert done.returncode == 2
    assert "pip install 'shopstream[aws]'" in done.stderr
