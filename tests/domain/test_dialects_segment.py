"""Segment's calls and its v2 ecommerce events, as our events."""

import base64
import gzip
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shopstream.domain.dialects import Unreadable, read_segment
from shopstream.domain.segment import CONTEXT_BYTES_MAX
from shopstream.events import Click, Order

RECEIVED_US = 1_795_228_000_000_000
"""2026-11-21T02:26:40Z"""
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RECORDINGS = Path(os.environ.get("SHOPSTREAM_TEST_DATA", DATA)) / "sdk"

_click = msgspec.json.Decoder(Click).decode
_order = msgspec.json.Decoder(Order).decode


def read(
    message: dict[str, Any], context: dict[str, Any] | None = None, at: int = RECEIVED_US
) -> list[Any]:
    around = json.dumps(context).encode() if context else b""
    return [
        _order(raw) if topic == "orders" else _click(raw)
        for topic, raw in read_segment(json.dumps(message).encode(), around, at)
    ]


def track(event: str, properties: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    told = {"type": "track", "messageId": "m1", "userId": "u1", "event": event}
    return told | {"properties": properties or {}} | more


def only(message: dict[str, Any], context: dict[str, Any] | None = None) -> Any:
    (event,) = read(message, context)
    return event


def faults(raw: bytes | dict[str, Any], context: bytes = b"") -> list[tuple[str, str]]:
    raw = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    with pytest.raises(Unreadable) as caught:
        read_segment(raw, context, RECEIVED_US)
    assert all(f.message for f in caught.value.failures)
    return [(f.reason, f.field) for f in caught.value.failures]


MONOPOLY = {"product_id": "507f", "sku": "45790-32", "name": "Monopoly", "category": "Games"}
UNO = {"product_id": "505b", "sku": "46493-32", "name": "Uno", "category": "Games"}
COMPLETED = {
    "checkout_id": "c9",
    "order_id": "o1",
    "total": 27.5,
    "subtotal": 22.5,
    "revenue": 25,
    "shipping": 3,
    "tax": 2,
    "discount": 2.5,
    "currency": "usd",
    "products": [MONOPOLY | {"price": 19, "quantity": 1}, UNO | {"price": 3, "quantity": 2}],
}


def recorded() -> Iterator[tuple[str, bytes, bytes]]:
    for file in sorted(RECORDINGS.glob("*.json")):
        for request in json.loads(file.read_text())["requests_when_answered_200"]:
            if request["method"] != "POST":
                continue
            body = request["body_json"]
            if request["body_base64"]:
                packed = base64.b64decode(request["body_base64"])
                assert json.loads(gzip.decompress(packed)) == body
            around: dict[str, Any] = {
                k: body[k] for k in ("context", "sentAt") if k in body and "batch" in body
            }
            for item in body.get("batch", [body]):
                yield file.stem, json.dumps(item).encode(), json.dumps(around).encode()


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings: set SHOPSTREAM_TEST_DATA")
def test_every_recorded_message_of_every_sdk_becomes_events() -> None:
    kinds: dict[str, list[str]] = {}
    for sdk, raw, context in recorded():
        for topic, event in read_segment(raw, context, RECEIVED_US):
            decoded = _order(event) if topic == "orders" else _click(event)
            kinds.setdefault(sdk, []).append(getattr(decoded, "event_type", topic))
            user = decoded.customer_id if isinstance(decoded, Order) else decoded.user_id
            assert user == "u_1001" or (decoded.extra or {})["type"] == "page"
    assert len(kinds) == 7
    for sdk, told in kinds.items():
        assert {"view", "add_to_cart", "purchase", "orders"} <= set(told), sdk
        assert told.count("purchase") == 2 * told.count("orders"), sdk


def test_a_viewed_product_is_a_view_of_it() -> None:
    click = only(
        track(
            "Product Viewed",
            MONOPOLY | {"price": 18.99, "quantity": 1, "currency": "usd", "brand": "Hasbro"},
            timestamp="2026-11-21T02:00:00Z",
            anonymousId="a1",
        )
    )
    assert (click.event_type, click.product_id, click.category) == ("view", "507f", "Games")
    assert (click.price, click.quantity, click.currency) == (Decimal("18.99"), 1, "USD")
    assert (click.event_id, click.user_id) == ("m1", "u1")
    assert click.timestamp.isoformat() == "2026-11-21T02:00:00+00:00"
    assert click.extra == {
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": "a1",
        "properties": {"sku": "45790-32", "name": "Monopoly", "brand": "Hasbro"},
    }


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("Products Searched", "search"),
        ("Product List Viewed", "click"),
        ("Product Clicked", "click"),
        ("product viewed", "view"),
        ("Product Added", "add_to_cart"),
        ("Product Removed", "remove_from_cart"),
        ("Cart Viewed", "view"),
        ("Checkout Started", "begin_checkout"),
        ("Checkout Step Viewed", "begin_checkout"),
        ("Checkout Step Completed", "begin_checkout"),
        ("Payment Info Entered", "begin_checkout"),
        ("Promotion Viewed", "click"),
        ("Product Added to Wishlist", "click"),
        ("add_to_cart", "add_to_cart"),
    ],
)
def test_each_event_name_has_its_kind(event: str, kind: str) -> None:
    assert only(track(event)).event_type == kind


