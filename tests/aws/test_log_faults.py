"""What Kinesis and SQS refuse, lose or answer too late: nothing is lost, no effect is doubled, and
of one user nothing overtakes.
"""

import time
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.aws.answering import SUBSETS, answer, by_turns, get_lost, no_aws, refuse

from shopstream.aws.log import AwsLog, KinesisLog, SqsLog
from shopstream.aws.wire import Raw, Record, from_text, read
from shopstream.collector.splitting import BodyLimits
from shopstream.errors import AwsError, LogFull
from shopstream.events import Entry
from shopstream.ports import AppendLog

MIB = 1024 * 1024
RAW = Raw("clicks", "aws", 0, "theirs", BodyLimits(10_000, MIB))


class Memory:
    """Tables and a lake in memory, as far as a log uses them."""

    def __init__(self) -> None:
        self.items: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}

    def batch(self) -> "Memory":
        return self

    def put(self, *place: Any) -> None:
        if len(place) == 2:
            self.files[place[0]] = place[1]
        else:
            self.items[place[2]] = place[3]

    def write(self, batch: "Memory") -> None:
        assert batch is self

    def get(self, *place: str) -> bytes | None:
        return self.files[place[0]] if len(place) == 1 else self.items.get(place[2])


class Platform:
    """Kinesis or SQS FIFO as they are documented, with what `turns` says failing in each call."""

    def __init__(self, kind: str, turns: Iterator[set[int]], *, lost: int = 0, **more: Any) -> None:
        self.kind = kind
        self.turns = turns
        self.lost = lost
        self.taken: list[bytes] = []
        self.known: set[str] = set()
        self.waits: list[float] = []
        self.memory = Memory()
        clients = no_aws()
        memory: Any = self.memory
        more = {"sleep": self.waits.append} | more
        if kind == "kinesis":
            self.calls = answer(clients.kinesis, "PutRecords", self.put_records)
            self.log: AppendLog = KinesisLog(clients, "stream", memory, memory, **more)
        else:
            self.calls = answer(clients.sqs, "SendMessageBatch", self.send_messages)
            url = "https://sqs.example/1/q.fifo"
            self.log = SqsLog(clients, url, memory, memory, **more)

    def put_records(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        records = asked["Records"]
        assert 1 <= len(records) <= 500
        assert sum(len(r["Data"]) + len(r["PartitionKey"].encode()) for r in records) <= 5 * MIB
        assert all(len(r["Data"]) + len(r["PartitionKey"]) <= MIB for r in records)
        assert all(1 <= len(r["PartitionKey"]) <= 256 for r in records)
        failing = next(self.turns)
        answers = []
        for n, record in enumerate(records):
            if n in failing:
                code = "ProvisionedThroughputExceededException"
                answers.append({"ErrorCode": code, "ErrorMessage": "slow down"})
            else:
                self.taken.append(record["Data"])
                answers.append({"SequenceNumber": "1", "ShardId": "shardId-0"})
        self._maybe_lost()
        failed = len(failing & set(range(len(records))))
        return {"FailedRecordCount": failed, "Records": answers}

    def send_messages(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        entries = asked["Entries"]
        assert 1 <= len(entries) <= 10
        assert sum(len(e["MessageBody"].encode()) for e in entries) <= MIB
        assert all(len(e["MessageBody"].encode()) <= 256 * 1024 for e in entries)
        assert len({e["Id"] for e in entries}) == len(entries)
        failing = next(self.turns)
        failed = []
        for n, entry in enumerate(entries):
            if n in failing:
                failed.append({"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"})
            elif entry["MessageDeduplicationId"] not in self.known:
                self.known.add(entry["MessageDeduplicationId"])
                self.taken.append(from_text(entry["MessageBody"]))
        self._maybe_lost()
        return {"Successful": [], "Failed": failed}

    def _maybe_lost(self) -> None:
        if self.lost:
            self.lost -= 1
            get_lost()

    def records(self) -> list[Record]:
        return [
            record
            for body in self.taken
            for record in read(body, RAW, lambda name: self.memory.files[name])
        ]

    def effects(self) -> list[bytes]:
        """The events of each record as it first arrives: that is what its id is for."""
        seen: dict[str, list[bytes]] = {}
        for record in self.records():
            seen.setdefault(record.record_id, record.entry.events)
        return [raw for events in seen.values() for raw in events]


@pytest.fixture(params=["kinesis", "sqs"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def click(user: str, n: int = 0) -> bytes:
    return f'{{"user_id":"{user}","n":{n}}}'.encode()


def entry(*events: bytes) -> Entry:
    return Entry(
        topic="clicks", events=list(events), source="http", received_us=1, units=len(events)
    )


FIVE = [click(f"u{n}") for n in range(5)]


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_only_what_failed_is_sent_again(kind: str, failing: set[int]) -> None:
    platform = Platform(kind, by_turns(failing))
    platform.log.append([entry(*FIVE)])
    assert sorted(platform.effects()) == FIVE
    assert len(platform.taken) == 5, "none arrives twice"
    sent = [len(call.get("Records") or call["Entries"]) for call in platform.calls]
    assert sent == ([5, len(failing)] if failing else [5])


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_a_time_out_after_some_were_taken_doubles_no_effect(kind: str, failing: set[int]) -> None:
    platform = Platform(kind, by_turns(failing), lost=1)
    platform.log.append([entry(*FIVE)])
    assert sorted(platform.effects()) == FIVE
    if kind == "sqs":
        assert len(platform.taken) == 5, "SQS itself knows a message that comes again"


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_what_fails_is_not_overtaken_by_what_came_later(kind: str, failing: set[int]) -> None:
    platform = Platform(kind, by_turns(failing, failing, failing))
    users = ["a", "a", "b", "a", "b"]
    events = [click(user, n) for n, user in enumerate(users)]
    platform.log.append([entry(raw) for raw in events])
    found = platform.effects()
    assert sorted(found) == sorted(events)
    for user in ("a", "b"):
        assert of(user, found) == of(user, events)


def of(user: str, events: list[bytes]) -> list[bytes]:
    return [raw for raw in events if b'"user_id":"%s"' % user.encode() in raw]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["kinesis", "sqs"]),
    users=st.lists(st.sampled_from("abcdefghijklmno"), max_size=40),
    turns=st.lists(st.sets(st.integers(0, 9), max_size=9), max_size=6),
    lost=st.integers(0, 2),
)
def test_whatever_fails_all_arrives_once_in_effect_and_in_the_order_of_each_user(
    kind: str, users: list[str], turns: list[set[int]], lost: int
) -> None:
    platform = Platform(kind, by_turns(*turns), lost=lost)
    events = [click(user, n) for n, user in enumerate(users)]
    platform.log.append([entry(raw) for raw in events], progress={"file": 9})
    found = platform.effects()
    assert sorted(found) == sorted(events)
    for user in set(users):
        assert of(user, found) == of(user, events)
    assert platform.log.progress("file") == 9


def test_waits_grow_and_are_random(kind: str) -> None:
    every = set(range(500))
    platform = Platform(kind, by_turns(*[every] * 6))
    platform.log.append([entry(click("u1"))])
    assert len(platform.waits) == 6
    assert all(0 <= wait <= 0.2 * 2**n for n, wait in enumerate(platform.waits))
    assert len(set(platform.waits)) == 6


def test_a_call_that_is_throttled_as_a_whole_is_repeated(kind: str) -> None:
    platform = Platform(kind, by_turns())
    throttled = iter([True, True, False])
    put = platform.put_records if kind == "kinesis" else platform.send_messages

    def now_and_then(asked: Mapping[str, Any]) -> dict[str, Any]:
        return refuse("ThrottlingException") if next(throttled) else put(asked)

    again(platform, now_and_then)
    platform.log.append([entry(*FIVE)])
    assert sorted(platform.effects()) == FIVE


def again(platform: Platform, by: Any) -> None:
    """Have another function answer."""
    clients = no_aws()
    memory: Any = platform.memory
    if platform.kind == "kinesis":
        platform.calls = answer(clients.kinesis, "PutRecords", by)
        platform.log = KinesisLog(clients, "stream", memory, memory, sleep=platform.waits.append)
    else:
        platform.calls = answer(clients.sqs, "SendMessageBatch", by)
        url = "https://sqs.example/1/q.fifo"
        platform.log = SqsLog(clients, url, memory, memory, sleep=platform.waits.append)


def test_what_is_never_taken_is_told_as_a_full_log_and_progress_stays(kind: str) -> None:
    platform = Platform(kind, iter(lambda: {0}, None))
    with pytest.raises(LogFull) as refused:
        platform.log.append([entry(click("u1"))], progress={"file": 1})
    assert refused.value.retry_after_s > 0
    assert platform.log.progress("file") == 0
    assert sum(platform.waits) < 60


def test_an_append_that_has_to_end_in_time_ends_though_some_are_taken_all_the_while(
    kind: str,
) -> None:
    platform = Platform(
        kind,
        iter(lambda: set(range(1, 500)), None),
        sleep=lambda _: time.sleep(0.02),
        until_s=lambda: time.monotonic() + 0.3,
    )
    began = time.monotonic()
    with pytest.raises(LogFull, match="not all of it in time") as refused:
        platform.log.append([entry(*(click(f"u{n}") for n in range(400)))], progress={"file": 1})
    assert time.monotonic() - began < 5
    assert refused.value.retry_after_s > 0
    assert 1 <= len(platform.taken) < 400
    assert platform.log.progress("file") == 0


def test_what_may_not_be_done_is_told_at_once(kind: str) -> None:
    platform = Platform(kind, by_turns())
    again(platform, lambda _: refuse("AccessDeniedException", "User is not authorized"))
    with pytest.raises(AwsError, match=r"AccessDeniedException.*not authorized.*rights") as told:
        platform.log.append([entry(click("u1"))])
    assert told.value.code == "AccessDeniedException"
    assert (len(platform.calls), platform.waits) == (1, [])


def test_a_message_that_sqs_will_never_take_is_told() -> None:
    platform = Platform("sqs", by_turns())
    fault = {"Id": "0", "SenderFault": True, "Code": "InvalidMessageContents", "Message": "no"}
    again(platform, lambda _: {"Failed": [fault]})
    with pytest.raises(AwsError, match="InvalidMessageContents: no"):
        platform.log.append([entry(click("u1"))])


def test_a_message_that_comes_too_fast_is_sent_again_though_it_is_called_our_fault() -> None:
    platform = Platform("sqs", by_turns())
    answers = iter([{"Failed": [{"Id": "0", "SenderFault": True, "Code": "RequestThrottled"}]}])
    again(platform, lambda asked: next(answers, None) or platform.send_messages(asked))
    platform.log.append([entry(click("u1"))])
    assert platform.effects() == [click("u1")]


def test_a_queue_that_keeps_no_order_is_given_no_groups() -> None:
    clients, memory = no_aws(), Memory()
    calls = answer(clients.sqs, "SendMessageBatch", lambda _: {"Successful": []})
    tables: Any = memory
    SqsLog(clients, "https://sqs.example/1/standard", tables, tables).append([entry(*FIVE)])
    sent = [message for call in calls for message in call["Entries"]]
    assert [set(message) for message in sent] == [{"Id", "MessageBody"}] * 5


def test_calls_are_cut_at_the_platforms_limits(kind: str) -> None:
    platform = Platform(kind, by_turns())
    random = Random(5)
    sizes = [random.choice([10, 1_000, 100_000, 170_000, 260_000, 900_000]) for _ in range(60)]
    events = [
        b'{"user_id":"u%d","x":"%s"}' % (n, random.randbytes(size // 2).hex().encode())
        for n, size in enumerate(sizes)
    ]
    platform.log.append([entry(*events)])
    assert sorted(platform.effects()) == sorted(events)
    assert len(platform.calls) < 60, "several records to a call"


def test_a_thousand_users_need_few_calls(kind: str) -> None:
    platform = Platform(kind, by_turns())
    platform.log.append([entry(*(click(f"u{n}") for n in range(1_000)))])
    assert len(platform.calls) == (2 if kind == "kinesis" else 100)


def test_a_record_over_the_limit_is_claimed_from_the_lake(kind: str) -> None:
    platform = Platform(kind, by_turns())
    large = Random(1).randbytes(1_200_000)
    platform.log.append([entry(large)])
    [name] = platform.memory.files
    assert platform.taken == [b"SC1" + name.encode()]
    assert name.startswith("claims/")
    assert platform.effects() == [large]


def test_entries_go_by_their_topic_and_orders_do_not_wait_for_clicks() -> None:
    clicks, orders = Platform("kinesis", by_turns()), Platform("sqs", by_turns())
    log = AwsLog(clicks.log, orders.log)
    sent = []
    for topic in ("clicks", "orders", "carts", "stock"):
        raw = b'{"user_id":"u","order_id":"o","product_id":"p","topic":"%s"}' % topic.encode()
        sent.append(Entry(topic=topic, events=[raw], source="s", received_us=1, units=1))
    assert log.append(sent, progress={"file": 4}) == 4
    assert [r.entry.topic for r in clicks.records()] == ["clicks", "carts"]
    assert [r.entry.topic for r in orders.records()] == ["orders", "stock"]
    assert log.progress("file") == 4
