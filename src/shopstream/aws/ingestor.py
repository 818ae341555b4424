"""Ingestor and OrderProcessor: records of the log into tables, bronze and alerts.

A record's effects are: the tables, then bronze and alerts, then its row of the ledger. Whatever is
cut off in between is done again when the record comes again, and what was done stays as it is.
"""

from __future__ import annotations

import time
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from shopstream.aws.wire import Raw, Record, from_text, read
from shopstream.collector.entries import limits_of
from shopstream.flow_settings import flow_config
from shopstream.flows.records import Recorded, settle_record, take_record
from shopstream.flows.work import QUARANTINED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shopstream.aws.engine import AwsEngine
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

    def take(self, message: Mapping[str, Any]) -> list[Recorded]:
        """Put what a message amounts to into the tables. What can't be read at all goes to the
        quarantine; raises only what trying again may mend.
        """
        return [
            take_record(
                record.entry,
                record.record_id,
                time.time_ns() // 1_000,
                self._items,
                self._lake,
                self._config,
            )
            for record in self._records(message)
        ]

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

    def _records(self, message: Mapping[str, Any]) -> list[Record]:
        if "kinesis" in message:
            found = message["kinesis"]
            arrived_us = round(found["approximateArrivalTimestamp"] * 1e6)
            raw = self._raw("clicks", "kinesis", message["eventID"], arrived_us)
            return read(b64decode(found["data"]), raw, self._lake.get)
        topic = "orders" if message["eventSourceARN"].endswith("-orders.fifo") else "clicks"
        arrived_us = int(message["attributes"]["SentTimestamp"]) * 1_000
        raw = self._raw(topic, "sqs", message["messageId"], arrived_us)
        return read(from_text(message["body"]), raw, self._lake.get)

    def _raw(self, topic: str, source: str, record_id: str, received_us: int) -> Raw:
        limits = limits_of(topic, self._settings)
        return Raw(topic, source, received_us, record_id, limits, self._on_bad_line)


def quarantined(recorded: Recorded) -> int:
    """Units of a record that were rejected."""
    return sum(
        units
        for cell, units in recorded.counts.items()
        if cell.rpartition("\x1f")[2].startswith(f"{QUARANTINED}:")
    )