def test_a_viewed_cart_is_a_view_of_the_page_cart() -> None:
    click = only(track("Cart Viewed", {"cart_id": 7, "products": [MONOPOLY]}))
    assert (click.page, click.cart_id) == ("cart", "7")
    assert click.extra["properties"] == {"products": [MONOPOLY]}


def test_an_event_that_nobody_defined_keeps_all_its_properties() -> None:
    properties = {"category": 3, "price": [], "quantity": -1, "stars": 4.50}
    click = only(track("Product Reviewed", properties))
    assert (click.event_type, click.price, click.product_id) == ("click", None, None)
    assert click.extra["properties"] == properties


def test_a_completed_order_is_a_purchase_of_each_product_and_a_paid_order() -> None:
    first, second, order = read(track("Order Completed", COMPLETED, anonymousId="a1"))
    assert [first.event_id, second.event_id] == ["m1#1", "m1#2"]
    assert first.event_type == second.event_type == "purchase"
    assert (second.product_id, second.price, second.quantity) == ("505b", Decimal(3), 2)
    assert (second.order_id, second.currency) == ("o1", "USD")
    assert (order.order_id, order.customer_id, order.status) == ("o1", "u1", "paid")
    assert (order.amount, order.currency) == (Decimal("27.5"), "USD")
    assert (order.shipping, order.tax, order.discount) == (3, 2, Decimal("2.5"))
    assert [(n.line, n.product_id, n.name, n.quantity, n.unit_price) for n in order.lines] == [
        (1, "507f", "Monopoly", 1, 19),
        (2, "505b", "Uno", 2, 3),
    ]
    assert order.extra == {
        "type": "track",
        "event": "Order Completed",
        "anonymousId": "a1",
        "properties": {"checkout_id": "c9", "subtotal": 22.5, "revenue": 25},
    }


@pytest.mark.parametrize(
    ("without", "amount"),
    [
        (["total"], "27.5"),
        (["total", "subtotal"], "27.5"),
        (["total", "subtotal", "discount"], "30"),
        (["total", "subtotal", "revenue"], None),
    ],
)
def test_an_order_without_a_total_comes_to_its_other_sums(
    without: list[str], amount: str | None
) -> None:
    properties = {k: v for k, v in COMPLETED.items() if k not in without}
    order = read(track("Order Completed", properties))[-1]
    assert order.amount == (None if amount is None else Decimal(amount))


def test_a_sum_that_is_not_written_as_a_number_is_not_one() -> None:
    properties = {k: v for k, v in COMPLETED.items() if k not in ("total", "subtotal")}
    order = read(track("Order Completed", properties | {"revenue": "2_5"}))[-1]
    assert order.amount is None


def test_a_total_that_differs_from_the_lines_is_passed_on_as_it_is() -> None:
    assert read(track("Order Completed", COMPLETED | {"total": "99.90"}))[-1].amount == Decimal(
        "99.90"
    )


@pytest.mark.parametrize(
    ("event", "status"),
    [("Order Updated", "placed"), ("Order Cancelled", "cancelled"), ("Order Refunded", "refunded")],
)
def test_what_becomes_of_an_order_is_an_order_of_that_status(event: str, status: str) -> None:
    order = only(track(event, COMPLETED))
    assert (order.status, len(order.lines)) == (status, 2)


def test_a_refund_without_products_is_a_click_with_its_facts() -> None:
    click = only(track("Order Refunded", {"order_id": 77, "total": 30, "currency": "eur"}))
    assert (click.event_type, click.order_id, click.currency) == ("click", "77", "EUR")
    assert click.extra["properties"] == {"total": 30}


