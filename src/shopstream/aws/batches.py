"""How a function goes through a batch of records and tells Lambda which of them failed.

Powertools' batch processors, with the order that our records have: a record is never processed
after a failed one of its user. At a batch's end what its records came to is delivered together,
then each is settled. `logger` is Powertools', which is no `logging.Logger` but answers as one; it
is told why a record failed.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
)
from aws_lambda_powertools.utilities.batch.base import BasePartialBatchProcessor

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
    """A batch of one Kinesis shard: Lambda comes back with everything from the first failed record
    on, so nothing after it is tried now.
    """

    def __init__(self, settlement: Settlement, logger: Any) -> None:
        super().__init__(
            EventType.KinesisDataStreams, raise_on_entire_batch_failure=False, logger=logger
        )
        self._settlement = settlement

    def process(self) -> list[Result]:
        return _settled(self, super().process(), self._settlement)

    def _process_record(self, record: Record) -> Result:
        if self.fail_messages:
            skipped = AfterAFailure("a record before it in its shard failed")
            return self.failure_handler(
                self._to_batch_type(record, self.event_type), (AfterAFailure, skipped, None)
            )
        return super()._process_record(record)


class FifoQueue(SqsFifoPartialProcessor):
    """A batch of a FIFO queue: what follows a failed message of the same user is not tried, all
    other users' messages are.
    """

    def __init__(self, settlement: Settlement, logger: Any) -> None:
        super().__init__(skip_group_on_error=True, logger=logger)
        self.raise_on_entire_batch_failure = False
        self._settlement = settlement

    def process(self) -> list[Result]:
        return _settled(self, super().process(), self._settlement)


class TableChanges(BatchProcessor):
    """A batch of a table's stream, given to the handler by user: all records of one at a time."""

    def __init__(self, user_of: Callable[[Record], str], logger: Any) -> None:
        super().__init__(
            EventType.DynamoDBStreams, raise_on_entire_batch_failure=False, logger=logger
        )
        self._user_of = user_of

    def process(self) -> list[Result]:
        users: dict[str, list[Record]] = {}
        for record in self.records:
            users.setdefault(self._user_of(record), []).append(record)
        return [result for records in users.values() for result in self._of_user(records)]

    def _of_user(self, records: list[Record]) -> Iterable[Result]:
        wrapped = [self._to_batch_type(record, self.event_type) for record in records]
        try:
            result = self.handler(records)
        except Exception:  # noqa: BLE001  # whatever it was, Lambda is told and comes again
            return [self.failure_handler(record, sys.exc_info()) for record in wrapped]
        return [self.success_handler(record, result) for record in wrapped]


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
    processor.success_messages.clear()
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
