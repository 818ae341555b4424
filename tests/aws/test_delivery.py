"""Landing by Firehose: every line arrives, in records as full as they may be, whatever is
refused.
"""

import gzip
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.aws.answering import SUBSETS, answer, by_turns, get_lost, no_aws, refuse

from shopstream.aws.delivery import RECORD_BYTES_MAX, Delivery
from shopstream.aws.names import Names
from shopstream.errors import AwsError

MIB = 1024 * 1024


class Firehose:
    """PutRecordBatch as documented; `turns` says which records of a call fail."""

    def __init__(self, turns: Iterator[set[int]], *, lost: int = 0) -> None:
        self.turns = turns
        self.lost = lost
        self.records: list[bytes] = []
        self.files: dict[str, bytes] = {}
        self.waits: list[float] = []
        self.calls = answer(no_aws().firehose, "PutRecordBatch", self.put)
        answer(no_aws().s3, "PutObject", self.put_object)
        names = Names("shop", "123456789012")
        self.delivery = Delivery(no_aws(), names, sleep=self.waits.append)

    def put(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        assert asked["DeliveryStreamName"] == "shop-bronze-clicks"
        records = [record["Data"] for record in asked["Records"]]
        assert 1 <= len(records) <= 500
        assert sum(map(len, records)) <= 4 * MIB
        assert all(0 < len(record) <= 1_000 * 1024 for record in records)
        failing = next(self.turns)
        answers: list[dict[str, str]] = []
        for n, record in enumerate(records):
            if n in failing:
                answers.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "x"})
            else:
                self.records.append(record)
                answers.append({"RecordId": str(n)})
        if self.lost:
            self.lost -= 1
            get_lost()
        failed = sum("ErrorCode" in one for one in answers)
        return {"FailedPutCount": failed, "RequestResponses": answers}

    def put_object(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        assert asked["Bucket"] == "shop-lake-123456789012"
        self.files[asked["Key"]] = asked["Body"].read()
        return {}

    def lines(self) -> list[bytes]:
        return [line for record in self.records for line in record.split(b"\n") if line]


def full_lines(n: int) -> list[bytes]:
    """Lines of which each fills more than half of a record."""
    return [b'{"n":%d,"x":"%s"}' % (i, b"x" * 600_000) for i in range(n)]


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_only_records_that_failed_are_sent_again(failing: set[int]) -> None:
    firehose = Firehose(by_turns(failing))
    firehose.delivery.deliver("clicks", full_lines(5))
    assert sorted(firehose.lines()) == full_lines(5)
    assert [len(call["Records"]) for call in firehose.calls] == (
        [5, len(failing)] if failing else [5]
    )


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_after_a_time_out_no_line_is_missing(failing: set[int]) -> None:
    firehose = Firehose(by_turns(failing), lost=1)
    firehose.delivery.deliver("clicks", full_lines(5))
    assert sorted(set(firehose.lines())) == full_lines(5)


def test_many_lines_are_one_record() -> None:
    firehose = Firehose(by_turns())
    lines = [b'{"n":%d}' % n for n in range(10_000)]
    firehose.delivery.deliver("clicks", lines)
    [record] = firehose.records
    assert record == b"\n".join(lines) + b"\n"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([10, 999, 300_000, 512_000, 1_023_998, 1_023_999]), max_size=20))
def test_records_and_calls_stay_below_their_limits(sizes: list[int]) -> None:
    firehose = Firehose(by_turns())
    lines = [b"x" * size for size in sizes]
    firehose.delivery.deliver("clicks", lines)
    assert sorted(firehose.lines()) == sorted(lines)
    assert firehose.files == {}


def test_no_lines_ask_nothing_of_aws() -> None:
    firehose = Firehose(by_turns())
    firehose.delivery.deliver("clicks", [])
    assert firehose.calls == []


def test_a_line_too_large_for_a_record_is_a_file_of_its_own_and_the_same_one_again() -> None:
    firehose = Firehose(by_turns())
    large = b'{"x":"%s"}' % Random(1).randbytes(RECORD_BYTES_MAX).hex().encode()
    for _ in range(2):
        firehose.delivery.deliver("clicks", [b"{}", large, b"[]"])
    assert sorted(set(firehose.lines())) == [b"[]", b"{}"]
    bodies = list(firehose.files.values())
    assert len(set(bodies)) == 1
    assert gzip.decompress(bodies[0]) == large + b"\n"
    [name, *_] = firehose.files
    assert name.startswith("bronze/clicks/dt=20")
    assert "/hour=" in name
    assert name.endswith(".gz")


def test_what_is_never_taken_is_told() -> None:
    firehose = Firehose(iter(lambda: {0}, None))
    with pytest.raises(AwsError, match="deliver to shop-bronze-clicks: AWS took none of 1"):
        firehose.delivery.deliver("clicks", [b"{}"])
    assert sum(firehose.waits) < 60


def test_what_may_not_be_done_is_told_at_once() -> None:
    firehose = Firehose(by_turns())
    answer(no_aws().firehose, "PutRecordBatch", lambda _: refuse("AccessDeniedException"))
    with pytest.raises(AwsError, match=r"deliver to shop-bronze-clicks.*AccessDenied"):
        firehose.delivery.deliver("clicks", [b"{}"])
    assert firehose.waits == []
