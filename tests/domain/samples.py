"""Events of each topic as plain data, and what validation says of bytes."""

import json
from typing import Any

from shopstream.domain.failures import Limits, failures_of
from shopstream.domain.validation import read_event
from shopstream.events import Event, Rejection

NOW_US = 1_763_720_000_000_000  # 2025-11-21T10:13:20Z
LIMITS = Limits()
CLICK: dict[str, Any] = {
    "user_id": "u1",
    "event_type": "view",
    "timestamp": "2025-11-21T10:00:00Z",
}
LINE: dict[str, Any] = {"product_id": "p1", "quantity": 2, "unit_price": 3}
ORDER: dict[str, Any] = {
    "order_id": "o1",
    "lines": [LINE],
    "currency": "EUR",
    "status": "placed",
    "timestamp": "2025-11-21T10:00:00Z",
}
CART: dict[str, Any] = {"user_id": "u1", "product_id": "p1", "quantity": 0} | {
    "timestamp": "2025-11-21T10:00:00Z"
}
STOCK: dict[str, Any] = {"product_id": "p1", "stock_on_hand": 3} | {
    "timestamp": "2025-11-21T10:00:00Z"
}


def as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def click(**fields: Any) -> bytes:
    return as_json(CLICK | fields)


def click_with(text: str) -> bytes:
    """A click with fields that json.dumps can't write."""
    return click()[:-1] + b"," + text.encode() + b"}"


def order(**fields: Any) -> bytes:
    return as_json(ORDER | fields)


def order_of(*lines: dict[str, Any], **fields: Any) -> bytes:
    return order(lines=[LINE | line for line in lines], **fields)


def read(raw: bytes, topic: str = "clicks") -> Event | Rejection:
    return read_event(topic, raw, NOW_US, LIMITS)


def reasons(raw: bytes, topic: str = "clicks") -> list[tuple[str, str]]:
    """Every failure's (reason, field), [] when it is accepted. Both paths must agree."""
    found = read(raw, topic)
    failures = failures_of(topic, raw, NOW_US, LIMITS)
    if isinstance(found, Rejection):
        assert found.raw == raw
        assert found.topic == topic
        assert found.failures == (failures or found.failures)
        assert found.failures
        return [(f.reason, f.field) for f in found.failures]
    assert failures == [], "accepted, and yet the slow path finds something wrong"
    return []
