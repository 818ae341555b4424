"""What goes wrong on the way, and that nothing comes of it: no effect lost, none there twice."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote_plus

import pytest
from tests.infra.drive import Drive
from tests.infra.test_events import (
    clicks_of,
    landed_of,
    offers_of,
    order,
    send_raw,
    somebody,
    views,
)

from shopstream.flows.history import lines_of

CLICKS = ("ingestor", "offer_generator")


def effects_of_views(drive: Drive, users: Sequence[str]) -> list[dict[str, Any]]:
    """What three views of each user come to, in numbers. Bronze may have a line twice: its readers
    know it by its id.
    """
    tables = drive.engine.tables()
    landed = Counter(
        user for user, _ in {(row["user_id"], row["event_id"]) for row in drive.bronze("clicks")}
    )
    archived = drive.objects("real-time-offers-archive", "offers/").values()
    offers = {line for body in archived for line in body.splitlines()}
    raws = [json.loads(item)["rejection"]["raw"] for _, _, item in drive.items("quarantine")]
    rejected = [base64.b64decode(raw) for raw in raws]
    return [
        {
            "clicks": sum(len(lines_of(item)) for _, item in tables.query("browsing_events", user)),
            "offers": [offer["rule"] for offer in offers_of(drive, user)],
            "archived": sum(user.encode() in line for line in offers),
            "landed": landed[user],
            "rejected": sum(user.encode() in raw for raw in rejected),
        }
        for user in users
    ]


EFFECTS = {
    "clicks": 3,
    "offers": ["viewed-three-times"],
    "archived": 1,
    "landed": 3,
    "rejected": 1,
}


def shop(drive: Drive, user: str) -> None:
    """Three views that make an offer, and one event that is rejected, in one record."""
    *first, last = views(user)
    drive.post("clicks", *first, last | {"price": "x", "event_id": f"bad-{user}"}, last)


@pytest.fixture
def calls(drive: Drive) -> Callable[[str], int]:
    """How many calls of AWS a function makes for one such record."""

    def counted(handler: str) -> int:
        function = drive.functions[drive.names.function(handler)]
        drive.settle()
        before, user = function.made, somebody()
        shop(drive, user)
        drive.settle()
        assert effects_of_views(drive, [user]) == [EFFECTS]
        return function.made - before

    return counted


@pytest.mark.parametrize("handler", CLICKS)
def test_a_function_that_is_cut_off_at_any_call_loses_and_doubles_nothing(
    drive: Drive, calls: Callable[[str], int], handler: str
) -> None:
    """Killed after any of its calls; where messages come one by one, also told nothing of a call
    that was done.
    """
    count = calls(handler)
    assert count >= 3
    kinds = ("killed_after", "lost") if drive.stack.profile == "starter" else ("killed_after",)
    users = []
    for kind in kinds:
        for skipped in range(count):
            users.append(somebody())
            drive.go_wrong(handler, {"operation": "*", "kind": kind, "skip": skipped})
            shop(drive, users[-1])
            drive.settle()
    assert effects_of_views(drive, users) == [EFFECTS] * len(users)
    assert drive.given_up == []


@pytest.mark.parametrize(
    ("handler", "operation"),
    [
        ("ingestor", "Query"),
        ("ingestor", "PutItem"),
        ("ingestor", "PutRecordBatch"),
        ("offer_generator", "PutItem"),
        ("offer_generator", "PutObject"),
    ],
)
def test_a_throttled_call_is_made_again(drive: Drive, handler: str, operation: str) -> None:
    user = somebody()
    drive.go_wrong(handler, {"operation": operation, "kind": "throttled", "times": 2})
    shop(drive, user)
    drive.settle()
    assert effects_of_views(drive, [user]) == [EFFECTS]


def test_lines_that_firehose_did_not_take_are_sent_again(drive: Drive) -> None:
    user = somebody()
    drive.go_wrong("ingestor", {"operation": "PutRecordBatch", "kind": "unprocessed"})
    shop(drive, user)
    drive.settle()
    assert effects_of_views(drive, [user]) == [EFFECTS]


def test_one_users_failure_stops_no_other_user(drive: Drive) -> None:
    """The first record of a batch fails as a whole, once, on its first write."""
    users = [somebody() for _ in range(4)]
    drive.go_wrong("ingestor", {"operation": "PutItem", "kind": "throttled", "times": 5})
    drive.post("clicks", *(one for user in users for one in views(user)))
    drive.settle()
    assert [len(offers_of(drive, user)) for user in users] == [1] * 4
    assert [clicks_of(drive, user) for user in users] == [3] * 4


def test_what_no_try_can_process_waits_and_is_processed_when_it_is_sent_back(
    drive: Drive,
) -> None:
    customer = somebody("customer")
    drive.messages(drive.names.dead_letters("orders"))
    for _ in range(5):
        drive.go_wrong("order_processor", {"operation": "*", "kind": "killed"})
    drive.post("orders", order(customer, order_id=customer))
    drive.settle()
    assert landed_of(drive, "orders", customer) == []
    (dead,) = drive.messages(drive.names.dead_letters("orders"))
    drive.emulator.client("sqs").send_message(
        QueueUrl=drive.queue_url(drive.names.queue("orders")),
        MessageBody=dead if isinstance(dead, str) else json.dumps(dead),
        MessageGroupId=customer,
        MessageDeduplicationId=customer,
    )
    drive.settle()
    assert len(landed_of(drive, "orders", customer)) == 1


def test_a_record_of_a_stream_that_no_try_can_process_is_told_and_blocks_nothing(
    drive: Drive,
) -> None:
    first, second = somebody(), somebody()
    drive.messages(drive.names.failures)
    mapping = next(
        m for m in drive.poller.mappings if m.function == drive.names.function("offer_generator")
    )
    for _ in range(mapping.retries_max + 1):
        drive.go_wrong("offer_generator", {"operation": "*", "kind": "killed"})
    send_raw(drive, first, *(json.dumps(one).encode() for one in views(first, count=1)))
    drive.settle()
    drive.post("clicks", *views(second))
    drive.settle()
    (told,) = given_up(drive)
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["DDBStreamBatchInfo"]["batchSize"] == 1
    assert len(offers_of(drive, second)) == 1


def test_a_record_of_a_stream_that_was_given_up_is_whole_and_can_be_processed_later(
    drive: Drive,
) -> None:
    user = somebody()
    drive.messages(drive.names.failures)
    mapping = next(
        m for m in drive.poller.mappings if m.function == drive.names.function("offer_generator")
    )
    for _ in range(mapping.retries_max + 1):
        drive.go_wrong("offer_generator", {"operation": "*", "kind": "killed"})
    drive.post("clicks", *views(user))
    drive.settle()
    assert offers_of(drive, user) == []
    (kept,) = given_up(drive)
    again = drive.invoke("offer_generator", json.loads(kept["payload"]))
    assert again.answer == {"batchItemFailures": []}
    assert [offer["rule"] for offer in offers_of(drive, user)] == ["viewed-three-times"]


def given_up(drive: Drive) -> list[Any]:
    """What lies in the bucket that the queue of failures was told of."""
    kept = drive.objects("failures")
    told = [one["detail"]["object"]["key"] for one in drive.messages(drive.names.failures)]
    return [json.loads(kept[unquote_plus(key)]) for key in told]


def test_of_a_batch_of_a_stream_only_what_no_try_can_process_is_lost(drive: Drive) -> None:
    """The first record of a batch claims a file that isn't there, whatever is tried."""
    if drive.stack.profile != "scale":
        pytest.skip("clicks go through a queue")
    bad, *good = (somebody() for _ in range(4))
    drive.messages(drive.names.failures)
    send_raw(drive, bad, b"SC1claims/nothing", *map(as_bytes, views(bad, count=1)))
    for user in good:
        send_raw(drive, user, *map(as_bytes, views(user)))
    drive.settle()
    (told,) = given_up(drive)
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    # Its user's next record, and those of the others whose keys fall into the same shard.
    assert told["KinesisBatchInfo"]["batchSize"] >= 2, "they came together"
    assert [landed_of(drive, "clicks", bad), clicks_of(drive, bad)] == [[], 0]
    assert [clicks_of(drive, user) for user in good] == [3] * 3
    assert [len(landed_of(drive, "clicks", user)) for user in good] == [3] * 3
    assert [len(offers_of(drive, user)) for user in good] == [1] * 3


def as_bytes(event: Any) -> bytes:
    return json.dumps(event).encode()


def test_what_ends_the_function_is_quarantined_and_its_user_goes_on(drive: Drive) -> None:
    """Killed when it reads the history, with which it would decide what the event comes to."""
    if drive.stack.profile != "starter":
        pytest.skip("of a stream's batch Lambda finds the record")
    user = somebody()
    for _ in range(3):
        drive.go_wrong("ingestor", {"operation": "Query", "kind": "killed"})
    drive.post("clicks", *views(user, count=1))
    drive.settle()
    assert clicks_of(drive, user) == 0
    rejections = [json.loads(item)["rejection"] for _, _, item in drive.items("quarantine")]
    (why,) = [
        one["failures"][0] for one in rejections if user.encode() in base64.b64decode(one["raw"])
    ]
    assert (why["reason"], why["wanted"]) == (
        "poison",
        "an event that can be processed (the process ended 2 times at it)",
    )
    drive.post("clicks", *views(user, count=2))
    drive.settle()
    assert clicks_of(drive, user) == 2
    assert drive.messages(drive.names.dead_letters("clicks")) == []