def test_two_equal_lines_of_an_order_without_an_id_stay_two() -> None:
    monopoly = MONOPOLY | {"price": 19}
    twice = COMPLETED | {"products": [monopoly, monopoly]}
    one, other, _ = read({**track("Order Completed", twice), "messageId": None})
    assert one.event_id is other.event_id is None
    assert one != other


@pytest.mark.parametrize("digits", ["0.1", "18.990", "1234567890123456789.123456789", "1e-7"])
def test_no_digit_of_a_number_is_lost(digits: str) -> None:
    raw = json.dumps(track("Product Viewed", {"price": 1, "rating": 2})).encode()
    raw = raw.replace(b'"price": 1', b'"price": ' + digits.encode())
    raw = raw.replace(b'"rating": 2', b'"rating": ' + digits.encode())
    ((_, event),) = read_segment(raw, b"", RECEIVED_US)
    assert _click(event).price == Decimal(digits)
    exact = msgspec.json.Decoder(float_hook=Decimal).decode(event)
    assert exact["extra"]["properties"]["rating"] == Decimal(digits)


@pytest.mark.parametrize("quantity", [2, 2.0, "2"])
def test_a_whole_quantity_is_one_however_it_is_written(quantity: Any) -> None:
    assert only(track("Product Added", {"quantity": quantity})).quantity == 2


def test_ids_sent_as_numbers_become_text() -> None:
    click = only(track("Product Viewed", {"product_id": 632910392}, userId=97980))
    assert (click.user_id, click.product_id) == ("97980", "632910392")


def test_a_visitor_without_a_user_id_goes_by_the_anonymous_id() -> None:
    click = only(track("Product Viewed", userId=None, anonymousId="a1"))
    assert click.user_id == "a1"
    assert click.extra == {"type": "track", "event": "Product Viewed"}
    assert read(track("Order Completed", COMPLETED, userId="", anonymousId="a1"))[-1].customer_id


CONTEXT = {
    "ip": "8.8.8.8",
    "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1",
    "locale": "de-AT",
    "page": {"path": "/p/1", "referrer": "https://example.org/", "title": "One"},
    "sessionId": 1_695_000_000,
    "consent": {"categoryPreferences": {"ads": False, "analytics": True}},
}


def test_the_context_tells_where_the_visitor_was_and_with_what() -> None:
    click = only(track("Product Viewed", context=CONTEXT))
    assert (click.browser, click.device_type, click.location) == ("Safari", "mobile", "AT")
    assert (click.page, click.referrer_url) == ("/p/1", "https://example.org/")
    assert (click.session_id, click.consent) == ("1695000000", {"ads": False, "analytics": True})
    assert click.extra["context"]["page"] == {"title": "One"}
    assert click.extra["context"]["ip"] == "8.8.8.8"


def test_a_country_that_is_said_beats_that_of_the_locale() -> None:
    context = CONTEXT | {"location": {"country": "Italy"}}
    assert only(track("Product Viewed", context=context)).location == "Italy"


@pytest.mark.parametrize(
    ("context", "device"),
    [
        ({"device": {"type": "Tablet"}}, "tablet"),
        ({"device": {"type": "ios", "model": "iPhone15,2"}}, "mobile"),
        ({"device": {"type": "ios", "model": "iPad13,4"}}, "tablet"),
        ({"device": {"type": "fridge"}, "userAgentData": {"mobile": True}}, "mobile"),
        ({"userAgentData": {"mobile": False}}, "desktop"),
        ({"userAgent": "analytics-node/3.0"}, None),
    ],
)
def test_the_device_is_told_by_its_type_the_hints_or_the_agent(
    context: dict[str, Any], device: str | None
) -> None:
    assert only(track("Product Viewed", context=context)).device_type == device


def test_odd_context_stays_where_it_was() -> None:
    context: dict[str, Any] = {
        "page": {"path": 7},
        "userAgent": None,
        "locale": [],
        "consent": {"x": 1},
    }
    context |= {"device": [], "location": "Rome", "userAgentData": {"mobile": "no"}}
    assert only(track("Product Viewed", context=context)).extra["context"] == context


@pytest.mark.parametrize("call", ["page", "screen"])
def test_a_page_or_screen_is_a_view(call: str) -> None:
    click = only({"type": call, "userId": "u", "name": "Home", "properties": {"path": "/"}})
    assert (click.event_type, click.page, click.extra["name"]) == ("view", "/", "Home")
    unnamed = only({"type": "screen", "userId": "u", "name": "Home"})
    assert unnamed.page == "Home"


