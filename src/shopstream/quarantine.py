"""The quarantine: what was rejected and why; and its replay, mended or as it was.

A replay appends the event again, under the source `replay`, together with a mark that resolves its
rejection, in one transaction of the log. So replaying twice is as good as once.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from heapq import nlargest
from typing import Any

import msgspec
from msgspec import Raw, Struct

from shopstream.domain.failures import UNREADABLE, shown
from shopstream.domain.validation import units_of
from shopstream.engine import Engine, open_engine
from shopstream.errors import ConfigError, DataDirError
from shopstream.events import TOPICS, Entry, OnBadLine
from shopstream.feed import Feed, open_feed
from shopstream.flows.work import QuarantineRecord
from shopstream.ports import Tables
from shopstream.settings import Settings
from shopstream.stages import settle

_decode = msgspec.json.Decoder(QuarantineRecord).decode
REPLAY_EVENTS = 500
WHERE = ("topic", "reason", "source", "origin", "field", "id")


class ReasonCount(Struct):
    """Rejections of one topic for one reason."""

    topic: str
    reason: str
    events: int
    units: int
    resolved: int


class ReplayReport(Struct):
    """What a replay did, or with `dry_run` would do."""

    matched: int
    replayed: int
    already_resolved: int
    not_replayable: int
    dry_run: bool
    examples: list[dict[str, str]]


def summary(settings: Settings) -> list[ReasonCount]:
    """Rejections by topic and reason, the most first."""
    found: dict[tuple[str, str], ReasonCount] = {}
    for record in _records(settings, {}):
        place = (record.rejection.topic, record.rejection.reason)
        counts = found.setdefault(place, ReasonCount(*place, 0, 0, 0))
        counts.events += 1
        counts.units += record.rejection.units
        counts.resolved += bool(record.resolved_us)
    return sorted(found.values(), key=lambda c: (-c.events, c.topic, c.reason))


def list_rejections(
    settings: Settings, where: Mapping[str, str], *, limit: int
) -> list[dict[str, Any]]:
    """The newest rejections that match, each with its first failure."""
    newest = nlargest(limit, _records(settings, where), key=lambda r: (r.at_us, r.id))
    return [
        {
            "id": record.id,
            "topic": record.rejection.topic,
            "reason": record.rejection.reason,
            "message": record.rejection.failures[0].message,
            "source": record.source,
            "origin": record.origin,
            "line": record.rejection.line,
            "resolved": bool(record.resolved_us),
        }
        for record in newest
    ]


def show_rejection(settings: Settings, rejection_id: str) -> dict[str, Any]:
    """One rejection with all its failures and its raw bytes as text."""
    for record in _records(settings, {"id": rejection_id}):
        values: dict[str, Any] = msgspec.to_builtins(record)
        rejection = values.pop("rejection")
        rejection["raw"] = shown(record.rejection.raw[:100_000], len(record.rejection.raw))
        for failure, known in zip(rejection["failures"], record.rejection.failures, strict=True):
            failure["message"] = known.message
        return {**values, **rejection}
    raise ConfigError(f"there is no rejection {rejection_id!r}; see `shopstream quarantine list`")


def export_rejections(settings: Settings, where: Mapping[str, str]) -> Iterator[str]:
    """Rejections that match, as NDJSON; raw bytes are base64."""
    for record in _records(settings, where):
        yield msgspec.json.encode(record).decode()


def replay(
    settings: Settings,
    where: Mapping[str, str],
    set_fields: Mapping[str, str],
    *,
    dry_run: bool = False,
    live: bool = False,
) -> ReplayReport:
    """Append the rejections that match again, with `set_fields` (dotted paths) put in first.

    What comes of them is historical unless `live`. Raises ConfigError for an unknown `where` key.
    """
    report = ReplayReport(0, 0, 0, 0, dry_run, [])
    records = _records(settings, where)
    if dry_run:
        for record in records:
            _mend(record, set_fields, report)
        return report
    with open_feed(settings) as feed:
        batch: list[Entry] = []
        progress: dict[str, int] = {}
        for record in records:
            raw = None if _replayed(record, feed, report) else _mend(record, set_fields, report)
            if raw is not None:
                batch += _entries(record, raw, live=live)
                progress[f"replay:{record.id}"] = 1
            if len(batch) >= REPLAY_EVENTS:
                feed.append(batch, progress=progress)
                batch, progress = [], {}
        if batch:
            feed.append(batch, progress=progress)
        direct = feed.direct
    settle(settings, direct=direct)
    return report


def _replayed(record: QuarantineRecord, feed: Feed, report: ReplayReport) -> bool:
    if not feed.progress(f"replay:{record.id}"):
        return False
    report.matched += 1
    report.already_resolved += 1
    return True


def _mend(
    record: QuarantineRecord, set_fields: Mapping[str, str], report: ReplayReport
) -> bytes | None:
    """The bytes to replay; None when it was replayed before or there is no JSON to mend."""
    report.matched += 1
    if record.resolved_us:
        report.already_resolved += 1
        return None
    raw = record.rejection.raw
    try:
        for path, value in set_fields.items():
            raw = _put(raw, path.split("."), _value(value))
        msgspec.json.decode(raw, type=dict[str, Raw])
    except UNREADABLE:
        report.not_replayable += 1
        return None
    report.replayed += 1
    if len(report.examples) < 3:
        report.examples.append({"id": record.id, "event": shown(raw)})
    return raw


def _put(raw: bytes, path: Sequence[str], value: bytes) -> bytes:
    """`raw` with `value` at `path`; everything else stays byte for byte."""
    name, *rest = path
    if raw.lstrip()[:1] == b"[":
        items = msgspec.json.decode(raw, type=list[Raw])
        if not name.isdigit() or int(name) >= len(items):
            raise ValueError(name)
        items[int(name)] = Raw(_put(bytes(items[int(name)]), rest, value) if rest else value)
        return msgspec.json.encode(items)
    fields = msgspec.json.decode(raw, type=dict[str, Raw])
    fields[name] = Raw(_put(bytes(fields.get(name, b"{}")), rest, value) if rest else value)
    return msgspec.json.encode(fields)


def _value(text: str) -> bytes:
    """JSON if it is JSON, else the text as a JSON string."""
    try:
        msgspec.json.decode(text.encode())
    except UNREADABLE:
        return msgspec.json.encode(text)
    return text.encode()


def _entries(record: QuarantineRecord, raw: bytes, *, live: bool) -> list[Entry]:
    topic = record.rejection.topic
    now_us = time.time_ns() // 1000
    on_bad_line: OnBadLine = (
        "quarantine_line" if record.on_bad_line == "quarantine_line" else "reject_order"
    )
    again = Entry(
        topic=topic,
        events=[raw],
        source="replay",
        received_us=now_us if record.dialect == "shopstream" else record.received_us,
        units=units_of(topic, raw, record.on_bad_line),
        dialect=record.dialect,
        historical=not live,
        on_bad_line=on_bad_line,
        identity=record.identity or record.source,
        origin=record.origin,
        lines=[] if record.rejection.line is None else [record.rejection.line],
        context=record.context,
    )
    resolved = Entry(
        topic=topic,
        events=[record.id.encode()],
        source="replay",
        received_us=now_us,
        units=0,
        dialect="resolved",
    )
    return [again, resolved]


def _records(settings: Settings, where: Mapping[str, str]) -> Iterator[QuarantineRecord]:
    """Those that match, one at a time: a quarantine may be larger than memory."""
    if unknown := set(where) - set(WHERE):
        raise ConfigError(f"--where {unknown.pop()}: is not one of {', '.join(WHERE)}")
    return _read_records(open_engine(settings, create=False), where)


def _read_records(engine: Engine, where: Mapping[str, str]) -> Iterator[QuarantineRecord]:
    for shard in range(engine.shards):
        try:
            tables: Tables = engine.read_tables(shard)
        except DataDirError:
            continue
        try:
            topics = (where["topic"],) if "topic" in where else TOPICS
            for topic in topics:
                for _, item in tables.query("quarantine", topic):
                    record = _decode(item)
                    if _matches(record, where):
                        yield record
        finally:
            tables.close()


def _matches(record: QuarantineRecord, where: Mapping[str, str]) -> bool:
    rejection = record.rejection
    for name, wanted in where.items():
        match name:
            case "reason":
                found = rejection.reason == wanted
            case "field":
                found = wanted in {f.field for f in rejection.failures}
            case "topic":
                found = rejection.topic == wanted
            case _:
                found = getattr(record, name) == wanted
        if not found:
            return False
    return True
