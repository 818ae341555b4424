"""What bronze itself says of what was landed, for a lander whose `lake/landed.db` is lost or older
than what it has landed.

The names of its files say from which positions of the log they were made. As far as the log has
these, they are landed anew in the same ranges, which makes the same files. Of what the log has
forgotten bronze is all there is, so these files are read and taken over, a range at a time.

A file says nothing of the source that a replayed order came in by (`replay`), only whose order it
is: so what is counted of one taken over goes by that source.
"""

import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog
import zstandard
from msgspec import Struct

from shopstream.domain.landing import (
    QUARANTINE,
    Extent,
    NewFile,
    Range,
    arrival_hour,
    cut,
    file_name,
)
from shopstream.errors import DataDirError
from shopstream.events import TOPICS
from shopstream.flows.landing import Landing, TallyKey

if TYPE_CHECKING:
    from shopstream.local.log import SqliteLog

ROWS_MAX = 100_000
"""Rows of the log that are looked at together."""
_NAME = re.compile(
    rf"bronze/({'|'.join((*TOPICS, QUARANTINE))})/dt=(\d{{4}}-\d\d-\d\d)/hour=(\d\d)"
    r"/(\d{20})-(\d{20})\.json\.zst"
)

_log = structlog.get_logger("shopstream.lander")


class Named(NamedTuple):
    """A file of bronze and what its name says; `arrived` is an hour, 'YYYY-MM-DDTHH'."""

    name: str
    topic: str
    arrived: str


class Found(NamedTuple):
    """Files that are not known, of ranges that the log has forgotten; the position after them; the
    ranges to land from there on.
    """

    forgotten: list[tuple[Range, list[Named]]]
    position: int
    ranges: list[Range]


class _Event(Struct):
    """What is looked at of an event."""

    position: int
    source: str
    timestamp: str
    by_line: bool = False
    lines: list[msgspec.Raw] = []


class _Rejected(Struct):
    """What is looked at of a rejected event."""

    position: int
    source: str
    received_at: str
    topic: str
    reason: str
    units: int


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_rejected = msgspec.json.Decoder(_Rejected).decode


class _Damaged(Exception):
    """A file that is not what the lander writes."""


def files_of_bronze(root: Path) -> dict[Range, list[Named]]:
    """The files there are, by the range that they are of, in order."""
    found: dict[Range, list[Named]] = {}
    for path in (root / "bronze").rglob("*.json.zst"):
        name = path.relative_to(root).as_posix()
        if match := _NAME.fullmatch(name):
            topic, day, hour, first, last = match.groups()
            one = Range(int(first), int(last) + 1)
            found.setdefault(one, []).append(Named(name, topic, f"{day}T{hour}"))
    return {one: sorted(found[one]) for one in sorted(found)}


def is_landed(root: Path, log: "SqliteLog", position: int) -> bool:
    """Whether bronze has files of a range that begins at this position of the log, or after rows
    of which no file is made: of marks that resolve rejections.
    """
    rows = log.extents(position, 1)
    if not rows or rows[0].position != position:
        return False
    starts = []
    for row in log.rows(position, log.end()):
        starts.append(row.position)
        hours = {arrival_hour(e.received_us) for e in row.entries if e.dialect != "resolved"}
        if hours:
            folders = {
                (root / file_name(topic, hour, position, position + 1)).parent
                for topic in (*TOPICS, QUARANTINE)
                for hour in hours
            }
            names = [f"{start:020d}-*.json.zst" for start in starts]
            return any(file for folder in folders for name in names for file in folder.glob(name))
    return False


def look_at_bronze(
    root: Path,
    log: "SqliteLog",
    position: int,
    known: Collection[str],
    *,
    events_max: int,
    bytes_max: int,
) -> Found:
    """What a lander finds in the data directory that knows the files `known`, up to `position`.

    Raises DataDirError when bronze has events of another log than this one.
    """
    start = log.start()
    named = {
        one: [file for file in files if file.name not in known]
        for one, files in files_of_bronze(root).items()
    }
    unknown = {one: files for one, files in named.items() if files}
    forgotten = [(one, files) for one, files in unknown.items() if one.first < start]
    position = max([position, start, *(one.after for one, _ in forgotten)])
    if position > log.end():
        raise DataDirError(
            f"{root}: the log ends at {log.end()}, but events up to {position} are landed: it is"
            " another log; restore the right one, or move bronze/ and lake/ away to begin anew"
        )
    ahead = [one for one in unknown if one.first >= position]
    for one in ahead:
        if not _is_of(log, one, unknown[one]):
            raise DataDirError(
                f"{root}: lake/landed.db is missing or older than bronze/, and"
                f" {unknown[one][0].name} is not of this log: restore what is missing, or move"
                " bronze/ and lake/ away to begin anew"
            )
    return Found(forgotten, position, list(_again(log, position, ahead, events_max, bytes_max)))


