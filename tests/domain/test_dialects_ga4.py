"""GA4 payloads, of the Measurement Protocol and of the data layer, as our events."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shopstream.domain.dialects import Unreadable, read_ga4, read_segment
from shopstream.events import Click, Order

RECEIVED_US = 1_795_228_000_000_000
"""2026-11-21T02:26:40Z"""

_click = msgspec.json.Decoder(Click).decode
_order = msgspec.json.Decoder(Order).decode

SHIRT = {"item_id": "SKU_1", "item_name": "Shirt", "item_category": "Apparel", "price": 10.01}
HAT = {"item_name": "Hat", "price": 5, "quantity": 3}
PURCHASE = {
    "transaction_id": "T_1",
    "value": 25.01,
    "tax": 4.9,
    "shipping": 5.99,
    "currency": "EUR",
    "items": [SHIRT, HAT],
}


def read(message: dict[str, Any], context: bytes = b"") -> list[Any]:
    return [
        _order(raw) if topic == "orders" else _click(raw)
        for topic, raw in read_ga4(json.dumps(message).encode(), context, RECEIVED_US)
    ]


def protocol(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"client_id": "c.1", "events": list(events)} | more


def event(name: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "params": params}


def faults(message: dict[str, Any] | bytes) -> list[tuple[str, str]]:
    raw = message if isinstance(message, bytes) else json.dumps(message).encode()
    with pytest.raises(Unreadable) as caught:
        read_ga4(raw, b"", RECEIVED_US)
    return [(f.reason, f.field) for f in caught.value.failures]


def test_a_viewed_item_is_a_view_of_it() -> None:
    viewed = event("view_item", currency="eur", value=10.01, items=[SHIRT], session_id=7)
    (click,) = read(protocol(viewed, user_id="u1", timestamp_micros="1795227999123456"))
    assert (click.user_id, click.session_id, click.event_id) == ("u1", "c.1.7", None)
    assert (click.event_type, click.product_id, click.category) == ("view", "SKU_1", "Apparel")
    assert (click.price, click.currency) == (Decimal("10.01"), "EUR")
    assert click.timestamp.isoformat() == "2026-11-21T02:26:39.123456+00:00"
    assert click.extra == {
        "event": "view_item",
        "client_id": "c.1",
        "params": {"value": 10.01, "items": [{"item_name": "Shirt"}]},
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page_view", "view"),
        ("search", "search"),
        ("view_item_list", "click"),
        ("select_item", "click"),
        ("view_item", "view"),
        ("add_to_cart", "add_to_cart"),
        ("remove_from_cart", "remove_from_cart"),
        ("view_cart", "view"),
        ("begin_checkout", "begin_checkout"),
        ("add_payment_info", "begin_checkout"),
        ("refund", "click"),
        ("view_promotion", "click"),
    ],
)
def test_each_event_name_has_its_kind_in_either_dialect(name: str, kind: str) -> None:
    (click,) = read(protocol(event(name)))
    assert click.event_type == kind
    ((_, raw),) = read_segment(
        json.dumps({"type": "track", "userId": "u", "event": name}).encode(), b"", RECEIVED_US
    )
    assert _click(raw).event_type == kind


def test_a_purchase_is_a_click_for_each_item_and_a_paid_order() -> None:
    shirt, hat, order = read(protocol(event("purchase", **PURCHASE)))
    assert (shirt.event_type, shirt.product_id, shirt.order_id) == ("purchase", "SKU_1", "T_1")
    assert (hat.product_id, hat.quantity, hat.price) == ("Hat", 3, 5)
    assert (order.order_id, order.customer_id, order.status) == ("T_1", "c.1", "paid")
    assert order.amount == Decimal("35.90")
    assert [(n.product_id, n.name, n.quantity) for n in order.lines] == [
        ("SKU_1", "Shirt", 1),
        ("Hat", "Hat", 3),
    ]


def test_a_refund_of_items_is_a_refunded_order_and_without_items_a_click() -> None:
    (order,) = read(protocol(event("refund", **PURCHASE)))
    assert order.status == "refunded"
    (click,) = read(protocol(event("refund", transaction_id="T_1", value=3)))
    assert (click.event_type, click.order_id) == ("click", "T_1")
    assert click.extra["params"] == {"value": 3}


def test_each_item_put_in_the_cart_is_a_click_and_the_first_keeps_the_rest() -> None:
    added = event("add_to_cart", currency="EUR", items=[SHIRT, SHIRT])
    one, other = read(protocol(added, event_id="e1", user_properties={"tier": {"value": "x"}}))
    assert (one.event_id, other.event_id) == ("e1#1", "e1#2")
    assert one.extra["user_properties"] == {"tier": {"value": "x"}}
    assert other.extra["line"] == 2
    assert "user_properties" not in other.extra


def test_one_message_may_hold_several_events_each_with_its_time() -> None:
    later = event("begin_checkout") | {"timestamp_micros": RECEIVED_US - 1}
    message = protocol(event("view_cart"), later, event_id="e", timestamp_micros=RECEIVED_US - 2)
    clicks = read(message)
    assert [c.event_id for c in clicks] == ["e#1", "e#2"]
    assert [c.timestamp.microsecond for c in clicks] == [999_998, 999_999]


def test_device_place_page_and_consent_are_read() -> None:
    params = {"page_location": "https://shop.example/p/1", "page_referrer": "https://example.org/"}
    (click,) = read(
        protocol(
            event("page_view", **params),
            device={"category": "mobile", "browser": "Chrome", "model": "Pixel 9"},
            user_location={"city": "Wien", "country_id": "AT"},
            consent={"ad_user_data": "GRANTED", "ad_personalization": "DENIED"},
        )
    )
    assert (click.device_type, click.browser, click.location) == ("mobile", "Chrome", "AT")
    assert (click.page, click.referrer_url) == tuple(params.values())
    assert click.consent == {"ad_user_data": True, "ad_personalization": False}
    assert click.extra["user_location"] == {"city": "Wien"}


def test_a_push_of_the_data_layer_is_read() -> None:
    push = {"event": "add_to_cart", "ecommerce": {"currency": "EUR", "items": [HAT], "value": 15}}
    (click,) = read(push | {"user_id": 5, "timestamp": "2026-11-21T02:00:00Z", "event_id": "e1"})
    assert (click.user_id, click.event_type, click.event_id) == ("5", "add_to_cart", "e1")
    assert (click.product_id, click.quantity, click.currency) == ("Hat", 3, "EUR")
    assert click.timestamp.isoformat() == "2026-11-21T02:00:00+00:00"
    assert click.extra == {
        "event": "add_to_cart",
        "ecommerce": {"value": 15, "items": [{"item_name": "Hat"}]},
    }


def test_what_the_message_lacks_comes_from_its_context() -> None:
    (click,) = read({"event": "view_cart", "user_id": "own"}, b'{"user_id":"x","session_id":"s"}')
    assert (click.user_id, click.session_id) == ("own", "own.s")


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ({}, [("missing", "client_id"), ("unknown_event", "event")]),
        ({"client_id": "c", "events": []}, [("missing", "events")]),
        ({"client_id": "c", "events": None}, [("missing", "events")]),
        ({"client_id": "c", "events": "x"}, [("type", "events")]),
        ({"events": [7]}, [("missing", "client_id"), ("type", "events[0]")]),
        (
            protocol({"name": 1, "params": []}),
            [("type", "events[0].params"), ("unknown_event", "events[0].name")],
        ),
        (protocol(event("purchase")), [("lines", "events[0].params.products")]),
        (protocol(event("view_item", items={})), [("type", "events[0].params.items")]),
        (
            protocol(event("search"), timestamp_micros=10**18),
            [("timestamp", "timestamp_micros")],
        ),
        ({"event": "view_item", "user_id": [], "ecommerce": 3}, [("type", "user_id")]),
    ],
)
def test_a_message_of_the_wrong_shape_is_refused(
    message: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    found = faults(message)
    for (reason, field), (found_reason, found_field) in zip(wanted, found, strict=False):
        assert reason == found_reason
        assert found_field.startswith(field)


def test_every_event_of_a_message_that_is_wrong_is_named() -> None:
    found = faults(protocol({"name": ""}, event("purchase"), {"name": "x", "params": 1}))
    assert [field.partition(".")[0] for _, field in found] == [
        *("events[0]", "events[2]", "events[1]")
    ]


def test_sessions_of_two_clients_that_began_in_one_second_are_two() -> None:
    """And one client's session stays one when its user logs in."""
    seen = event("page_view", session_id=1795227999)
    (first,) = read(protocol(seen, client_id="c1"))
    (later,) = read(protocol(seen, client_id="c1", user_id="u1"))
    (other,) = read(protocol(seen, client_id="c2"))
    assert first.session_id == later.session_id == "c1.1795227999"
    assert other.session_id == "c2.1795227999"
