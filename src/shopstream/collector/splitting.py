"""A request body -> its events, cheaply: where each begins and ends, not whether it is valid.

The fast path is one pass of msgspec over the body. Only a body that fails it is taken apart item
by item, so that a broken or oversized item doesn't spoil the good ones beside it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw

from shopstream.domain.failures import UNREADABLE, shown
from shopstream.events import Failure, Rejection

_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_OBJECT, _ARRAY = ord("{"), ord("[")
_DEPTH_MAX = 1_000
_TOKENS_MAX = 2_000_000

_decode_one = msgspec.json.Decoder(Raw).decode
_decode_lines = msgspec.json.Decoder(Raw).decode_lines
_decode_array = msgspec.json.Decoder(list[Raw]).decode


class Split(NamedTuple):
    """What a body holds: the events' bytes untouched, and what could not be taken apart; of each
    rejection its place among all, from 0.
    """

    events: list[bytes]
    rejections: list[Rejection]
    places: Sequence[int] = ()


class BodyLimits(NamedTuple):
    """How many events a body may hold, and how large each may be."""

    batch_events_max: int
    event_bytes_max: int


class Empty(Exception):
    """The body holds nothing."""


class TooMany(Exception):
    """The body holds more events than one request may."""


class Unreadable(Exception):
    """No item of the body can be taken apart; `rejection` is the whole of it."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.failures[0].message)
        self.rejection = rejection


def split_fast(body: bytes, limits: BodyLimits) -> list[bytes] | None:
    """The events of a wholly well-formed body, None when `split` must look closer."""
    first = body[:1]
    try:
        if first == b"{":
            try:
                _decode_one(body)
                events = [body]
            except msgspec.DecodeError:
                events = list(map(bytes, _decode_lines(body)))
        elif first == b"[":
            events = list(map(bytes, _decode_array(body)))
        else:
            return None
    except UNREADABLE:
        return None
    if not events or len(events) > limits.batch_events_max:
        return None
    if len(body) > limits.event_bytes_max and max(map(len, events)) > limits.event_bytes_max:
        return None
    return events


def split(topic: str, body: bytes, limits: BodyLimits) -> Split:
    """The events of a body: one object, an array, or objects one after another (NDJSON).

    Raises Empty, TooMany, or Unreadable when there is not one well-formed item.
    """
    text = body.removeprefix(_BOM).strip(_SPACE)
    if not text:
        raise Empty
    events = split_fast(text, limits)
    if events is not None:
        return Split(events, [])
    if text[0] == _ARRAY:
        items = _items(text, limits)
    elif text[0] == _OBJECT or b"\n" in text:
        items = _objects(text)
    else:
        raise Unreadable(_rejection(topic, text))
    return _judge(topic, text, items, limits)


def split_items(topic: str, items: list[bytes], limits: BodyLimits) -> Split:
    """Items already taken apart (a Segment batch): only their number and sizes are judged."""
    if len(items) > limits.batch_events_max:
        raise TooMany
    if max(map(len, items), default=0) <= limits.event_bytes_max:
        return Split(items, [])
    good = [item for item in items if len(item) <= limits.event_bytes_max]
    bad = [_too_large(topic, item, limits) for item in items if len(item) > limits.event_bytes_max]
    return Split(good, bad)


def _judge(topic: str, body: bytes, items: list[bytes], limits: BodyLimits) -> Split:
    if not items:
        raise Empty
    if len(items) > limits.batch_events_max:
        raise TooMany
    events: list[bytes] = []
    rejections: list[Rejection] = []
    places: list[int] = []
    whole = 0
    for n, item in enumerate(items):
        if item[:1] != b"{" or not _well_formed(item):
            rejections.append(_rejection(topic, item))
            places.append(n)
            continue
        whole += 1
        if len(item) > limits.event_bytes_max:
            rejections.append(_too_large(topic, item, limits))
            places.append(n)
        else:
            events.append(item)
    if not whole:
        raise Unreadable(_rejection(topic, body))
    return Split(events, rejections, places)


def _well_formed(item: bytes) -> bool:
    try:
        _decode_one(item)
    except UNREADABLE:
        return False
    return True


def _objects(text: bytes) -> list[bytes]:
    """One object over several lines, objects one after another, or a line each."""
    if _well_formed(text):
        return [text]
    try:
        return list(map(bytes, _decode_lines(text)))
    except UNREADABLE:
        return [line for raw in text.split(b"\n") if (line := raw.strip(_SPACE))]


def _items(text: bytes, limits: BodyLimits) -> list[bytes]:
    """The items of an array, good or broken; what follows the array is one item more."""
    try:
        return list(map(bytes, _decode_array(text)))
    except UNREADABLE:
        items = []
        for item in _broken_items(text):
            items.append(item)
            if len(items) > limits.batch_events_max:
                raise TooMany from None
        return items


# A string that never ends takes all that is left: one pass, whatever the bytes are.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_OPENS, _CLOSES = b"[{", b"]}"


def _broken_items(text: bytes) -> Iterator[bytes]:
    """Cut at the commas of the outermost array, minding strings and nesting."""
    depth = 0
    start = 1
    for count, token in enumerate(_TOKEN.finditer(text)):
        at = token.start()
        mark = text[at : at + 1]
        if mark in _OPENS:
            depth += 1
        elif mark in _CLOSES:
            depth -= 1
        if depth > _DEPTH_MAX or count > _TOKENS_MAX:
            break
        if depth == 0:
            if item := text[start:at].strip(_SPACE):
                yield item
            start = at + 1
            break
        if mark == b"," and depth == 1:
            yield text[start:at].strip(_SPACE) or b","
            start = at + 1
    if rest := text[start:].strip(_SPACE):
        yield rest


def _rejection(topic: str, item: bytes) -> Rejection:
    try:
        item.decode("utf-8")
    except UnicodeDecodeError as e:
        failure = Failure("encoding", "event", shown(item), f"UTF-8 (byte {e.start} is not)")
    else:
        failure = Failure("json", "event", shown(item), f"a JSON object{_why(item)}")
    return Rejection(topic=topic, failures=[failure], raw=item)


def _why(item: bytes) -> str:
    try:
        _decode_one(item)
    except RecursionError:
        return " of reasonable depth"
    except UNREADABLE as e:
        return f" ({str(e).split(' - at ')[0][:200]})"
    return ""


def _too_large(topic: str, item: bytes, limits: BodyLimits) -> Rejection:
    wanted = f"at most {limits.event_bytes_max} bytes"
    failure = Failure("too_large", "event", f"{len(item)} bytes", wanted)
    return Rejection(topic=topic, failures=[failure], raw=item)