def _is_of(log: "SqliteLog", one: Range, files: Sequence[Named]) -> bool:
    """Whether the log has rows that begin and end with the range, with an entry that arrived in an
    hour of its files. That needn't be when a row was appended: a replay may keep its first arrival.
    """
    rows = log.extents(one.first, 1)
    if not rows or rows[0].position != one.first:
        return False
    after = log.extents(one.after, 1)
    if (after[0].position if after else log.end()) != one.after:
        return False
    hours = {file.arrived for file in files}
    return any(
        arrival_hour(entry.received_us) in hours for row in log.rows(*one) for entry in row.entries
    )


# --- what the log has forgotten ---------------------------------------------------------------


def read_files(root: Path, one: Range, files: Sequence[Named], counted: int) -> Landing:
    """The files of a range as they were landed, and their units from position `counted` on: what
    is before is counted already. A damaged file is left out; `check` goes on to tell of it.
    """
    found = Landing([], [])
    tally: Counter[TallyKey] = Counter()
    for file in files:
        try:
            new, units = _read_file(root, one, file, counted)
        except (OSError, zstandard.ZstdError, msgspec.MsgspecError, _Damaged) as e:
            _log.warning("a file of bronze is damaged: it is left out", file=file.name, why=str(e))
            continue
        found.files.append(new)
        tally.update(units)
    return Landing(found.files, list(tally.items()))


def _read_file(
    root: Path, one: Range, file: Named, counted: int
) -> tuple[NewFile, Counter[TallyKey]]:
    body = (root / file.name).read_bytes()
    day = file.arrived[:10]
    days: set[str] = set()
    tally: Counter[TallyKey] = Counter()
    rows = 0
    for text in _lines(body):
        rows += 1
        if file.topic == QUARANTINE:
            rejected = _decode_rejected(text)
            days.add(rejected.received_at[:10])
            key = (day, rejected.topic, rejected.source, rejected.reason)
            position, units = rejected.position, rejected.units
        else:
            event = _decode_event(text)
            days.add(event.timestamp[:10])
            key = (day, file.topic, event.source, "")
            position, units = event.position, len(event.lines) if event.by_line else 1
        if not one.first <= position < one.after:
            raise _Damaged(f"it has an event of position {position}, which is another file's")
        if position >= counted:
            tally[key] += units
    digest = sha256(body).hexdigest()
    new = NewFile(file.name, file.topic, rows, len(body), digest, sorted(days), file.arrived)
    return new, tally


def _lines(body: bytes) -> Iterable[bytes]:
    """The lines of a file, which is one frame; its end says that nothing is missing."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    text = frame.decompress(body)
    if not frame.eof or frame.unused_data or not text.endswith(b"\n"):
        raise _Damaged("it is cut off, or has more than was written")
    return io.BytesIO(text)


# --- what the log still has -------------------------------------------------------------------


def _again(
    log: "SqliteLog", position: int, ahead: Sequence[Range], events_max: int, bytes_max: int
) -> Iterator[Range]:
    """The ranges that files are of, and between them, where none had an event, others."""
    for one in ahead:
        if one.first < position:
            continue  # of two that overlap the log has both
        yield from cut(_rows(log, position, one.first), events_max, bytes_max)
        yield one
        position = one.after


def _rows(log: "SqliteLog", position: int, until: int) -> Iterator[Extent]:
    while position < until:
        # A row has an event at least.
        rows = log.extents(position, min(ROWS_MAX, until - position))
        rows = [row for row in rows if row.position < until]
        if not rows:
            return
        yield from rows
        position = rows[-1].next
