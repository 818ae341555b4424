"""An item of `ports.Tables` as DynamoDB keeps it.

| attribute | holds |
|---|---|
| `pk`, `sk` | the keys; an empty one is NUL, since DynamoDB allows no empty keys |
| `item` | the item: text (S) when it is UTF-8, else binary |
| `z` | instead of `item`: zlib of it, when the plain one would be too large |
| `file` | instead of both: the file of the lake that holds it, when that is too large as well |
| `sum` | beside `z` and `file`: SHA-256 of the item, the same whatever compressed it |
| `expires` | when it may go, epoch seconds: the table's TTL attribute |
| `wait`, `due` | of a user's timers, while any are pending: what the index `due` finds them by |
| `spent` | of a budget: the counter, instead of `item` |

All together must stay below 400 KB by DynamoDB's arithmetic (names and values in UTF-8).
"""

import zlib
from base64 import b64decode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, TypeAlias
from zlib import crc32

from shopstream.domain.orders import ITEM_BYTES_MAX
from shopstream.domain.waiting import read_waiting

Attributes: TypeAlias = dict[str, Any]
"""As the low-level client takes and gives them: `{"pk": {"S": "u1"}, …}`."""

ITEM_FILES = "items/"
"""Where the lake keeps items that are too large for a table."""
DUE_BUCKETS = 8
_US = 1_000_000
_EMPTY = "\0"
_OTHER_BYTES = 256
"""Room for the names of attributes and the small ones among their values."""


def key_of(pk: str, sk: str) -> Attributes:
    return {"pk": {"S": pk or _EMPTY}, "sk": {"S": sk or _EMPTY}}


def text_of(attribute: Mapping[str, Any]) -> str:
    """A key as it was given."""
    text: str = attribute["S"]
    return "" if text == _EMPTY else text


def attributes_of(
    table: str,
    pk: str,
    sk: str,
    item: bytes,
    *,
    keep: Callable[[str, bytes], None],
) -> Attributes:
    """`item` as attributes. `keep` puts a file into the lake: (name, body)."""
    attributes = key_of(pk, sk)
    room = _room(pk, sk)
    if len(item) <= room:
        attributes["item"] = _value(item)
    else:
        digest = sha256(item)
        attributes["sum"] = {"B": digest.digest()}
        if len(packed := zlib.compress(item, 6)) <= room:
            attributes["z"] = {"B": packed}
        else:
            name = f"{ITEM_FILES}{table}/{digest.hexdigest()}"
            keep(name, packed)
            attributes["file"] = {"S": name}
    if table == "timers":
        due_us = read_waiting(item).due_us
        if due_us is not None:
            bucket = crc32(pk.encode()) % DUE_BUCKETS
            attributes["wait"] = {"S": wait_of(sk, bucket)}
            attributes["due"] = {"N": str(due_us)}
    return attributes


def known_by(pk: str, sk: str, item: bytes) -> tuple[str, dict[str, Any]]:
    """The attribute that tells `item` from any other, and its value."""
    if len(item) <= _room(pk, sk):
        return "item", _value(item)
    return "sum", {"B": sha256(item).digest()}


def _room(pk: str, sk: str) -> int:
    return ITEM_BYTES_MAX - _OTHER_BYTES - len(pk.encode()) - len(sk.encode())


def expiring(attributes: Attributes, now_s: int, ttl_s: int | None) -> Attributes:
    """`attributes` with when they may go: `ttl_s` from now, timers from when they are due."""
    if ttl_s is not None:
        due_us = int(attributes.get("due", {"N": "0"})["N"])
        attributes["expires"] = {"N": str(max(now_s, due_us // _US) + ttl_s)}
    return attributes


def item_of(attributes: Mapping[str, Any], fetch: Callable[[str], bytes]) -> bytes:
    """The item that `attributes_of` made attributes of. `fetch` gets a file of the lake."""
    if found := attributes.get("item"):
        text = found.get("S")
        return bytes(found["B"]) if text is None else text.encode()
    if found := attributes.get("z"):
        return zlib.decompress(found["B"])
    if found := attributes.get("file"):
        return zlib.decompress(fetch(found["S"]))
    if found := attributes.get("spent"):
        return str(found["N"]).encode()
    raise KeyError(f"no item in {sorted(attributes)}")


def from_stream(image: Mapping[str, Any]) -> Attributes:
    """The attributes of an image in a table's stream, where binary values come in base64."""
    return {
        name: {"B": b64decode(value["B"])} if isinstance(value.get("B"), str) else value
        for name, value in image.items()
    }


def _value(item: bytes) -> dict[str, Any]:
    try:
        return {"S": item.decode()}
    except UnicodeDecodeError:
        return {"B": item}


def wait_of(kind: str, bucket: int) -> str:
    """A partition of the index `due`: timers of one kind and an eighth of the users."""
    return f"{kind}#{bucket}"
