"""Where `simulate` sends on AWS: what a call refuses for now is sent again and nothing else, what
it refuses for good is counted, and calls are cut at the services' limits.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.aws.answering import SUBSETS, answer, by_turns, no_aws, refuse

from shopstream.aws.destinations import Destination, open_destination
from shopstream.aws.engine import AwsEngine
from shopstream.aws.names import Names
from shopstream.aws.pipeline import Pipeline
from shopstream.aws.wire import from_text
from shopstream.errors import AwsError, ConfigError, SourceError
from shopstream.settings import Settings

MIB = 1024 * 1024
NAMES = Names("shopstream", "123456789012")
QUEUE = "sqs://shopstream-orders.fifo"
STREAM = "kinesis://shopstream-BrowsingClickstream"


class Service:
    """SQS, Kinesis and Firehose as they are documented; `turns` says what fails in each call."""

    def __init__(self, *turns: set[int], code: str = "InternalError", to_blame: bool = False):
        self.turns: Iterator[set[int]] = by_turns(*turns)
        self.code = code
        self.to_blame = to_blame
        self.taken: list[tuple[str, bytes]] = []
        self.known: set[str] = set()
        self.calls: list[int] = []
        clients = no_aws()
        answer(clients.sqs, "GetQueueUrl", lambda asked: {"QueueUrl": f"https://{asked}"})
        answer(
            clients.sqs,
            "GetQueueAttributes",
            lambda _: {"Attributes": {"MaximumMessageSize": "262144"}},
        )
        answer(clients.sqs, "SendMessageBatch", self.send_messages)
        answer(clients.kinesis, "DescribeStreamSummary", lambda _: {})
        answer(clients.kinesis, "PutRecords", self.put_records)
        answer(clients.firehose, "DescribeDeliveryStream", lambda _: {})
        answer(clients.firehose, "PutRecordBatch", self.put_lines)

    def open(self, to: str, *, name_topics: bool = False) -> Destination:
        found = open_destination(no_aws(), NAMES, to, name_topics=name_topics)
        found._sleep = lambda _: None
        return found

    def send_messages(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        entries = asked["Entries"]
        assert 1 <= len(entries) <= 10
        assert sum(len(one["MessageBody"].encode()) for one in entries) <= MIB
        self.calls.append(len(entries))
        failing = next(self.turns)
        for n, one in enumerate(entries):
            if n not in failing and one["MessageDeduplicationId"] not in self.known:
                self.known.add(one["MessageDeduplicationId"])
                self.taken.append((one["MessageGroupId"], one["MessageBody"].encode()))
        blame = {"SenderFault": self.to_blame, "Code": self.code, "Message": "no"}
        failed = [{"Id": entries[n]["Id"], **blame} for n in failing if n < len(entries)]
        return {"Successful": [], "Failed": failed}

    def put_records(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        records = asked["Records"]
        assert 1 <= len(records) <= 500
        assert sum(len(one["Data"]) + len(one["PartitionKey"]) for one in records) <= 5 * MIB
        assert all(len(one["Data"]) + len(one["PartitionKey"]) <= MIB for one in records)
        self.calls.append(len(records))
        failing = next(self.turns)
        for n, one in enumerate(records):
            if n not in failing:
                self.taken.append((one["PartitionKey"], one["Data"]))
        said = [{"ErrorCode": self.code} if n in failing else {} for n in range(len(records))]
        return {"FailedRecordCount": sum("ErrorCode" in one for one in said), "Records": said}

    def put_lines(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        records = asked["Records"]
        assert 1 <= len(records) <= 500
        assert sum(len(one["Data"]) for one in records) <= 4 * MIB
        assert all(len(one["Data"]) <= 1_000 * 1_024 for one in records)
        self.calls.append(len(records))
        failing = next(self.turns)
        self.taken += [("", one["Data"]) for n, one in enumerate(records) if n not in failing]
        said = [{"ErrorCode": self.code} if n in failing else {} for n in range(len(records))]
        return {"FailedPutCount": sum("ErrorCode" in one for one in said), "RequestResponses": said}


def order(n: int, customer: str = "", size: int = 0) -> bytes:
    return json.dumps(
        {"order_id": f"o{n}", "customer_id": customer or f"c{n}", "payload": "x" * size}
    ).encode()


def click(n: int, user: str) -> bytes:
    return b'{"event_id":"e%d","user_id":"%b"}' % (n, user.encode())


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_of_a_batch_only_what_failed_is_sent_again(failing: set[int]) -> None:
    service = Service(failing)
    events = [order(n) for n in range(5)]
    with service.open(QUEUE) as queue:
        queue.send("orders", events)
    assert sorted(body for _, body in service.taken) == sorted(events)
    assert service.calls == ([5, len(failing)] if failing else [5])
    assert queue.failed == 0


@pytest.mark.parametrize("to", [STREAM, "firehose://mine"])
def test_a_stream_is_sent_only_what_it_did_not_take(to: str) -> None:
    service = Service({0}, {0})
    with service.open(to) as stream:
        stream.send("clicks", [click(n, f"u{n}") for n in range(3)])
    lines = [line for _, body in service.taken for line in body.splitlines()]
    assert sorted(lines) == [click(n, f"u{n}") for n in range(3)]


def test_what_is_refused_for_good_is_counted_with_its_reason_and_the_rest_is_sent() -> None:
    service = Service({1, 3}, code="InvalidMessageContents", to_blame=True)
    with service.open(QUEUE) as queue:
        queue.send("orders", [order(n) for n in range(5)])
    assert queue.failed == 2
    assert queue.why == "InvalidMessageContents: no"
    assert len(service.taken) == 3


def test_a_queue_that_takes_nothing_for_good_stops_it_and_all_is_counted() -> None:
    service = Service()
    clients = no_aws()
    answer(clients.sqs, "SendMessageBatch", lambda _: refuse("AccessDenied"))
    queue = service.open(QUEUE)
    queue.send("orders", [order(n) for n in range(3)])
    with pytest.raises(AwsError, match="AccessDenied"):
        queue.close()
    assert queue.failed == 3
    assert "AccessDenied" in queue.why


def test_a_message_over_the_queues_limit_is_refused_without_a_call() -> None:
    service = Service()
    with service.open(QUEUE) as queue:
        queue.send("orders", [order(1, size=300_000), order(2)])
    assert queue.failed == 1
    assert "262,144" in queue.why
    assert len(service.taken) == 1


def test_one_users_events_arrive_in_order_whatever_fails() -> None:
    service = Service({0, 1}, set(), {0}, {0, 2}, {1})
    with service.open("sqs://shopstream-clicks.fifo") as queue:
        for first in range(0, 60, 10):
            queue.send("clicks", [click(n, f"u{n % 3}") for n in range(first, first + 10)])
    assert len(service.taken) == 60
    for user in ("u0", "u1", "u2"):
        of_user = [json.loads(body)["event_id"] for group, body in service.taken if group == user]
        assert of_user == sorted(of_user, key=lambda event_id: int(event_id[1:]))


def test_what_sqs_takes_no_characters_of_goes_in_our_envelope() -> None:
    service = Service()
    broken = b'{"user_id":"caf\xe9"}'
    with service.open("sqs://shopstream-clicks.fifo") as queue:
        queue.send("clicks", [broken, b'{"user_id":"a\x01"}'])
    assert len(service.taken) == 2
    for _, body in service.taken:
        assert from_text(body.decode()).startswith(b"SE1")


def test_stock_travels_beside_orders_in_the_envelope_and_clicks_do_not() -> None:
    service = Service()
    queue = service.open(QUEUE)
    queue.send("stock", [b'{"product_id":"p1","stock_on_hand":1}'])
    queue.send("clicks", [click(1, "u1")])
    with pytest.raises(SourceError, match="clicks don't travel on"):
        queue.close()
    assert len(service.taken) == 1


def test_somebody_elses_stream_gets_every_topic_named_when_it_is_a_shop() -> None:
    service = Service()
    with service.open("kinesis://theirs", name_topics=True) as stream:
        stream.send("carts", [b'{"user_id":"u1","n":%d}' % n for n in range(3)])
    ((_, body),) = service.taken
    assert [json.loads(line) for line in body.splitlines()] == [
        {"topic": "carts", "user_id": "u1", "n": n} for n in range(3)
    ]


OTHERS = "999988887777"


def test_an_arn_is_asked_for_whole_so_that_nobodys_namesake_is_sent_to() -> None:
    service, clients = Service(), no_aws()
    found = answer(clients.sqs, "GetQueueUrl", lambda _: {"QueueUrl": "https://theirs"})
    service.open(f"sqs://arn:aws:sqs:eu-central-1:{OTHERS}:shopstream-orders.fifo").close()
    assert found == [{"QueueName": "shopstream-orders.fifo", "QueueOwnerAWSAccountId": OTHERS}]
    stream = f"arn:aws:kinesis:eu-central-1:{OTHERS}:stream/theirs"
    put = answer(clients.kinesis, "PutRecords", service.put_records)
    with service.open(f"kinesis://{stream}") as opened:
        opened.send("clicks", [click(1, "u1")])
    assert [(one.get("StreamARN"), one.get("StreamName")) for one in put] == [(stream, None)]


def test_a_region_in_the_address_is_where_it_is_sent() -> None:
    clients = no_aws()
    assert clients.in_region("eu-central-1") is clients.in_region("") is clients
    assert clients.in_region("us-west-2").sqs.meta.region_name == "us-west-2"


def test_a_delivery_stream_of_another_account_is_refused() -> None:
    with pytest.raises(SourceError, match=r"of its own account alone, .* are of 123456789012"):
        Service().open(f"firehose://arn:aws:firehose:eu-central-1:{OTHERS}:deliverystream/theirs")


def test_bronzes_own_delivery_streams_take_nothing() -> None:
    with pytest.raises(ConfigError, match="bronze is landed by it"):
        Service().open("firehose://shopstream-bronze-orders")


def test_an_address_is_looked_at_before_anybody_is_asked_for_credentials() -> None:
    engine = AwsEngine(Settings(engine="aws"), no_aws())
    asked = answer(no_aws().sts, "GetCallerIdentity", lambda _: refuse("AccessDenied"))
    with pytest.raises(SourceError, match="wanted sqs://QUEUE"):
        engine.destination("sqs://")
    assert asked == []


def test_calls_run_side_by_side_but_not_before_those_they_share_a_key_with() -> None:
    pipeline = Pipeline(workers=4)
    together = threading.Barrier(2, timeout=10)
    done: list[str] = []

    def meet(name: str) -> None:
        together.wait()
        done.append(name)

    pipeline.submit({"a"}, 1, lambda: meet("a1"))
    pipeline.submit({"a"}, 1, lambda: done.append("a2"))
    pipeline.submit({"b"}, 1, lambda: meet("b1"))
    assert pipeline.finish() is None
    assert set(done) == {"a1", "a2", "b1"}
    assert done.index("a1") < done.index("a2")


def test_after_a_call_has_failed_no_other_begins() -> None:
    pipeline = Pipeline(workers=1)

    def fail() -> None:
        raise AwsError("no")

    pipeline.submit({"a"}, 2, fail)
    pipeline.submit({"a"}, 3, lambda: pytest.fail("it began"))
    assert str(pipeline.finish()) == "no"
    assert pipeline.failed == 5
