"""What AWS does with a function's answer, as its documentation says."""

import pytest
from tests.infra.mappings import (
    Outcome,
    SourceMapping,
    Tried,
    after_try,
    cut,
    failures,
    given_up,
    matches,
    passes,
    read_mapping,
)

IDS = ["1", "2", "3", "4"]
STREAM = read_mapping(
    {
        "UUID": "m",
        "EventSourceArn": "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks",
        "FunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:Ingestor",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": 2,
        "MaximumRecordAgeInSeconds": 60,
    }
)


def reported(*ids: str) -> Outcome:
    return Outcome({"batchItemFailures": [{"itemIdentifier": one} for one in ids]})


def left(outcome: Outcome, mapping: SourceMapping = STREAM, tries: int = 0) -> list[Tried]:
    return after_try(Tried(tuple(IDS), tries), outcome, IDS, mapping)


def test_a_mapping_that_says_little_has_awss_defaults() -> None:
    found = {"UUID": "u", "EventSourceArn": "arn:aws:sqs:r:1:q", "FunctionArn": "a:function:F:live"}
    mapping = read_mapping(found)
    assert (mapping.function, mapping.service, mapping.batch_size) == ("F", "sqs", 10)
    assert (mapping.reports, mapping.bisects, mapping.retries_max) == (False, False, -1)
    assert read_mapping(found | {"EventSourceArn": "arn:aws:kinesis:r:1:s"}).batch_size == 100


@pytest.mark.parametrize(
    "answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}]
)
def test_an_answer_that_names_nothing_is_success(answer: object) -> None:
    assert failures(Outcome(answer), IDS, reports=True) == set()


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(error="ValueError"),
        reported("2", "nobody"),
        reported(""),
        Outcome({"failures": ["2"]}),
        Outcome({"batchItemFailures": [{"id": "2"}]}),
        Outcome("2"),
    ],
)
def test_an_error_or_an_answer_that_cannot_be_read_fails_the_batch(outcome: Outcome) -> None:
    assert failures(outcome, IDS, reports=True) == set(IDS)


def test_an_answer_counts_only_where_the_mapping_says_that_failures_are_reported() -> None:
    assert failures(reported("2"), IDS, reports=True) == {"2"}
    assert failures(reported("2"), IDS, reports=False) == set()


def test_a_stream_is_tried_again_from_the_lowest_failed_record_on() -> None:
    assert left(reported()) == []
    assert left(reported("4", "2")) == [Tried(("2", "3", "4"), 1)]
    assert left(reported("1")) == [Tried(("1", "2", "3", "4"), 1)]


@pytest.mark.parametrize("answer", [reported(*IDS), reported(""), reported("nobody")])
def test_a_batch_of_which_all_is_reported_is_tried_again_as_it_is(answer: Outcome) -> None:
    assert left(answer) == [Tried(("1", "2", "3", "4"), 1)]


def test_a_batch_whose_invocation_fails_is_halved_without_counting_a_try() -> None:
    assert left(Outcome(error="E"), tries=1) == [Tried(("1", "2"), 1), Tried(("3", "4"), 1)]
    whole = STREAM._replace(bisects=False)
    assert left(Outcome(error="E"), whole) == [Tried(("1", "2", "3", "4"), 1)]
    assert after_try(Tried(("1",)), Outcome(error="E"), ["1"], STREAM) == [Tried(("1",), 1)]


def test_a_batch_is_given_up_after_its_retries_or_when_it_is_too_old() -> None:
    assert given_up(Tried(("1",), 2), STREAM, 0) == ""
    assert given_up(Tried(("1",), 3), STREAM, 0) == "RetryAttemptsExhausted"
    assert given_up(Tried(("1",), 0), STREAM, 61) == "RecordAgeExceeded"
    assert given_up(Tried(("1",), 999), STREAM._replace(retries_max=-1, age_max_s=-1), 1e9) == ""


def test_batches_are_cut_by_count_and_by_size() -> None:
    assert list(cut("abcde", 2, len, 100)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(cut(["aa", "bb", "cccc", "d"], 9, len, 4)) == [["aa", "bb"], ["cccc"], ["d"]]
    assert list(cut([], 2, len, 1)) == []


RECORD = {
    "eventName": "INSERT",
    "dynamodb": {"Keys": {"pk": {"S": "u1"}}, "SizeBytes": 90},
    "tags": ["a", "b"],
}


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ({"eventName": ["INSERT"]}, True),
        ({"eventName": ["insert"]}, False),
        ({"eventName": ["MODIFY", "INSERT"], "tags": ["b"]}, True),
        ({"eventName": ["INSERT"], "tags": ["c"]}, False),
        ({"eventName": [{"anything-but": ["REMOVE"]}]}, True),
        ({"eventName": [{"anything-but": "INSERT"}]}, False),
        ({"eventName": [{"equals-ignore-case": "insert"}]}, True),
        ({"dynamodb": {"Keys": {"pk": {"S": [{"prefix": "u"}]}}}}, True),
        ({"dynamodb": {"Keys": {"pk": {"S": [{"suffix": "2"}]}}}}, False),
        ({"dynamodb": {"SizeBytes": [{"numeric": [">", 10, "<=", 90]}]}}, True),
        ({"dynamodb": {"SizeBytes": [{"numeric": ["<", 90]}]}}, False),
        ({"dynamodb": {"SizeBytes": ["90"]}}, False),
        ({"dynamodb": {"NewImage": [{"exists": False}]}}, True),
        ({"dynamodb": {"NewImage": {"z": {"B": ["x"]}}}}, False),
        ({"userIdentity": [{"exists": True}]}, False),
        ({"$or": [{"eventName": ["REMOVE"]}, {"tags": ["a"]}]}, True),
    ],
)
def test_filters_are_eventbridge_patterns(pattern: dict[str, object], good: bool) -> None:
    assert matches(pattern, RECORD) is good


def test_one_of_several_filters_is_enough_and_without_any_all_pass() -> None:
    assert passes(RECORD, [{"eventName": ["REMOVE"]}, {"eventName": ["INSERT"]}])
    assert not passes(RECORD, [{"eventName": ["REMOVE"]}])
    assert passes(RECORD, [])
