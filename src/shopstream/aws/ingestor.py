"""Ingestor and OrderProcessor: records of the log into tables, bronze and alerts.

A record's effects are: the tables, then bronze and alerts, then its row of the ledger. Whatever is
cut off in between is done again when the record comes again, and what was done stays as it is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shopstream.aws.messages import message_of
from shopstream.aws.suspects import READING, Attempt, first_note
from shopstream.aws.wire import Raw, Record, given_up, read
from shopstream.collector.entries import body_limits
from shopstream.flow_settings import flow_config
from shopstream.flows.records import Recorded, give_up_record, settle_record, take_record
from shopstream.flows.work import QUARANTINED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shopstream.aws.engine import AwsEngine
    from shopstream.aws.messages import Message
    from shopstream.events import Alert, OnBadLine


class Ingestor:
    """Takes messages one after another, delivers what came of a batch of them together, and settles
    each record.

    `publish` hands an alert on, once for each `alert_id` however often it is called.
    """

    def __init__(self, engine: AwsEngine, publish: Callable[[Alert], None]) -> None:
        settings = engine.settings
        self._settings = settings
        self._config = flow_config(settings, 0, 1)
        self._items = engine.tables()
        self._lake = engine.lake()
        self._delivery = engine.delivery()
        self._publish = publish
        self._on_bad_line: OnBadLine = (
            "quarantine_line" if settings.on_bad_line == "quarantine_line" else "reject_order"
        )

    def take(self, given: Mapping[str, Any], attempt: Attempt | None = None) -> list[Recorded]:
        """Put what a message, as Lambda gives it, amounts to into the tables. What can't be read at
        all goes to the quarantine, and so does what the attempt says is given up; raises only what
        trying again may mend.
        """
        message = message_of(given)
        attempt = attempt or Attempt(first_note(message))
        taken = []
        for n, record in enumerate(self._records(message, attempt)):
            if n == attempt.given_up:
                taken.append(self._give_up(record, attempt))
            else:
                attempt.begins(n)
                taken.append(self._take(record, attempt))
        return taken

    def _take(self, record: Record, attempt: Attempt) -> Recorded:
        return take_record(
            record.entry,
            record.record_id,
            time.time_ns() // 1_000,
            self._items,
            self._lake,
            self._config,
            decided=attempt.decided,
        )

    def _give_up(self, record: Record, attempt: Attempt) -> Recorded:
        return give_up_record(
            record.entry,
            record.record_id,
            time.time_ns() // 1_000,
            self._items,
            self._lake,
            self._config,
            _why(attempt),
        )

    def deliver(self, batch: Iterable[Recorded]) -> None:
        """Hand the lines of records taken to bronze."""
        lines: dict[str, list[bytes]] = {}
        for recorded in batch:
            for topic, more in recorded.lines.items():
                lines.setdefault(topic, []).extend(more)
        for topic, together in lines.items():
            self._delivery.deliver(topic, together)

    def settle(self, recorded: Recorded) -> None:
        """Publish the alerts of a record that was delivered, then enter it in the ledger."""
        for alert in recorded.alerts:
            self._publish(alert)
        if not recorded.repeated:
            settle_record(recorded, self._items)

    def _records(self, message: Message, attempt: Attempt) -> list[Record]:
        raw = Raw(
            message.topic,
            message.source,
            attempt.received_us,
            attempt.record_id,
            body_limits(message.topic, self._settings),
            self._on_bad_line,
        )
        if attempt.given_up == READING:
            return [given_up(message.body, raw, _why(attempt))]
        return read(message.body, raw, self._lake.get)


def _why(attempt: Attempt) -> str:
    return f"the process ended {attempt.tries} times at it"


def quarantined(recorded: Recorded) -> int:
    """Units of a record that were rejected."""
    return sum(
        units
        for cell, units in recorded.counts.items()
        if cell.rpartition("\x1f")[2].startswith(f"{QUARANTINED}:")
    )
