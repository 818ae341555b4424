"""The quarantine: what was rejected and why; and its replay, mended or as it was.

A replay appends the event again, under the source `replay`, together with a mark that resolves its
rejection, in one transaction of the log. So replaying twice is as good as once.
"""

import time
from collections.abc import Iterator, Mapping
from heapq import nlargest
from typing import Any

import msgspec
from msgspec import Struct

from shopstream.domain.failures import shown
from shopstream.engine import Engine, open_engine
from shopstream.errors import ConfigError, DataDirError
from shopstream.events import Entry
from shopstream.feed import Feed, open_feed
from shopstream.flows.replaying import ensure_askable, entries_of, mend, rejections
from shopstream.flows.work import QuarantineRecord
from shopstream.ports import Tables
from shopstream.settings import Settings
from shopstream.stages import settle

REPLAY_EVENTS = 500


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
                batch += entries_of(record, raw, time.time_ns() // 1000, live=live)
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
    raw = mend(record, set_fields)
    if raw is None:
        report.not_replayable += 1
        return None
    report.replayed += 1
    if len(report.examples) < 3:
        report.examples.append({"id": record.id, "event": shown(raw)})
    return raw


def _records(settings: Settings, where: Mapping[str, str]) -> Iterator[QuarantineRecord]:
    """Those that match, one at a time: a quarantine may be larger than memory."""
    ensure_askable(where)
    return _read_records(open_engine(settings, create=False), where)


def _read_records(engine: Engine, where: Mapping[str, str]) -> Iterator[QuarantineRecord]:
    for shard in range(engine.shards):
        try:
            tables: Tables = engine.read_tables(shard)
        except DataDirError:
            continue
        try:
            yield from rejections(tables, where)
        finally:
            tables.close()
