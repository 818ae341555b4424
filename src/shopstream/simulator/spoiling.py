"""Invalid events of many kinds, made of valid ones, as real senders get them wrong."""

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

Event = dict[str, Any]
Spoil = Callable[[Event], Any]

_ID_OF = {"clicks": "user_id", "orders": "order_id", "carts": "user_id", "stock": "product_id"}


def _put(name: str, value: Any) -> Spoil:
    return lambda event: event.update({name: value})


def _drop(name: str) -> Spoil:
    return lambda event: event.pop(name)


def _put_in_line(name: str, value: Any) -> Spoil:
    return lambda event: event["lines"][0].update({name: value})


def _wrong_total(event: Event) -> None:
    event["amount"] = round(event["amount"] + 10, 2)


_TIMES: tuple[Spoil, ...] = (
    _drop("timestamp"),
    _put("timestamp", "yesterday"),
    _put("timestamp", "2026-02-30T12:00:00Z"),
    _put("timestamp", "2026-01-31 12:00:00"),
    _put("timestamp", "2999-01-01T00:00:00Z"),
)
_OWN: dict[str, tuple[Spoil, ...]] = {
    "clicks": (
        _drop("event_type"),
        _put("event_type", "teleport"),
        _put("event_type", "VIEW"),
        _put("device_type", "fridge"),
        _put("price", -5),
        _put("price", "cheap"),
        _put("price", True),
        _put("currency", "XYZ"),
        _put("quantity", 0),
        _put("quantity", 1.5),
        _put("quantity", "two"),
    ),
    "orders": (
        _wrong_total,
        _put("lines", []),
        _drop("lines"),
        _put("currency", "XYZ"),
        _put("currency", "eur"),
        _put("status", "lost"),
        _put("amount", "a lot"),
        _put_in_line("quantity", -1),
        _put_in_line("quantity", 0),
        _put_in_line("unit_price", -1),
        _put_in_line("product_id", ""),
    ),
    "carts": (
        _put("quantity", -1),
        _put("quantity", "one"),
        _drop("quantity"),
        _drop("product_id"),
        _put("unit_price", -0.01),
        _put("currency", "??"),
    ),
    "stock": (
        _put("stock_on_hand", -3),
        _drop("stock_on_hand"),
        _put("stock_on_hand", "many"),
        _put("discontinued", "maybe"),
        _put("reorder_level", -1),
    ),
}


def _spoils_of(topic: str) -> tuple[Spoil, ...]:
    id = _ID_OF[topic]
    ids = (
        _drop(id),
        _put(id, None),
        _put(id, ""),
        _put(id, "x" * 257),
        _put(id, "bell\a"),
        _put(id, 42),
    )
    return (*_OWN[topic], *_TIMES, *ids)


_BROKEN: tuple[Callable[[bytes], bytes], ...] = (
    lambda raw: raw[: len(raw) // 2],
    lambda raw: raw[:-1] + b",}",
    lambda _raw: b"<event/>",
    lambda _raw: b"null",
    lambda raw: raw.replace(b'_id":"', b'_id":"caf\xe9', 1),
)
SPOILS: dict[str, tuple[Spoil, ...]] = {topic: _spoils_of(topic) for topic in _ID_OF}


def spoiled(topic: str, raw: bytes, random: Random) -> bytes:
    """`raw`, a valid event, made invalid in one way; never holds a line break."""
    spoils = SPOILS[topic]
    chosen = int(random.random() * (len(spoils) + len(_BROKEN)))
    if chosen >= len(spoils):
        return _BROKEN[chosen - len(spoils)](raw)
    event = msgspec.json.decode(raw)
    spoils[chosen](event)
    return msgspec.json.encode(event)
