"""POST /v1/validate/{topic}: what would become of each event, nothing stored."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from shopstream.collector.splitting import Split
from shopstream.domain.canonical import settle
from shopstream.domain.dialects import Unreadable, read_ga4, read_segment
from shopstream.domain.validation import read_event, read_lines
from shopstream.events import Event, Failure, Order, Rejection
from shopstream.flow_settings import limits_of
from shopstream.settings import Settings

ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""Verdicts of one answer that tell more than whether an event is valid."""

_encode = msgspec.json.Encoder(decimal_format="number").encode
_READ = {"segment": read_segment, "ga4": read_ga4}


class Judge:
    """The same validation as the processor's, with the same settings."""

    def __init__(self, settings: Settings) -> None:
        self._limits = limits_of(settings)
        self._by_line = settings.on_bad_line == "quarantine_line"

    def verdicts(self, topic: str, dialect: str, found: Split, received_us: int) -> bytes:
        """JSON: a result for each item of a body in its order (its canonical form, or all that is
        wrong), and how many are valid. Once the results come to ANSWER_BYTES_MAX, one that doesn't
        fit any more says only whether its item is valid, and `cut` counts these.
        """
        rejections = dict(zip(found.places, found.rejections, strict=True))
        events = iter(found.events)
        results, size, valid, cut = list[Raw](), 0, 0, 0
        for n in range(len(found.events) + len(rejections)):
            if n in rejections:
                verdict = _invalid(rejections[n].failures)
            else:
                verdict = self._verdict(topic, dialect, next(events), received_us)
            valid += verdict["valid"]
            result = _encode({"index": n, **verdict})
            if size + len(result) > ANSWER_BYTES_MAX:
                result = _encode({"index": n, "valid": verdict["valid"]})
                cut += 1
            size += len(result)
            results.append(Raw(result))
        counts = {"valid": valid, "invalid": len(results) - valid}
        return _encode(counts | ({"cut": cut} if cut else {}) | {"results": results})

    def _verdict(self, topic: str, dialect: str, raw: bytes, received_us: int) -> dict[str, Any]:
        if dialect not in _READ:
            return self._ours([(topic, raw)], received_us)
        try:
            return self._ours(_READ[dialect](raw, b"", received_us), received_us)
        except Unreadable as e:
            return _invalid(e.failures)

    def _ours(self, events: Sequence[tuple[str, bytes]], received_us: int) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        failures: list[Failure] = []
        for topic, raw in events:
            event, wrong = self._read(topic, raw, received_us)
            failures += wrong
            if event is not None:
                found.append({"topic": topic, "event": event})
        if failures:
            return _invalid(failures)
        return {"valid": True, "events": found}

    def _read(self, topic: str, raw: bytes, received_us: int) -> tuple[Event | None, list[Failure]]:
        if topic == "orders" and self._by_line:
            order, rejections, kept = read_lines(raw, received_us, self._limits)
            failures = [f for r in rejections for f in r.failures]
            if isinstance(order, Order):
                settle(order, kept)
            return order, failures
        found = read_event(topic, raw, received_us, self._limits)
        if isinstance(found, Rejection):
            return None, found.failures
        settle(found, raw)
        return found, []


def _invalid(failures: Sequence[Failure]) -> dict[str, Any]:
    return {
        "valid": False,
        "failures": [
            {"reason": f.reason, "field": f.field, "value": f.value, "wanted": f.wanted}
            for f in failures
        ],
    }
