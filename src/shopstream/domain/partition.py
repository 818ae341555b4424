"""Which shard an event belongs to: decided once, on the way in, from the sender's bytes.

Clicks and cart lines go by user, orders by customer (a guest's by order id), stock by product.
An event that names none of these can only be rejected; it goes to shard 0.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct

from shopstream.domain.failures import UNREADABLE
from shopstream.domain.message import id_text
from shopstream.domain.validation import units_of
from shopstream.events import Entry

_Id = Any
"""Any JSON, so that what a topic doesn't know, or knows as text only, spoils no other field."""


class _UserKey(Struct, gc=False):
    user_id: _Id = None


class _OrderKey(Struct, gc=False):
    customer_id: _Id = None
    order_id: _Id = None


class _ProductKey(Struct, gc=False):
    product_id: _Id = None


class _SegmentKey(Struct, gc=False, rename="camel"):
    user_id: _Id = None
    anonymous_id: _Id = None


class _GaKey(Struct, gc=False):
    user_id: _Id = None
    userId: _Id = None  # noqa: N815  # GA4's own spellings
    client_id: _Id = None
    clientId: _Id = None  # noqa: N815  # the same
    app_instance_id: _Id = None


class _Counted(Struct, gc=False):
    units: int = 1


_counted = msgspec.json.Decoder(_Counted).decode
# Numbers are told as `domain.message` tells them, or a user would be in two shards.
_user_key = msgspec.json.Decoder(_UserKey, float_hook=Decimal).decode
_order_key = msgspec.json.Decoder(_OrderKey, float_hook=Decimal).decode
_product_key = msgspec.json.Decoder(_ProductKey, float_hook=Decimal).decode
_segment_key = msgspec.json.Decoder(_SegmentKey, float_hook=Decimal).decode
_ga_key = msgspec.json.Decoder(_GaKey, float_hook=Decimal).decode


def shard_of_key(key: str, shards: int) -> int:
    """The shard of a user, customer, order or product id."""
    return crc32(key.encode("utf-8", "surrogatepass")) % shards if shards > 1 else 0


def partition_key(topic: str, dialect: str, raw: bytes) -> str:
    """The id an event is sharded by, empty when it has none."""
    try:
        if dialect == "segment":
            envelope = _segment_key(raw)
            found = _first(envelope.user_id, envelope.anonymous_id)
        elif dialect == "ga4":
            ga = _ga_key(raw)
            found = _first(ga.user_id, ga.userId, ga.client_id, ga.clientId, ga.app_instance_id)
        else:
            if topic == "orders":
                order = _order_key(raw)
                found = _first(order.customer_id, order.order_id)
            elif topic == "stock":
                found = _product_key(raw).product_id
            else:
                found = _user_key(raw).user_id
    except (ArithmeticError, *UNREADABLE):
        return ""
    text = id_text(found)
    return text if type(text) is str else ""


def _first(*ids: _Id) -> _Id:
    """The first that is given: 0 is an id, absent and empty are not."""
    return next((found for found in ids if found is not None and found != ""), None)


def split(entry: Entry, shards: int) -> list[Entry | None]:
    """`entry` as each shard sees it, None where a shard gets none of its events."""
    if shards == 1:
        return [entry]
    places: list[list[int]] = [[] for _ in range(shards)]
    if entry.dialect == "rejected":
        places[0] = list(range(len(entry.events)))
    elif entry.dialect == "resolved":
        for i, rejection_id in enumerate(entry.events):
            places[int(rejection_id.partition(b"-")[0]) % shards].append(i)
    else:
        topic, dialect = entry.topic, entry.dialect
        for i, raw in enumerate(entry.events):
            places[shard_of_key(partition_key(topic, dialect, raw), shards)].append(i)
    return [_pick(entry, chosen) for chosen in places]


def split_by_key(
    entry: Entry, *, events_max: int = 500, bytes_max: int = 180 * 1024
) -> list[tuple[str, Entry]]:
    """`entry` cut into parts whose events have one partition key, each with its share of the units.

    Parts of a key come in the order of its events, keys in that of their first. No part has more
    than `events_max` events, nor events of more than `bytes_max` unless it has only one. Events
    without a key, rejections and marks among them, are together under the empty key.
    """
    places: dict[str, list[int]] = {}
    if entry.dialect in ("rejected", "resolved"):
        places[""] = list(range(len(entry.events)))
    else:
        topic, dialect = entry.topic, entry.dialect
        for i, raw in enumerate(entry.events):
            places.setdefault(partition_key(topic, dialect, raw), []).append(i)
    parts = []
    for key, of_key in places.items():
        for chosen in _bounded(entry.events, of_key, events_max, bytes_max):
            if (part := _pick(entry, chosen)) is None:
                continue
            if part is not entry:
                part.units = _units(part, each=len(entry.events) == entry.units)
            parts.append((key, part))
    return parts


def _bounded(
    events: Sequence[bytes], places: Sequence[int], events_max: int, bytes_max: int
) -> Iterator[list[int]]:
    chosen: list[int] = []
    size = 0
    for i in places:
        if chosen and (len(chosen) == events_max or size + len(events[i]) > bytes_max):
            yield chosen
            chosen, size = [], 0
        chosen.append(i)
        size += len(events[i])
    yield chosen


def _units(part: Entry, *, each: bool) -> int:
    if part.dialect == "resolved":
        return 0
    if each:
        return len(part.events)
    if part.dialect == "rejected":
        return sum(_counted(raw).units for raw in part.events)
    return sum(units_of(part.topic, raw, part.on_bad_line) for raw in part.events)


def _pick(entry: Entry, chosen: Sequence[int]) -> Entry | None:
    if not chosen:
        return None
    if len(chosen) == len(entry.events):
        return entry
    part = msgspec.structs.replace(entry, events=[entry.events[i] for i in chosen])
    if entry.lines:
        part.lines = [entry.lines[i] for i in chosen]
    return part
