"""Send rejections again, mended or as they were: read them, mend them, make entries of them.

A replayed rejection goes in again under the source `replay`, together with an entry that marks it
resolved. So replaying twice is as good as once, on every engine.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec
from msgspec import Raw, Struct

from shopstream.domain.dialects import read_message
from shopstream.domain.failures import REASONS, UNREADABLE, Limits, shown
from shopstream.domain.validation import read_event, read_lines, units_of
from shopstream.errors import ConfigError, ShopstreamError
from shopstream.events import EVENT_OF, TOPICS, Entry, OnBadLine, Order, OrderLine, Rejection
from shopstream.flows.work import QuarantineRecord
from shopstream.ports import AppendLog, Tables

WHERE = ("topic", "reason", "source", "origin", "field", "id")
"""What rejections can be asked for by."""

BATCH_ENTRIES = 500
BATCH_BYTES_MAX = 8 * 1024 * 1024
"""Appended at once: so many, or as few as come to so many bytes."""

EXAMPLES_MAX = 3
EXAMPLE_CHARS_MAX = 2_000
"""Of an event that is shown, so that what was put in is mostly seen."""

_decode = msgspec.json.Decoder(QuarantineRecord).decode


class NotReplayable(ShopstreamError):
    """A rejection that can't be sent again, or not mended as asked; the message says why."""


class ReplayReport(Struct):
    """What a replay did, or with `dry_run` would do. `examples` show some of what was sent,
    `reasons` why some were not replayable, or would be rejected again. `rejected_again` counts what
    came back, where that can be known at once. `finished` is false when time ran out first: the
    same replay again goes on.
    """

    matched: int
    replayed: int
    already_resolved: int
    not_replayable: int
    dry_run: bool
    examples: list[dict[str, str]]
    finished: bool = True
    reasons: list[dict[str, str]] = []
    rejected_again: int | None = None


def replay_all(
    records: Iterable[QuarantineRecord],
    set_fields: Mapping[str, str],
    log: AppendLog | None,
    *,
    now_us: Callable[[], int],
    limits: Limits,
    live: bool = False,
    in_time: Callable[[], bool] = lambda: True,
) -> ReplayReport:
    """Append `records` again, with `set_fields` (dotted paths) put in first. What comes of them is
    historical unless `live`.

    That a rejection was replayed is noted with its append, so a replay that is cut off and begun
    again repeats nothing. Without a `log` they are only counted, and judged with `limits` as the
    processor would: all but what the tables know, whether there is such an event already
    (`duplicate`) or another with its id (`conflict`).
    """
    report = ReplayReport(0, 0, 0, 0, log is None, [], rejected_again=0 if log is None else None)
    batch: list[Entry] = []
    progress: dict[str, int] = {}
    size = 0
    for record in records:
        if not in_time():
            report.finished = False
            break
        raw = _to_replay(record, set_fields, log, report)
        if raw is None:
            continue
        entries = entries_of(record, raw, now_us(), live=live)
        if log is None:
            _judge(record, entries[0], limits, report)
        else:
            batch += entries
            progress[f"replay:{record.id}"] = 1
            size += len(raw) + len(record.context)
            if len(batch) >= BATCH_ENTRIES or size >= BATCH_BYTES_MAX:
                log.append(batch, progress=progress)
                batch, progress, size = [], {}, 0
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
    try:
        raw = mend(record, set_fields)
    except NotReplayable as e:
        report.not_replayable += 1
        if len(report.reasons) < EXAMPLES_MAX:
            report.reasons.append({"id": record.id, "why": str(e)})
        return None
    report.replayed += 1
    if len(report.examples) < EXAMPLES_MAX:
        report.examples.append({"id": record.id, "event": shown(raw, EXAMPLE_CHARS_MAX)})
    return raw


