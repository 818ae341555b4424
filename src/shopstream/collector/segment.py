"""Taking Segment requests apart: one message, or a batch under one envelope."""

from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from shopstream.domain.failures import UNREADABLE

BATCH = "batch"
MESSAGE_TYPES = {
    "track": "track",
    "page": "page",
    "identify": "identify",
    "screen": "screen",
    "group": "group",
    "alias": "alias",
    "t": "track",
    "p": "page",
    "i": "identify",
    "batch": BATCH,
    "b": BATCH,
}


class _Batch(Struct, gc=False):
    batch: list[Raw]
    context: Raw = Raw()
    sent_at: Raw = msgspec.field(default=Raw(), name="sentAt")
    write_key: Any = msgspec.field(default=None, name="writeKey")


class _Message(Struct, gc=False):
    type: Any = None
    write_key: Any = msgspec.field(default=None, name="writeKey")

    @property
    def key(self) -> str:
        return self.write_key if isinstance(self.write_key, str) else ""


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode


class Messages(NamedTuple):
    """Messages untouched, their envelope as JSON, and the keys that were in the body."""

    events: list[bytes]
    context: bytes
    keys: list[str]


def read_messages(message_type: str, body: bytes, *, want_keys: bool) -> Messages | None:
    """The messages in a body, None when it isn't one of that kind.

    A message without a type gets that of the address it was sent to. `want_keys` looks for write
    keys in the items too: then there is one for each item, "" where it has none.
    """
    try:
        if message_type != BATCH:
            return _single(message_type, body)
        batch = _decode_batch(body)
        events = list(map(bytes, batch.batch))
        if isinstance(batch.write_key, str):
            keys = [batch.write_key]
        else:
            keys = [_item_key(event) for event in events] if want_keys else []
        return Messages(events, _envelope(batch), keys)
    except UNREADABLE:
        return None


def _single(message_type: str, body: bytes) -> Messages:
    message = _decode_message(body)
    if message.type is None:
        fields = msgspec.json.decode(body, type=dict[str, Raw])
        body = _encode({**fields, "type": message_type})
    return Messages([body], b"", [message.key] if message.key else [])


def _item_key(event: bytes) -> str:
    try:
        return _decode_message(event).key
    except UNREADABLE:
        return ""


def _envelope(batch: _Batch) -> bytes:
    fields = {"context": batch.context, "sentAt": batch.sent_at}
    given = {name: raw for name, raw in fields.items() if bytes(raw)}
    return _encode(given) if given else b""
