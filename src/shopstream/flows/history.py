"""A user's history as stored: items of event lines, in the order in which they were processed.

Where many writers share the tables, an item (a *chunk*) ends with a mark of the record it was made
of, so that a record that is taken again knows its own work, and its number counts up by one: of
two writers who go on from the same history only one can put the next chunk, whether its events are
live or historical: that is said in the mark, not in the key.
See docs/decisions/0011-at-least-once-flows.md.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from shopstream.domain.durations import DAY_US
from shopstream.ports import Tables

PAST = "h"
"""How on one machine sort keys of historical events end: they are stored apart from live ones,
since what falls idle in history is no news.
"""
HISTORY_BYTES_MAX = 1_000_000
"""How much of a user's history one record looks back over: what one query of DynamoDB reads, some
3,000 events. Repetitions of older ones are not recognised, and rules don't see them.
"""
NUMBER_CHARS = 20
_MARK, _PAST_MARK = b"\n#", b"\n!"
"""How marks begin, of live events and of historical ones. No event begins with either."""
_EVENTS_CHARS = 6
_RECORD_BYTES, _PART_BYTES = 8, 2
_MARK_BYTES = len(_MARK) + NUMBER_CHARS + _EVENTS_CHARS + 2 * _RECORD_BYTES


class Mark(NamedTuple):
    """Of which record an item is: the position of its first event in bronze, microseconds, how
    many events it had, and its `record_hash`; and whether they are history.
    """

    stamp_us: int
    events: int
    record: str
    historical: bool = False


class Chunk(NamedTuple):
    """An item of `browsing_events`. `item` is what is stored, mark included."""

    sk: str
    item: bytes

    @property
    def lines(self) -> list[bytes]:
        return lines_of(self.item)

    @property
    def historical(self) -> bool:
        return is_past(self.sk, self.item)

    @property
    def number(self) -> int:
        return int(self.sk[:NUMBER_CHARS])


def record_hash(record_id: str, part: int = 0) -> str:
    """What a record is called in what it has made; its parts, counted from 1, alike."""
    name = blake2b(record_id.encode(), digest_size=_RECORD_BYTES - _PART_BYTES).hexdigest()
    return name + part.to_bytes(_PART_BYTES, "big").hex()


def _later_part(record: str, of: str) -> bool:
    """Whether `record` is a later part of the record that `of` is a part of."""
    at = -2 * _PART_BYTES
    return int(of[at:], 16) > 0 and record[:at] == of[:at] and record[at:] > of[at:]


def first_number(now_us: int, ttl_us: int) -> int:
    """The number of a user's first chunk. Two writers at once name the same; who comes back after
    all was forgotten, which takes `ttl_us`, goes on above all that was.
    """
    span_us = max(1, min(DAY_US, ttl_us // 2))
    return now_us // span_us * span_us


def sort_key(number: int) -> str:
    return f"{number:0{NUMBER_CHARS}d}"


def is_past(sk: str, item: bytes) -> bool:
    """Whether an item of `browsing_events` has historical events."""
    return sk.endswith(PAST) or _beginning(item) == _PAST_MARK


def marked(body: bytes, mark: Mark) -> bytes:
    """Lines as an item of the record that `mark` names."""
    begins = _PAST_MARK if mark.historical else _MARK
    events = min(mark.events, 10**_EVENTS_CHARS - 1)
    return b"%b%b%020d%06d%b" % (body, begins, mark.stamp_us, events, mark.record.encode())


def _beginning(item: bytes) -> bytes:
    """How the mark of a chunk begins, b"" when it has none."""
    found = item[-_MARK_BYTES:][: len(_MARK)]
    return found if found in (_MARK, _PAST_MARK) else b""


def mark_of(item: bytes) -> Mark | None:
    """The mark of a chunk, None when it has none."""
    if not (begins := _beginning(item)):
        return None
    text = item[len(begins) - _MARK_BYTES :].decode()
    record = text[NUMBER_CHARS + _EVENTS_CHARS :]
    stamp_us, events = int(text[:NUMBER_CHARS]), int(text[NUMBER_CHARS : -len(record)])
    return Mark(stamp_us, events, record, begins == _PAST_MARK)


def lines_of(item: bytes) -> list[bytes]:
    """The events of a chunk, one line each."""
    if _beginning(item):
        item = item[:-_MARK_BYTES]
    return item.split(b"\n")


class Recent(NamedTuple):
    """A user's latest chunks in order, and that of the record asked about, if there is one: then
    the chunks are those before it. `next_number` is for the next chunk, 0 when there is none.
    """

    chunks: list[Chunk]
    own: Chunk | None
    next_number: int


def recent(
    tables: Tables, user_id: str, *, before: str = "", since: str = "", record: str = ""
) -> Recent:
    """The newest of a user's chunks before the sort key `before`, HISTORY_BYTES_MAX of those that
    come before `since` and before the chunk of `record`, which is looked for among the others.
    """
    found: list[Chunk] = []
    own: Chunk | None = None
    size = next_number = 0
    for sk, item in tables.query("browsing_events", user_id, before=before, reverse=True):
        chunk = Chunk(sk, item)
        next_number = next_number or chunk.number + 1
        mark = mark_of(item) if record else None
        if mark and (mark.record == record or _later_part(mark.record, record)):
            own, size = (chunk if mark.record == record else None), 0
            found.clear()
            continue
        found.append(chunk)
        if not since or sk < since:
            size += len(item)
            if size >= HISTORY_BYTES_MAX:
                break
    found.reverse()
    return Recent(found, own, next_number)


def newest(chunks: Sequence[Chunk]) -> Sequence[Chunk]:
    """Of chunks in order the last, HISTORY_BYTES_MAX of them or all."""
    size = 0
    for n in range(len(chunks) - 1, -1, -1):
        size += len(chunks[n].item)
        if size >= HISTORY_BYTES_MAX:
            return chunks[n:]
    return chunks
