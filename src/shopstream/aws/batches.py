"""How a function goes through a batch of records and tells Lambda which of them failed.

Powertools' batch processors, with the order that our records have: a record is never processed
after a failed one of its user. What a batch amounts to may be settled together at its end. `logger`
is Powertools', which is no `logging.Logger` but answers as one; it is told why a record failed.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
)
from aws_lambda_powertools.utilities.batch.base import BasePartialBatchProcessor

Record = dict[str, Any]
Settle = Callable[[list[Any]], None]


class AfterAFailure(Exception):
    """The record was not tried, since one before it failed."""


class Shard(BatchProcessor):
    """A batch of one Kinesis shard: Lambda comes back with everything from the first failed record
    on, so nothing after it is tried now.
    """

    def __init__(self, settle: Settle, logger: Any) -> None:
        super().__init__(
            EventType.KinesisDataStreams, raise_on_entire_batch_failure=False, logger=logger
        )
        self._settle = settle

    def process(self) -> list[tuple[Any, ...]]:
        return _settled(self, super().process(), self._settle)

    def _process_record(self, record: Record) -> tuple[Any, ...]:
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

    def __init__(self, settle: Settle, logger: Any) -> None:
        super().__init__(skip_group_on_error=True, logger=logger)
        self.raise_on_entire_batch_failure = False
        self._settle = settle

    def process(self) -> list[tuple[Any, ...]]:
        return _settled(self, super().process(), self._settle)


class TableChanges(BatchProcessor):
    """A batch of a table's stream, given to the handler by user: all records of one at a time."""

    def __init__(self, user_of: Callable[[Record], str], logger: Any) -> None:
        super().__init__(
            EventType.DynamoDBStreams, raise_on_entire_batch_failure=False, logger=logger
        )
        self._user_of = user_of

    def process(self) -> list[tuple[Any, ...]]:
        users: dict[str, list[Record]] = {}
        for record in self.records:
            users.setdefault(self._user_of(record), []).append(record)
        return [result for records in users.values() for result in self._of_user(records)]

    def _of_user(self, records: list[Record]) -> Iterable[tuple[Any, ...]]:
        wrapped = [self._to_batch_type(record, self.event_type) for record in records]
        try:
            result = self.handler(records)
        except Exception:  # noqa: BLE001  # whatever it was, Lambda is told and comes again
            return [self.failure_handler(record, sys.exc_info()) for record in wrapped]
        return [self.success_handler(record, result) for record in wrapped]


def _settled(
    processor: BasePartialBatchProcessor, results: list[tuple[Any, ...]], settle: Settle
) -> list[tuple[Any, ...]]:
    """Settle what succeeded; if that fails, all of it did."""
    done = [
        (result, processor._to_batch_type(record, processor.event_type))
        for outcome, result, record in results
        if outcome == "success"
    ]
    try:
        if done:
            settle([result for result, _ in done])
    except Exception:  # noqa: BLE001  # whatever it was, Lambda is told and comes again
        processor.success_messages.clear()
        kind, error, trace = sys.exc_info()
        failed = []
        for _, record in done:
            failed.append(processor.failure_handler(record, (kind, error, trace)))
            trace = None  # the reason of all is logged with the first
        return failed + [result for result in results if result[0] != "success"]
    return results
