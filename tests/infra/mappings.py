"""What an event source mapping says, and what AWS makes of a function's answer: pure decisions.

From the Lambda developer guide: "Using AWS Lambda with Amazon Kinesis / DynamoDB / Amazon SQS",
"Lambda event filtering".
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

PAYLOAD_BYTES_MAX = 6 * 1024 * 1024
FOREVER = -1
T = TypeVar("T")


class SourceMapping(NamedTuple):
    """One event source mapping as applied, with AWS's defaults where it says nothing."""

    uuid: str
    source_arn: str
    function: str
    batch_size: int
    window_s: float
    patterns: tuple[Mapping[str, Any], ...]
    reports: bool
    bisects: bool
    retries_max: int
    age_max_s: int
    destination_arn: str
    enabled: bool

    @property
    def service(self) -> str:
        return self.source_arn.split(":")[2]


def read_mapping(found: Mapping[str, Any]) -> SourceMapping:
    """A mapping of `ListEventSourceMappings`."""
    service = found["EventSourceArn"].split(":")[2]
    filters = found.get("FilterCriteria", {}).get("Filters", [])
    destination = found.get("DestinationConfig", {}).get("OnFailure", {})
    return SourceMapping(
        uuid=found["UUID"],
        source_arn=found["EventSourceArn"],
        function=found["FunctionArn"].split(":function:")[1].partition(":")[0],
        batch_size=found.get("BatchSize", 10 if service == "sqs" else 100),
        window_s=found.get("MaximumBatchingWindowInSeconds", 0),
        patterns=tuple(json.loads(one["Pattern"]) for one in filters),
        reports="ReportBatchItemFailures" in found.get("FunctionResponseTypes", []),
        bisects=bool(found.get("BisectBatchOnFunctionError")),
        retries_max=found.get("MaximumRetryAttempts", FOREVER),
        age_max_s=found.get("MaximumRecordAgeInSeconds", FOREVER),
        destination_arn=destination.get("Destination", ""),
        enabled=found.get("State", "Enabled") == "Enabled",
    )


class Outcome(NamedTuple):
    """How an invocation ended: with an answer, or with an error."""

    answer: Any = None
    error: str = ""


def failures(outcome: Outcome, ids: Sequence[str], *, reports: bool) -> set[str]:
    """Which of a batch's records AWS takes for failed.

    An answer that says nothing means success; one with an identifier that is empty or of no record
    of the batch means that all failed.
    """
    if outcome.error:
        return set(ids)
    if not reports or not outcome.answer:
        return set()
    try:
        found = [one["itemIdentifier"] for one in outcome.answer["batchItemFailures"] or ()]
    except (KeyError, TypeError):
        return set(ids)
    strangers = set(found) - set(ids)
    return set(ids) if strangers else set(found)


class Tried(NamedTuple):
    """Records of a stream that are given to the function together; `tries` ended in failure."""

    records: tuple[Any, ...]
    tries: int = 0


def after_try(
    tried: Tried, outcome: Outcome, ids: Sequence[str], mapping: SourceMapping
) -> list[Tried]:
    """What of a stream's batch is to be given again, in order: nothing when it is done.

    A batch whose invocation failed is cut in half first where the mapping says so, which doesn't
    count as a try. After an answer that names failed records, however many, all from the lowest of
    them on is given again as it is. Source: the guide's "Configuring partial batch response".
    """
    if outcome.error and mapping.bisects and len(ids) > 1:
        half = len(ids) // 2
        return [Tried(tried.records[:half], tried.tries), Tried(tried.records[half:], tried.tries)]
    failed = failures(outcome, ids, reports=mapping.reports)
    if not failed:
        return []
    lowest = min(n for n, one in enumerate(ids) if one in failed)
    return [Tried(tried.records[lowest:], tried.tries + 1)]


def given_up(tried: Tried, mapping: SourceMapping, age_s: float) -> str:
    """Why a stream's batch is not tried again but goes to the destination; "" when it is."""
    if mapping.retries_max != FOREVER and tried.tries > mapping.retries_max:
        return "RetryAttemptsExhausted"
    if mapping.age_max_s != FOREVER and age_s > mapping.age_max_s:
        return "RecordAgeExceeded"
    return ""


def cut(
    records: Sequence[T], count_max: int, size: Callable[[T], int], bytes_max: int
) -> Iterator[list[T]]:
    """`records` in batches of at most so many that fit into one invocation."""
    batch: list[T] = []
    held = 0
    for record in records:
        more = size(record)
        if batch and (len(batch) == count_max or held + more > bytes_max):
            yield batch
            batch, held = [], 0
        batch.append(record)
        held += more
    if batch:
        yield batch


def passes(record: Mapping[str, Any], patterns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the patterns matches; where there is none, all pass."""
    return not patterns or any(matches(pattern, record) for pattern in patterns)


def matches(pattern: Mapping[str, Any], value: Any) -> bool:
    """An EventBridge pattern on a value: every field named must be as wanted."""
    if not isinstance(value, dict):
        return False
    for name, wanted in pattern.items():
        if name == "$or":
            if not any(matches(one, value) for one in wanted):
                return False
        elif isinstance(wanted, dict):
            if not matches(wanted, value.get(name)):
                return False
        elif not any(_fits(one, value, name) for one in wanted):
            return False
    return True


def _fits(wanted: Any, value: Mapping[str, Any], name: str) -> bool:
    if isinstance(wanted, dict) and "exists" in wanted:
        return (name in value) is bool(wanted["exists"])
    if name not in value:
        return False
    found = value[name]
    many = found if isinstance(found, list) else [found]
    return any(_equals(wanted, one) for one in many)


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def _equals(wanted: Any, found: Any) -> bool:
    if not isinstance(wanted, dict):
        return type(wanted) is type(found) and bool(wanted == found)
    ((kind, by),) = wanted.items()
    match kind:
        case "prefix":
            return isinstance(found, str) and found.startswith(by)
        case "suffix":
            return isinstance(found, str) and found.endswith(by)
        case "equals-ignore-case":
            return isinstance(found, str) and found.lower() == by.lower()
        case "anything-but":
            return not any(_equals(one, found) for one in (by if isinstance(by, list) else [by]))
        case "numeric":
            pairs = zip(by[::2], by[1::2], strict=True)
            number = isinstance(found, int | float) and not isinstance(found, bool)
            return number and all(_COMPARED[how](found, than) for how, than in pairs)
        case _:
            raise ValueError(f"filter {kind!r} is not known here")
