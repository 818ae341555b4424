"""Send rejections again, mended or as they were: read them, mend them, make entries of them.

A replayed rejection goes in again under the source `replay`, together with an entry that marks it
resolved. So replaying twice is as good as once, on every engine.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec
from msgspec import Raw, Struct

from shopstream.domain.failures import UNREADABLE, shown
from shopstream.domain.validation import units_of
from shopstream.errors import ConfigError
from shopstream.events import TOPICS, Entry, OnBadLine
from shopstream.flows.work import QuarantineRecord
from shopstream.ports import AppendLog, Tables

WHERE = ("topic", "reason", "source", "origin", "field", "id")
"""What rejections can be asked for by."""

BATCH_ENTRIES = 500
"""Appended at once."""

_decode = msgspec.json.Decoder(QuarantineRecord).decode


class ReplayReport(Struct):
    """What a replay did, or with `dry_run` would do. `finished` is false when time ran out first:
    the same replay again goes on.
    """

    matched: int
    replayed: int
    already_resolved: int
    not_replayable: int
    dry_run: bool
    examples: list[dict[str, str]]
    finished: bool = True


def replay_all(
    records: Iterable[QuarantineRecord],
    set_fields: Mapping[str, str],
    log: AppendLog | None,
    *,
    now_us: Callable[[], int],
    live: bool = False,
    in_time: Callable[[], bool] = lambda: True,
) -> ReplayReport:
    """Append `records` again, with `set_fields` (dotted paths) put in first; only count them when
    there is no `log`. What comes of them is historical unless `live`.

    That a rejection was replayed is noted with its append, so a replay that is cut off and begun
    again repeats nothing.
    """
    report = ReplayReport(0, 0, 0, 0, log is None, [])
    batch: list[Entry] = []
    progress: dict[str, int] = {}
    for record in records:
        if not in_time():
            report.finished = False
            break
        raw = _to_replay(record, set_fields, log, report)
        if raw is not None and log is not None:
            batch += entries_of(record, raw, now_us(), live=live)
            progress[f"replay:{record.id}"] = 1
            if len(batch) >= BATCH_ENTRIES:
                log.append(batch, progress=progress)
                batch, progress = [], {}
    if batch and log is not None:
        log.append(batch, progress=progress)
    return report


def _to_replay(
    record: QuarantineRecord,
    set_fields: Mapping[str, str],
    log: AppendLog | None,
    report: ReplayReport,
) -> bytes | None:
    """The bytes to replay; None when it was replayed before or there is no JSON to mend."""
    report.matched += 1
    if record.resolved_us or (log is not None and log.progress(f"replay:{record.id}")):
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


def ensure_askable(where: Mapping[str, str]) -> None:
    """Raises ConfigError for a key that rejections can't be asked for by."""
    if unknown := set(where) - set(WHERE):
        raise ConfigError(f"--where {unknown.pop()}: is not one of {', '.join(WHERE)}")


def rejections(tables: Tables, where: Mapping[str, str]) -> Iterator[QuarantineRecord]:
    """Those that match, one at a time: a quarantine may be larger than memory. Raises ConfigError
    for an unknown key in `where`.
    """
    ensure_askable(where)
    for topic in _topics(where):
        yield from _of_topic(tables, topic, where, reverse=False)


def newest_rejections(
    tables: Tables, where: Mapping[str, str], limit: int
) -> Iterator[QuarantineRecord]:
    """Of each topic those that match and arrived last, at most `limit`, and no others are read.
    Raises as `rejections` does.
    """
    ensure_askable(where)
    for topic in _topics(where):
        yield from islice(_of_topic(tables, topic, where, reverse=True), limit)


def _topics(where: Mapping[str, str]) -> tuple[str, ...]:
    return (where["topic"],) if "topic" in where else TOPICS


def _of_topic(
    tables: Tables, topic: str, where: Mapping[str, str], *, reverse: bool
) -> Iterator[QuarantineRecord]:
    items: Iterable[bytes | None]
    if "id" in where:
        # An id is the shard and the sort key.
        items = [tables.get("quarantine", topic, where["id"].partition("-")[2])]
    else:
        items = (item for _, item in tables.query("quarantine", topic, reverse=reverse))
    for item in items:
        if item is not None and _matches(record := _decode(item), where):
            yield record


def mend(record: QuarantineRecord, set_fields: Mapping[str, str]) -> bytes | None:
    """The bytes to replay, with `set_fields` (dotted paths -> JSON or text) put in; None when there
    is no JSON object to mend.
    """
    raw = record.rejection.raw
    try:
        for path, value in set_fields.items():
            raw = _put(raw, path.split("."), _value(value))
        msgspec.json.decode(raw, type=dict[str, Raw])
    except UNREADABLE:
        return None
    return raw


def entries_of(record: QuarantineRecord, raw: bytes, now_us: int, *, live: bool) -> list[Entry]:
    """What to append for a rejection: its event again, as `raw`, and the mark that resolves it.

    What comes of it is historical unless `live`.
    """
    topic = record.rejection.topic
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
