"""Land a range of the log: rows in, files of bronze out. The same range makes the same files."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import chain

import msgspec
import zstandard
from msgspec import Struct

from shopstream.domain.failures import Limits
from shopstream.domain.landing import Lines, NewFile, Range, arrival_hour, file_name, land
from shopstream.events import Entry
from shopstream.ports import Lake, Row

ZSTD_LEVEL = 1
"""Level 3 takes twice the time for files that are no smaller: ids don't repeat."""
PIECE_EVENTS, PIECE_BYTES = 50, 1024 * 1024
"""So many messages of other dialects are landed at once, or as few as come to so many bytes."""
_CHUNK_BYTES = 256 * 1024

TallyKey = tuple[str, str, str, str]
"""(arrival day, topic, source, reason)"""


class Landing(Struct):
    """What a range amounts to: its files, which are durable, and units by arrival day."""

    files: list[NewFile]
    tally: list[tuple[TallyKey, int]]


class _File:
    """A file in the making: compressed as it grows, in memory."""

    def __init__(self) -> None:
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        self._compress, self._flush = compressor.compress, compressor.flush
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._done: list[bytes] = []
        self.days: set[str] = set()
        self.rows = 0

    def add(self, lines: Lines) -> None:
        self.rows += lines.rows
        self._waiting.append(lines.text)
        self._waiting_bytes += len(lines.text)
        if self._waiting_bytes >= _CHUNK_BYTES:
            self._squeeze()

    def _squeeze(self) -> None:
        text = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._done.append(self._compress(text))
        self._waiting.clear()
        self._waiting_bytes = 0

    def body(self) -> bytes:
        self._squeeze()
        return b"".join([*self._done, self._flush()])


def land_range(
    one: Range,
    rows: Iterable[Row],
    lake: Lake,
    limits: Limits,
    progressed: Callable[[int], None] = lambda _: None,
) -> Landing:
    """Land `rows`, all of a range, with the events of all shards. When this returns, the files are
    durable. `progressed` is told the position after each row.
    """
    files: dict[tuple[str, str], _File] = {}
    tally: Counter[TallyKey] = Counter()
    for row in rows:
        position = row.position
        for entry in chain.from_iterable(map(_pieces, row.entries)):
            landing = land(entry, position, limits)
            position += len(entry.events)
            hour = arrival_hour(entry.received_us)
            for topic, lines in landing.lines.items():
                file = files.get((topic, hour))
                if file is None:
                    file = files[topic, hour] = _File()
                file.add(lines)
                file.days |= landing.days[topic]
            for key, units in landing.tally.items():
                tally[hour[:10], *key] += units
        progressed(row.next)
    put = [_put(lake, one, topic, hour, file) for (topic, hour), file in files.items()]
    return Landing(put, list(tally.items()))


def _pieces(entry: Entry) -> Iterator[Entry]:
    """Messages of other dialects a few at a time, as their events may be many times their bytes."""
    if entry.dialect not in ("segment", "ga4"):
        yield entry
        return
    first = size = 0
    last = len(entry.events) - 1
    for n, raw in enumerate(entry.events):
        size += len(raw)
        if n == last or n - first == PIECE_EVENTS - 1 or size >= PIECE_BYTES:
            events, lines = entry.events[first : n + 1], entry.lines[first : n + 1]
            yield msgspec.structs.replace(entry, events=events, lines=lines)
            first, size = n + 1, 0


def _put(lake: Lake, one: Range, topic: str, hour: str, file: _File) -> NewFile:
    name = file_name(topic, hour, one.first, one.after)
    body = file.body()
    lake.put(name, body)
    digest = sha256(body).hexdigest()
    return NewFile(name, topic, file.rows, len(body), digest, sorted(file.days), hour)
