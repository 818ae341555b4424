"""How a function goes through a batch of records and tells Lambda which of them failed.

Powertools' batch processors, with the order that our records have: a record is never processed
after a failed one of its user. At a batch's end what its records came to is delivered together,
then each is settled. `suspects` are told how it ended with each. `logger` is Powertools', which is
no `logging.Logger` but answers as one; it is told why a record failed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
)
from aws_lambda_powertools.utilities.batch.base import BasePartialBatchProcessor

from shopstream.aws.abreast import Outcome, abreast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shopstream.aws.suspects import Suspects

Record = dict[str, Any]
Result = tuple[Any, ...]


class Settlement(NamedTuple):
    """What is done with the results of records that were processed: `deliver` all of them, at once
    for the price of one, then `settle` each. A record that can't be settled keeps no other from it.
    """

    deliver: Callable[[list[Any]], None]
    settle: Callable[[Any], None]


class AfterAFailure(Exception):
    """The record was not tried, since one before it failed."""


class Shard(BatchProcessor):
    """A batch of one Kinesis shard: what follows a failed record of the same partition key is not
    tried, all others are.

    Lambda comes back with everything from the first failed record on, and when it gives that up,
    all of it is gone from the mapping's view: what could be processed was, by then.
    """

    def __init__(self, settlement: Settlement, suspects: Suspects, logger: Any) -> None:
        super().__init__(
            EventType.KinesisDataStreams, raise_on_entire_batch_failure=False, logger=logger
        )
        self._settlement = settlement
        self._suspects = suspects
        self._failed_keys: set[str] = set()

    def process(self) -> list[Result]:
        results = _settled(self, super().process(), self._settlement)
        return _told(self._suspects, results)

    def _process_record(self, record: Record) -> Result:
        key = record["kinesis"]["partitionKey"]
        if key in self._failed_keys:
            skipped = AfterAFailure("a record before it of its partition key failed")
            return self.failure_handler(
                self._to_batch_type(record, self.event_type), (AfterAFailure, skipped, None)
            )
        result: Result = super()._process_record(record)
        if result[0] != "success":
            self._failed_keys.add(key)
        return result


class FifoQueue(SqsFifoPartialProcessor):
    """A batch of a FIFO queue: what follows a failed message of the same user is not tried, all
    other users' messages are. Those of whom one came before, and may have ended the function, are
    tried and settled one by one.
    """

    def __init__(self, settlement: Settlement, suspects: Suspects, logger: Any) -> None:
        super().__init__(skip_group_on_error=True, logger=logger)
        self.raise_on_entire_batch_failure = False
        self._settlement = settlement
        self._suspects = suspects

    def process(self) -> list[Result]:
        turns = self._suspects.turns(self.records)
        batches = [[one] for one in turns.alone] + [turns.together] + [[one] for one in turns.last]
        return [result for batch in batches for result in self._batch(batch)]

    def _batch(self, batch: list[Record]) -> list[Result]:
        self.records = batch
        results = _settled(self, super().process(), self._settlement)
        return _told(self._suspects, results)


class TableChanges(BatchProcessor):
    """A batch of a table's stream, given to the handler by user: all records of one together, and
    several users side by side, since a batch has the shard of the stream to itself.
    """

    def __init__(self, user_of: Callable[[Record], str], logger: Any) -> None:
        super().__init__(
            EventType.DynamoDBStreams, raise_on_entire_batch_failure=False, logger=logger
        )
        self._user_of = user_of

    def process(self) -> list[Result]:
        users: dict[str, list[Record]] = {}
        for record in self.records:
            users.setdefault(self._user_of(record), []).append(record)
        outcomes = abreast(self.handler, users.values())
        return [
            result
            for records, outcome in zip(users.values(), outcomes, strict=True)
            for result in self._of_user(records, outcome)
        ]

    def _of_user(self, records: list[Record], outcome: Outcome[Any]) -> Iterable[Result]:
        wrapped = [self._to_batch_type(record, self.event_type) for record in records]
        if (e := outcome.error) is None:
            return [self.success_handler(record, outcome.value) for record in wrapped]
        # Whatever it was, Lambda is told and comes again.
        return [self.failure_handler(record, (type(e), e, e.__traceback__)) for record in wrapped]


def _told(suspects: Suspects, results: list[Result]) -> list[Result]:
    for outcome, _, record in results:
        suspects.ended(record.raw_event, good=outcome == "success")
    return results


def _settled(
    processor: BasePartialBatchProcessor, results: list[Result], settlement: Settlement
) -> list[Result]:
    """Settle what succeeded; what can't be has failed after all."""
    failed = [result for result in results if result[0] != "success"]
    done = [
        (result, processor._to_batch_type(record, processor.event_type))
        for outcome, result, record in results
        if outcome == "success"
    ]
    if not done:
        return failed
    del processor.success_messages[-len(done) :]
    try:
        settlement.deliver([result for result, _ in done])
    except Exception:  # noqa: BLE001  # whatever it was, Lambda is told and comes again
        kind, error, trace = sys.exc_info()
        for _, record in done:
            failed.append(processor.failure_handler(record, (kind, error, trace)))
            trace = None  # the reason of all is logged with the first
        return failed
    return failed + [_one_settled(processor, settlement, *one) for one in done]


def _one_settled(
    processor: BasePartialBatchProcessor, settlement: Settlement, result: Any, record: Any
) -> Result:
    try:
        settlement.settle(result)
    except Exception:  # noqa: BLE001  # the same
        return processor.failure_handler(record, sys.exc_info())
    return processor.success_handler(record, result)
