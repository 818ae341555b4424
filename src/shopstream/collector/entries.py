"""What the collector appends: the sender's bytes as entries, what can't be read as rejections."""

import time

import msgspec

from shopstream.collector.splitting import BodyLimits
from shopstream.collector.writer import Kind
from shopstream.domain.failures import shown
from shopstream.domain.validation import units_of
from shopstream.events import Entry, Failure, OnBadLine, Rejection
from shopstream.settings import Settings

SOURCE = "http"
REJECTED = "rejected"

_encode = msgspec.json.Encoder().encode


def now_us() -> int:
    """The time of arrival, microseconds UTC."""
    return time.time_ns() // 1000


def body_limits(topic: str, settings: Settings) -> BodyLimits:
    bytes_max = settings.order_bytes_max if topic == "orders" else settings.event_bytes_max
    return BodyLimits(settings.batch_events_max, bytes_max)


class Entries:
    """Makes entries as the settings say."""

    def __init__(self, settings: Settings) -> None:
        self._on_bad_line: OnBadLine = (
            "quarantine_line" if settings.on_bad_line == "quarantine_line" else "reject_order"
        )

    def accepted(self, kind: Kind, events: list[bytes], received_us: int) -> Entry:
        """Events to be validated by the processor."""
        units = len(events)
        if kind.topic == "orders" and self._on_bad_line == "quarantine_line":
            units = sum(units_of("orders", raw, self._on_bad_line) for raw in events)
        return Entry(
            topic=kind.topic,
            events=events,
            source=SOURCE,
            received_us=received_us,
            units=units,
            dialect=kind.dialect,
            on_bad_line=self._on_bad_line,
            context=kind.context,
        )

    def rejected(self, topic: str, rejections: list[Rejection], received_us: int) -> Entry:
        """What could not be taken apart, on its way to the quarantine."""
        return Entry(
            topic=topic,
            events=[_encode(r) for r in rejections],
            source=SOURCE,
            received_us=received_us,
            units=sum(r.units for r in rejections),
            dialect=REJECTED,
        )


def not_gzip(topic: str, body: bytes, why: str) -> Rejection:
    """The rejection of a body that starts like gzip and can't be inflated."""
    failure = Failure("encoding", "body", shown(body), f"gzip data, once and whole ({why})")
    return Rejection(topic=topic, failures=[failure], raw=body)


def not_a_message(topic: str, body: bytes, wanted: str) -> Rejection:
    """The rejection of a Segment body that isn't what its address takes."""
    return Rejection(topic=topic, failures=[Failure("json", "body", shown(body), wanted)], raw=body)
