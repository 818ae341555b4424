"""What the faults are tried on: a day of a small shop, the same every time.

Every kind of effect is in it: clicks with and without ids, duplicates, conflicts, carts that are
bought or left, orders small, large, too large for the table and wrong, stock that runs low, Segment
and GA4 messages, bodies that are no JSON, history. And, for a processor that fails on them, poison.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from shopstream.events import Entry, Failure, Rejection

BEGAN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

RULES = """
[[rule]]
name = "viewed-twice"
on = ["view"]
count = 2
same = "product"
within = "24h"
without = ["purchase"]
offer = { percent = 10, expires = "24h" }
holdout = 0.3

[[rule]]
name = "cart-left"
on = ["add_to_cart"]
same = "cart"
idle = "30m"
without = ["purchase"]
offer = { percent = 10, expires = "48h" }
cooldown = "1h"

[[rule]]
name = "first-searchers"
on = ["search"]
same = "any"
offer = { amount = 5, currency = "EUR", expires = "24h" }
budget_per_day = 3
"""


class Request(NamedTuple):
    """One request to the collector. `ids` names the good events in it that have ids."""

    path: str
    body: bytes
    ids: tuple[tuple[str, str], ...] = ()


def click(minute: float, user: str, event_type: str, event_id: str = "", **more: Any) -> bytes:
    values = {"user_id": user, "event_type": event_type, "timestamp": _at(minute), **more}
    return _json(values | ({"event_id": event_id} if event_id else {}))


def order(minute: float, order_id: str, *, customer: str = "", **more: Any) -> bytes:
    values: dict[str, Any] = {
        "order_id": order_id,
        "lines": [{"product_id": "p1", "quantity": 2, "unit_price": 20.5}],
        "currency": "EUR",
        "status": "placed",
        "timestamp": _at(minute),
    }
    return _json(values | ({"customer_id": customer} if customer else {}) | more)


def large_order(minute: float, order_id: str, customer: str) -> bytes:
    """An order of 450 KB, which is over what an item may hold and so goes to the archive."""
    return order(minute, order_id, customer=customer, payload={"note": "x" * 450_000})


def stock(minute: float, product: str, on_hand: int, event_id: str) -> bytes:
    return _json(
        {"event_id": event_id, "product_id": product, "stock_on_hand": on_hand,
         "reorder_level": 5, "timestamp": _at(minute)}
    )  # fmt: skip


def cart_line(minute: float, user: str, quantity: int, event_id: str) -> bytes:
    return _json(
        {"event_id": event_id, "user_id": user, "cart_id": f"c-{user}", "product_id": "p2",
         "quantity": quantity, "unit_price": 12, "currency": "EUR", "timestamp": _at(minute)}
    )  # fmt: skip


def rounds(count: int) -> Iterator[Request]:
    """`count` quarters of an hour of the shop, about ten requests each."""
    for n in range(count):
        yield from _round(n, 15.0 * n)


def _round(n: int, minute: float) -> Iterator[Request]:
    u, other = f"u{n}", f"u{n}-other"
    yield _clicks(
        (u, f"v{n}", click(minute, u, "view", f"v{n}", product_id="p1", price=40)),
        (u, "", click(minute + 1, u, "view", product_id="p1", price=40)),
        (other, f"w{n}", click(minute + 1, other, "search", f"w{n}")),
    )
    known = {"session_id": f"s{n}", "user_type": "returning", "product_id": "p3"}
    complete = [
        (u, f"{i}f{n}", click(minute + 1, u, "view", f"{i}f{n}", **known)) for i in range(3)
    ]
    yield _clicks(*complete)
    yield _clicks(
        ("", "", complete[0][2]), (u, f"g{n}", click(minute, u, "click", f"g{n}", **known))
    )
    added = click(minute + 2, u, "add_to_cart", f"a{n}", product_id="p1", cart_id=f"c{n}")
    yield _clicks((u, f"a{n}", added))
    yield _clicks(("", "", added))
    yield _clicks(("", "", click(minute + 2, u, "view", f"v{n}", product_id="other")))
    yield _one("orders", order(minute + 3, f"o{n}", customer=other))
    match n % 6:
        case 0:
            yield _one("orders", large_order(minute + 4, f"big{n}", other))
            yield _one("stock", stock(minute + 4, f"s{n}", 3, f"k{n}"))
        case 1:
            yield _one("orders", order(minute + 4, f"bad{n}", amount=99))
            yield Request("/v1/events/clicks", b"{no json")
        case 2:
            bought = order(minute + 5, f"of-cart{n}", customer=u, amount=41)
            yield _one("orders", bought)
            yield _one("carts", cart_line(minute + 5, other, 2, f"l{n}"))
        case 3:
            lines = [{"product_id": "p9", "quantity": 40, "unit_price": 50}]
            yield _one("orders", order(minute + 4, f"rich{n}", lines=lines))
            yield _one("clicks", click(minute + 4, u, "no such thing", f"x{n}"))
        case 4:
            yield Request("/v1/batch", _segment(n, minute + 4))
            yield _one("orders", order(minute + 4, f"none{n}", lines=[]))
        case _:
            yield Request("/v1/events/clicks?dialect=ga4", _ga4(n, minute + 4))
            yield _one("stock", stock(minute + 4, f"s{n - 5}", 30, f"k{n}"))


def poison(count: int) -> Iterator[list[Entry]]:
    """Rows in which events that `tests.faults.poisoned` fails on stand among good ones."""
    for n in range(count):
        bad = [
            click(n, f"u{n}", "view", f"poison-rule{n}", product_id="p1"),
            click(n, f"u{n}", "search", f"poison-decoder{n}"),
        ]
        good = [click(n, f"u{n}", "view", f"beside{n}-{i}", product_id="p1") for i in range(3)]
        events = [good[0], bad[n % 2], good[1], good[2]]
        yield [_entry(Request("/v1/events/clicks", b"\n".join(events)), n)]


def entries(count: int) -> Iterator[list[Entry]]:
    """The same as rows for the log, one for each request, at fixed times; a third is history."""
    for number, request in enumerate(rounds(count)):
        yield [_entry(request, number)]


def _entry(request: Request, number: int) -> Entry:
    topic, dialect = "clicks", "shopstream"
    path, _, query = request.path.partition("?")
    events = request.body.split(b"\n")
    if path == "/v1/batch":
        dialect, events = "segment", [_json(m) for m in json.loads(request.body)["batch"]]
    elif query:
        dialect = "ga4"
    else:
        topic = path.rpartition("/")[2]
    if request.body == b"{no json":
        failure = Failure("json", "body", "{no json", "JSON")
        rejection = Rejection(topic=topic, failures=[failure], raw=request.body)
        dialect, events = "rejected", [_rejection(rejection)]
    received = BEGAN + timedelta(hours=12, seconds=number)
    return Entry(
        topic=topic,
        events=events,
        source="http",
        received_us=int(received.timestamp() * 1e6),
        units=len(events),
        dialect=dialect,
        historical=number % 3 == 2,
    )


def _rejection(rejection: Rejection) -> bytes:
    return msgspec.json.encode(rejection)


def _clicks(*found: tuple[str, str, bytes]) -> Request:
    body = b"\n".join(raw for _, _, raw in found)
    return Request("/v1/events/clicks", body, tuple((u, i) for u, i, _ in found if i))


def _one(topic: str, raw: bytes) -> Request:
    return Request(f"/v1/events/{topic}", raw)


def _segment(n: int, minute: float) -> bytes:
    products = [{"product_id": "p1", "price": 10, "quantity": 1}]
    messages = [
        {"type": "track", "event": "Product Viewed", "messageId": f"m{n}", "userId": f"u{n}",
         "properties": products[0], "timestamp": _at(minute)},
        {"type": "track", "event": "Order Completed", "messageId": f"n{n}", "userId": f"u{n}",
         "timestamp": _at(minute + 1),
         "properties": {"order_id": f"seg{n}", "total": 10, "currency": "EUR",
                        "products": products}},
    ]  # fmt: skip
    return _json({"batch": messages})


def _ga4(n: int, minute: float) -> bytes:
    item = {"item_id": "p1", "price": 10, "quantity": 1}
    params = {"currency": "EUR", "value": 10, "items": [item]}
    micros = int((BEGAN + timedelta(minutes=minute)).timestamp() * 1e6)
    return _json(
        {"client_id": f"u{n}", "timestamp_micros": micros, "event_id": f"ga{n}",
         "events": [{"name": "view_item", "params": params}]}
    )  # fmt: skip


def _at(minute: float) -> str:
    return (BEGAN + timedelta(minutes=minute)).isoformat()


def _json(values: Any) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()
