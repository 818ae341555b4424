"""What travels in Kinesis records and SQS messages.

Three forms, told apart by how they begin:

- `SE1`: our own. zlib of msgpack of (record id, `events.Entry`); in SQS, which takes only text,
  that in base64.
- `SC1`: a claim check. The name of a file in the lake's bucket that holds the first form, for what
  is larger than the limit.
- anything else: events of our own dialect as anybody's AWS SDK may send them, one object, an array
  of them or one a line. What is none of these goes to the quarantine.
"""

import zlib
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable
from typing import NamedTuple
from uuid import uuid4

import msgspec
from msgspec import Struct

from shopstream.collector.splitting import BodyLimits, Empty, TooMany, Unreadable, split
from shopstream.domain.failures import shown
from shopstream.domain.partition import split_by_key
from shopstream.domain.validation import units_of
from shopstream.errors import DataDirError
from shopstream.events import Entry, Failure, OnBadLine, Rejection

ENTRY, CLAIM = b"SE1", b"SC1"
CLAIMS = "claims/"
"""Where the lake keeps what claim checks name."""
INFLATED_BYTES_MAX = 64 * 1024 * 1024
REJECTED = "rejected"


class Record(NamedTuple):
    """Events of one partition key that were sent together.

    `record_id` is the sender's, so that what is sent twice (an answer got lost) is known to be the
    same; for events sent by others it is that of the Kinesis record or SQS message.
    """

    record_id: str
    entry: Entry


class Raw(NamedTuple):
    """How to take events that come without an envelope of ours."""

    topic: str
    source: str
    received_us: int
    record_id: str
    limits: BodyLimits
    on_bad_line: OnBadLine = "reject_order"


class _Sent(Struct, array_like=True, gc=False):
    record_id: str
    entry: Entry


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Sent).decode
_encode_json = msgspec.json.Encoder().encode


def new_record_id() -> str:
    """An id that no other record has."""
    return uuid4().hex


def pack(record: Record) -> bytes:
    """A record as Kinesis and S3 take it."""
    return ENTRY + zlib.compress(_encode(_Sent(*record)), 1)


def as_text(packed: bytes) -> str:
    """What `pack` or `claim_check` made as SQS takes it."""
    if packed.startswith(ENTRY):
        return (ENTRY + b64encode(packed[len(ENTRY) :])).decode()
    return packed.decode()


def from_text(text: str) -> bytes:
    """The bytes that `read` takes, of an SQS message's body."""
    body = text.encode("utf-8", "surrogatepass")
    if body.startswith(ENTRY):
        try:
            return ENTRY + b64decode(body[len(ENTRY) :], validate=True)
        except NotBase64:
            return body
    return body


def claim_name(record: Record) -> str:
    """Under which name the lake keeps a packed record."""
    return f"{CLAIMS}{record.record_id}"


def claim_check(name: str) -> bytes:
    return CLAIM + name.encode()


def is_raw(body: bytes) -> bool:
    """Whether events come as somebody else sent them, without an id of the record."""
    return not body.startswith((ENTRY, CLAIM))


def given_up(body: bytes, raw: Raw, why: str) -> Record:
    """A message that is not to be read any more, as a record of one rejection."""
    wanted = f"a message that can be read ({why})"
    failure = Failure("poison", "message", "this message", wanted)
    return _rejected([Rejection(topic=raw.topic, failures=[failure], raw=body)], raw, "r")


def read(body: bytes, raw: Raw, fetch: Callable[[str], bytes]) -> list[Record]:
    """The records in a message: one of ours, or one for each partition key of somebody else's.

    `fetch` gives a file of the lake. Bad bytes raise nothing: they come as a rejection. Raises
    DataDirError when a claim check names a file that is gone, and what `fetch` raises.
    """
    if body.startswith(CLAIM):
        name = body[len(CLAIM) :].decode("utf-8", "replace")
        if not name.startswith(CLAIMS):
            return [_refused(body, raw, f"a claim check that names a file under {CLAIMS}")]
        body = fetch(name)
        if not body.startswith(ENTRY):
            raise DataDirError(f"{name} is no record that was sent to the log")
    if body.startswith(ENTRY):
        try:
            sent = _decode(_inflate(body[len(ENTRY) :]))
        except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, ValueError) as e:
            return [_refused(body, raw, f"a whole record of shopstream's ({e})")]
        return [Record(sent.record_id, sent.entry)]
    return _read_raw(body, raw)


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(data, INFLATED_BYTES_MAX)
    if not inflater.eof:
        raise ValueError(f"it is cut off or has more than {INFLATED_BYTES_MAX:,} bytes")
    return inflated


def _read_raw(body: bytes, raw: Raw) -> list[Record]:
    try:
        found = split(raw.topic, body, raw.limits)
    except Unreadable as e:
        return [_rejected([e.rejection], raw, "r")]
    except Empty:
        return [_refused(body, raw, "events")]
    except TooMany:
        return [_refused(body, raw, f"at most {raw.limits.batch_events_max} events")]
    records = []
    if found.events:
        entry = Entry(
            topic=raw.topic,
            events=found.events,
            source=raw.source,
            received_us=raw.received_us,
            units=sum(units_of(raw.topic, event, raw.on_bad_line) for event in found.events),
            on_bad_line=raw.on_bad_line,
        )
        parts = split_by_key(entry)
        records = [
            Record(raw.record_id if n == 0 else f"{raw.record_id}-{n}", part)
            for n, (_, part) in enumerate(parts)
        ]
    if found.rejections:
        records.append(_rejected(found.rejections, raw, "r"))
    return records


def _refused(body: bytes, raw: Raw, wanted: str) -> Record:
    failure = Failure("encoding", "message", shown(body), wanted)
    return _rejected([Rejection(topic=raw.topic, failures=[failure], raw=body)], raw, "r")


def _rejected(rejections: list[Rejection], raw: Raw, suffix: str) -> Record:
    entry = Entry(
        topic=raw.topic,
        events=[_encode_json(rejection) for rejection in rejections],
        source=raw.source,
        received_us=raw.received_us,
        units=sum(rejection.units for rejection in rejections),
        dialect=REJECTED,
    )
    return Record(f"{raw.record_id}-{suffix}", entry)