def _judge(record: QuarantineRecord, entry: Entry, limits: Limits, report: ReplayReport) -> None:
    """Report what of `entry`, the event of `record` to be sent again, would be rejected."""
    again = list(_rejected(entry, limits))
    report.rejected_again = (report.rejected_again or 0) + len(again)
    if again and len(report.reasons) < EXAMPLES_MAX:
        failures = [f.message for rejection in again for f in rejection.failures]
        why = shown("; ".join(failures).encode(), EXAMPLE_CHARS_MAX)
        report.reasons.append({"id": record.id, "why": f"rejected again: {why}"})


def _rejected(entry: Entry, limits: Limits) -> Iterator[Rejection]:
    raw = entry.events[0]
    events: Sequence[tuple[str, bytes]] | Rejection = [(entry.topic, raw)]
    if entry.dialect != "shopstream":
        events = read_message(entry, raw)
    if isinstance(events, Rejection):
        yield events
        return
    for topic, event in events:
        if topic == "orders" and entry.on_bad_line == "quarantine_line":
            yield from read_lines(event, entry.received_us, limits).rejections
            continue
        found = read_event(topic, event, entry.received_us, limits)
        if isinstance(found, Rejection):
            yield found


def ensure_askable(where: Mapping[str, str]) -> None:
    """Raises ConfigError for a key that rejections can't be asked for by, or a topic or reason that
    there isn't.
    """
    if unknown := set(where) - set(WHERE):
        raise ConfigError(f"--where {unknown.pop()}: is not one of {', '.join(WHERE)}")
    if (topic := where.get("topic", TOPICS[0])) not in TOPICS:
        raise ConfigError(f"--where topic={topic}: topics are {', '.join(TOPICS)}")
    if (reason := where.get("reason", "json")) not in REASONS:
        raise ConfigError(f"--where reason={reason}: reasons are {', '.join(REASONS)}")


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


def mend(record: QuarantineRecord, set_fields: Mapping[str, str]) -> bytes:
    """The bytes to replay, with `set_fields` put in: paths as failures name them
    (`lines[0].unit_price`) -> JSON or text. Raises NotReplayable when there is no JSON object to
    mend, or in it no such place; a field of the topic may be absent.
    """
    raw = record.rejection.raw
    kind = EVENT_OF[record.rejection.topic] if record.dialect == "shopstream" else None
    try:
        msgspec.json.decode(raw, type=dict[str, Raw])
    except UNREADABLE:
        raise NotReplayable("it is no JSON object") from None
    for path, value in set_fields.items():
        try:
            raw = _put(raw, _steps(path, record), _value(value), kind)
        except UNREADABLE:
            raise NotReplayable(f"{path}: what stands above it is no object") from None
        except NotReplayable as e:
            raise NotReplayable(f"{path}: {e}") from None
    return raw


def _steps(path: str, record: QuarantineRecord) -> list[str]:
    """`lines[0].unit_price`, or with dots only, as its steps. A line that was rejected alone is the
    first of its event, whichever of its order it was.
    """
    steps = re.sub(r"\[(\d+)\]", r".\1", path).split(".")
    if record.rejection.line is not None and steps[0] == "lines" and len(steps) > 1:
        steps[1] = "0"
    return steps


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


def _put(raw: bytes, path: Sequence[str], value: bytes, kind: type[Struct] | None) -> bytes:
    """`raw` with `value` at `path`; everything else stays byte for byte. A field that is absent is
    added when `kind` has it; in a dialect (None) nobody knows.
    """
    name, *rest = path
    if raw.lstrip()[:1] == b"[":
        items = msgspec.json.decode(raw, type=list[Raw])
        if not name.isdigit() or int(name) >= len(items):
            raise NotReplayable(f"there is no {name} of {len(items)}, counted from 0")
        at = int(name)
        items[at] = Raw(_put(bytes(items[at]), rest, value, kind) if rest else value)
        return msgspec.json.encode(items)
    fields = msgspec.json.decode(raw, type=dict[str, Raw])
    if name not in fields and (rest or (kind is not None and name not in kind.__struct_fields__)):
        raise NotReplayable(f"there is no {name!r}")
    inner = OrderLine if kind is Order and name == "lines" else None
    fields[name] = Raw(_put(bytes(fields[name]), rest, value, inner) if rest else value)
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