URL = "https://shop.example/a?utm_source=x#top"


@pytest.mark.parametrize(
    ("properties", "page", "name"),
    [
        ({"path": "/a", "url": URL}, {}, "/a"),
        ({"url": URL}, {}, "/a"),
        ({}, {"path": "/a", "url": URL}, "/a"),
        ({}, {"url": URL}, "/a"),
        ({"url": "https://shop.example"}, {}, "/"),
        ({"url": "a/b"}, {}, "a/b"),
        ({"url": "https://[::1/a"}, {}, "https://[::1/a"),
    ],
)
@pytest.mark.parametrize("call", ["page", "track"])
def test_a_page_has_one_name_whether_its_path_or_its_url_is_said(
    call: str, properties: dict[str, Any], page: dict[str, Any], name: str
) -> None:
    message = {"type": call, "userId": "u", "event": "Product Viewed", "properties": properties}
    click = only(message | {"context": {"page": page}})
    assert click.page == name
    kept = msgspec.json.encode(click.extra).decode()
    assert (URL in kept) == (URL in (properties.get("url"), page.get("url")))


def test_a_page_call_tells_its_referrer_in_its_properties_too() -> None:
    page = {"type": "page", "userId": "u", "properties": {"referrer": "https://a.example/"}}
    assert only(page).referrer_url == "https://a.example/"
    around = {"context": {"page": {"referrer": "https://b.example/"}}}
    assert only(page | around).referrer_url == "https://b.example/"


@pytest.mark.parametrize("call", ["identify", "group", "alias"])
def test_other_calls_are_clicks_that_keep_what_they_say(call: str) -> None:
    said = {"traits": {"email": "a@example.org"}, "groupId": "g", "previousId": "old"}
    click = only({"type": call, "userId": "u"} | said)
    assert (click.event_type, click.extra) == ("click", {"type": call} | said)


def test_the_endpoint_names_the_call_and_the_batch_fills_in_context() -> None:
    message = {"userId": "u", "event": "Product Viewed", "context": {"page": {"path": "/own"}}}
    batch = {"type": "track", "context": {"page": {"path": "/", "title": "T"}, "ip": "::1"}}
    click = only(message, batch)
    assert (click.event_type, click.page) == ("view", "/own")
    assert click.extra["context"] == {"page": {"title": "T"}, "ip": "::1"}
    assert only({"type": "identify"} | message, batch).event_type == "click"


def at(message: dict[str, Any], context: dict[str, Any] | None = None) -> str:
    return str(only(message, context).timestamp.isoformat())


def test_a_clock_that_is_wrong_is_corrected_by_when_the_message_was_sent() -> None:
    ten_minutes_fast = track("x", originalTimestamp="2026-11-21T02:36:30Z")
    assert at(ten_minutes_fast, {"sentAt": "2026-11-21T02:36:40Z"}) == "2026-11-21T02:26:30+00:00"
    by_its_own = ten_minutes_fast | {"sentAt": "2026-11-21T02:36:31Z"}
    assert at(by_its_own, {"sentAt": "2020-01-01T00:00:00Z"}) == "2026-11-21T02:26:39+00:00"
    sdk = track("x", timestamp="2026-11-21T02:36:30Z", sentAt="2026-11-21T02:36:40Z")
    assert at(sdk) == "2026-11-21T02:26:30+00:00"


def test_a_time_is_not_corrected_twice_nor_without_an_id_nor_by_nonsense() -> None:
    said: dict[str, Any] = {"timestamp": "2026-11-01T00:00:00Z", "sentAt": "2026-11-01T01:00:00Z"}
    forwarded = said | {"originalTimestamp": "2026-11-01T00:30:00Z", "receivedAt": "2026-11-01"}
    assert at(track("x", **forwarded)) == "2026-11-01T00:00:00+00:00"
    assert at(track("x", **said, messageId=None)) == "2026-11-01T00:00:00+00:00"
    assert at(track("x", **said | {"sentAt": "noon"})) == "2026-11-01T00:00:00+00:00"
    assert at(track("x", **said | {"sentAt": "2026-11-01T01:00:00"})) == "2026-11-01T00:00:00+00:00"
    ancient: dict[str, Any] = {
        "timestamp": "0001-01-01T00:00:00Z",
        "sentAt": "9999-12-31T00:00:00Z",
    }
    assert at(track("x", **ancient)) == "0001-01-01T00:00:00+00:00"


