"""The quarantine: what was rejected and why; and its replay, mended or as it was.

A replay appends the event again, under the source `replay`, together with a mark that resolves its
rejection, in one transaction of the log. So replaying twice is as good as once.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from heapq import nlargest
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from shopstream.domain.failures import shown
from shopstream.engine import Engine, open_aws_engine, open_engine
from shopstream.errors import ConfigError, DataDirError
from shopstream.feed import open_feed
from shopstream.flow_settings import limits_of
from shopstream.flows.replaying import (
    ReplayReport,
    ensure_askable,
    newest_rejections,
    rejections,
    replay_all,
)
from shopstream.flows.work import QuarantineRecord
from shopstream.ports import Tables
from shopstream.settings import Settings
from shopstream.stages import ensure_configured, settle

_Read: TypeAlias = Callable[[Tables, Mapping[str, str]], Iterator[QuarantineRecord]]


class ReasonCount(Struct):
    """Rejections of one topic for one reason."""

    topic: str
    reason: str
    events: int
    units: int
    resolved: int


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
    found = _records(settings, where, newest=limit)
    newest = nlargest(limit, found, key=lambda r: (r.at_us, r.id))
    return [
        {
            "id": record.id,
            "at": _shown_time(record.at_us),
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
        del values["at_us"]
        values["at"] = _shown_time(record.at_us)
        values["received_at"] = _shown_time(values.pop("received_us", 0))
        values["resolved_at"] = _shown_time(values.pop("resolved_us", 0))
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
    """Append the rejections that match again, with `set_fields` put in first, and have them
    processed; see `replay_all`.

    What comes of them is historical unless `live`. With `dry_run` nothing is appended: the report
    says what would be, and what of it validation would reject again. It can't tell what only the
    tables know: a duplicate, or another event with the same id (`conflict`).
    Raises ConfigError for an unknown `where` key.
    """
    began_us = _now_us()
    limits = limits_of(settings)
    records = _records(settings, where)
    if dry_run:
        return replay_all(records, set_fields, None, now_us=_now_us, limits=limits)
    ensure_configured(settings)
    with open_feed(settings) as feed:
        report = replay_all(records, set_fields, feed, now_us=_now_us, limits=limits, live=live)
        direct = feed.direct
    settle(settings, direct=direct)
    if settings.engine != "aws" and report.replayed:
        again = _records(settings, {"source": "replay"})
        report.rejected_again = sum(record.at_us >= began_us for record in again)
    return report


def _records(
    settings: Settings, where: Mapping[str, str], *, newest: int = 0
) -> Iterator[QuarantineRecord]:
    """Those that match, one at a time: a quarantine may be larger than memory. With `newest` those
    among which the so many newest are.
    """
    ensure_askable(where)
    read: _Read = partial(newest_rejections, limit=newest) if newest else rejections
    if settings.engine == "aws":
        return read(open_aws_engine(settings).deployed().tables(), where)
    return _read_records(open_engine(settings, create=False), where, read)


def _read_records(
    engine: Engine, where: Mapping[str, str], read: _Read
) -> Iterator[QuarantineRecord]:
    """Raises Resharded when these are not all, or may have other ids by now."""
    try:
        for shard in range(engine.shards):
            engine.ensure_current()  # also after a replay has opened its feed
            if (tables := engine.find_tables(shard)) is not None:
                with closing(tables):
                    yield from read(tables, where)
    except (DataDirError, OSError):
        engine.ensure_current()
        raise
    engine.ensure_current()


def _shown_time(us: int) -> str:
    """A time as events have it; "" for none."""
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}" if us else ""


def _now_us() -> int:
    return time.time_ns() // 1000