def test_without_any_time_it_happened_when_it_arrived() -> None:
    assert at(track("x")) == "2026-11-21T02:26:40+00:00"


def test_a_message_sent_again_makes_the_same_events_but_for_their_time() -> None:
    told = track("Order Completed", COMPLETED, context=CONTEXT, timestamp="2026-11-21T02:26:00Z")
    first = read(told | {"sentAt": "2026-11-21T02:26:10Z", "_metadata": {"bundled": []}})
    later = told | {"sentAt": "2026-11-21T02:27:10.5Z", "_metadata": {"retryCount": 3}}
    again = read(later, at=RECEIVED_US + 60_700_000)
    for one, other in zip(first, again, strict=True):
        assert one.timestamp != other.timestamp
        assert one == msgspec.structs.replace(other, timestamp=one.timestamp)


def test_all_that_is_wrong_is_told_at_once() -> None:
    message = {"type": "trak", "messageId": [], "userId": {}, "properties": [], "context": 1}
    assert faults(message | {"traits": "x"}) == [
        ("unknown_event", "type"),
        ("type", "messageId"),
        ("type", "userId"),
        ("type", "properties"),
        ("type", "context"),
        ("type", "traits"),
    ]


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ({"userId": "u"}, [("unknown_event", "type")]),
        ({"type": None, "userId": "u"}, [("unknown_event", "type")]),
        ({"type": ["track"], "userId": "u"}, [("unknown_event", "type")]),
        ({"type": "track", "userId": "u"}, [("missing", "event")]),
        ({"type": "track", "userId": "u", "event": ""}, [("missing", "event")]),
        ({"type": "track", "userId": "u", "event": 3}, [("type", "event")]),
        ({"type": "page"}, [("missing", "userId")]),
        ({"type": "page", "userId": True}, [("type", "userId")]),
        (track("Order Completed"), [("lines", "properties.products or properties.items")]),
        (track("Order Completed", {"products": "all"}), [("type", "properties.products")]),
        (
            track("Order Refunded", {"products": [MONOPOLY, None, []]}),
            [("type", "properties.products[1]"), ("type", "properties.products[2]")],
        ),
    ],
)
def test_a_message_of_the_wrong_shape_is_refused(
    message: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    found = faults(message)
    assert found[: len(wanted)] == wanted
    assert {reason for reason, _ in found[len(wanted) :]} <= {"lines"}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "json"),
        (b"null", "json"),
        (b"[]", "json"),
        (b'{"type": "page",', "json"),
        (b'{"type":"page"} {}', "json"),
        (b'{"userId":"\\ud800"}', "json"),
        (b'{"userId":"\xff"}', "encoding"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json"),
        (b'{"a":' + b"9" * 5_000 + b"}", "json"),
        (b'{"a":1e999999999999999999999}', "json"),
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes, reason: str) -> None:
    assert faults(raw) == [(reason, "event")]


def test_nesting_that_only_our_event_makes_too_deep_is_refused_too() -> None:
    reasons: list[str] = []
    depth = 900
    while not reasons:
        nested = b'{"type":"page","userId":"u","a":' + b"[" * depth + b"]" * depth + b"}"
        try:
            read_segment(nested, b"", RECEIVED_US)
        except Unreadable as e:
            reasons = [f.reason for f in e.failures]
        depth += 1
    assert reasons == ["json"]


def test_nulls_say_nothing() -> None:
    message = dict.fromkeys(("properties", "context", "traits", "sentAt", "timestamp"))
    nothing = {"product_id": None, "price": None, "products": None, "sku": ""}
    click = only(track("Product Viewed", nothing) | {"traits": None, "context": None})
    assert (click.product_id, click.price) == (None, None)
    assert only({"type": "page", "userId": "u"} | message).event_type == "view"


def test_ten_thousand_properties_are_kept() -> None:
    properties = {f"p{n}": n for n in range(10_000)}
    assert only(track("Product Viewed", properties)).extra["properties"] == properties


def test_many_faults_of_one_list_are_summed_up() -> None:
    found = faults(track("Order Refunded", {"products": [1] * 5_000}))
    assert len(found) == 101


def test_the_context_of_a_batch_is_bounded_and_read_like_a_message() -> None:
    message = json.dumps(track("x")).encode()
    assert faults(message, b" " * (CONTEXT_BYTES_MAX + 1)) == [("too_large", "context")]
    assert faults(message, b"{") == [("json", "context")]
    assert faults(message, b'{"context": []}') == [("type", "batch.context")]
