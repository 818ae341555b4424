"""JSON Schema of each topic, and what each field means: for `shopstream schema`, the collector's
OpenAPI page and `docs/events.md`.

A schema says what a validator of JSON Schema can check. `domain.validation` also checks what it
can't: amounts that add up, times that are not in the future, of an id its length in bytes and
whether characters beyond U+FFFF, or that Unicode hasn't assigned, are printable. Where the two
can't say quite the same the schema is the stricter one, but for a whole number written `3.0`, which
is an integer to JSON Schema.

Patterns are of ECMA-262, as JSON Schema wants it, without what not every engine has, such as
lookahead. Where `$` also matches before a newline at the end, as in Python's `re`, that newline
passes.
"""

from typing import Any

import msgspec

from shopstream.domain.canonical import RESERVED
from shopstream.domain.currencies import CURRENCIES
from shopstream.domain.failures import LINES_MAX
from shopstream.events import EVENT_OF, OrderLine, Topic

AMOUNT_MAX = 10**14
_FROM_1 = r"[1-9][0-9]{0,12}(\.[0-9]+)?|[1-9][0-9]{13}(\.[0-9]{1,4})?"
AMOUNT_PATTERN = rf"^(0(\.[0-9]+)?|{_FROM_1})$"
"""Amounts as text, below AMOUNT_MAX also when rounded. An exponent may be written, but no regular
expression can tell how large it may be.
"""
PRICE_PATTERN = rf"^(0\.0{{0,3}}[1-9][0-9]*|{_FROM_1})$"
"""The same from 0.0001, the least that is above 0 however it is rounded."""
ID_PATTERN = (
    r"^[^\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680"
    r"\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ue000-\uf8ff\ufeff\ufff0-\uffff]*$"
)
"""Without control characters: all up to U+FFFF that Unicode says are not printable."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"

FIELDS: dict[str, str] = {
    "event_id": "The sender's id of the event; made from the content when absent.",
    "user_id": "Who did it: an account or a visitor id.",
    "session_id": "The visit; without it a silence of `session_gap` begins a new one.",
    "event_type": "What the visitor did.",
    "page": "Address or name of the page.",
    "product_id": "The product it is about.",
    "timestamp": "When it happened: ISO 8601 with a zone.",
    "device_type": "The kind of device.",
    "referrer_url": "Where the visitor came from.",
    "location": "Country, region or place.",
    "browser": "Name of the browser.",
    "user_type": "Whether the visitor has been here before.",
    "price": "Price of one piece.",
    "quantity": "How many pieces.",
    "currency": "ISO 4217 code of the amounts.",
    "category": "The product's category.",
    "cart_id": "The cart; without it the user has one unnamed cart.",
    "order_id": "The order. One order may come several times, once per `status`.",
    "consent": 'What the visitor agreed to, as `{"marketing": true}`.',
    "extra": "Unknown fields end up here.",
    "customer_id": "Who ordered; absent for a guest.",
    "lines": "What was ordered, at least one line.",
    "amount": "Total of the order; checked against the lines, and their sum when absent.",
    "shipping": "Shipping cost, part of `amount`.",
    "tax": "Tax, part of `amount`.",
    "discount": "Discount, taken off `amount`.",
    "status": "How far the order is.",
    "payment_method": "How it was paid.",
    "payload": "Free-form JSON of up to 1 MiB, kept byte for byte.",
    "name": "The product's name.",
    "unit_price": "Price of one piece; above 0 in an order line.",
    "line": "The line's number in the file or order it came from.",
    "stock_on_hand": "Pieces on hand.",
    "reorder_level": "At or below this the stock is low.",
    "discontinued": "A discontinued product is never low.",
}

EXAMPLES: dict[Topic, dict[str, Any]] = {
    "clicks": {
        "user_id": "u42",
        "session_id": "s7",
        "event_type": "view",
        "page": "/p/red-kettle",
        "product_id": "red-kettle",
        "timestamp": "2026-03-01T12:00:00Z",
        "device_type": "mobile",
        "user_type": "returning",
        "price": 24.9,
        "currency": "EUR",
        "category": "kitchen",
        "consent": {"marketing": True},
    },
    "orders": {
        "order_id": "o1001",
        "customer_id": "u42",
        "lines": [
            {"product_id": "red-kettle", "name": "Kettle", "quantity": 2, "unit_price": "24.90"}
        ],
        "shipping": "4.20",
        "amount": "54.00",
        "currency": "EUR",
        "status": "paid",
        "payment_method": "card",
        "timestamp": "2026-03-01T12:05:00Z",
    },
    "carts": {
        "user_id": "u42",
        "cart_id": "c9",
        "product_id": "red-kettle",
        "quantity": 2,
        "unit_price": "24.90",
        "currency": "EUR",
        "timestamp": "2026-03-01T12:03:00Z",
    },
    "stock": {
        "product_id": "red-kettle",
        "name": "Kettle",
        "stock_on_hand": 3,
        "reorder_level": 5,
        "timestamp": "2026-03-01T12:06:00Z",
    },
}


def schema_of(topic: Topic) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of an event of `topic` in our own dialect."""
    kind = EVENT_OF[topic]
    twin = msgspec.defstruct(
        kind.__name__,
        [_describable(f) for f in msgspec.structs.fields(kind)],
        kw_only=True,
    )
    (schema,), components = msgspec.json.schema_components([twin])
    structures = {name: _open(found) for name, found in components.items()}
    top = structures.pop(schema["$ref"].rpartition("/")[2])
    described = {"$schema": DIALECT, "title": kind.__name__}
    if kind.__doc__:
        described["description"] = kind.__doc__.split("\n")[0]
    named = {"$defs": structures} if structures else {}
    return described | {k: v for k, v in top.items() if k != "title"} | named


def _describable(f: msgspec.structs.FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    # A schema can't say "any JSON, byte for byte": `payload` is any value to a sender.
    if f.type is msgspec.Raw:
        return f.name, Any, None
    return (f.name, f.type) if f.required else (f.name, f.type, f.default)


def _open(structure: dict[str, Any]) -> dict[str, Any]:
    """One structure with its fields described and amounts as senders may write them."""
    properties = {}
    for name, found in structure["properties"].items():
        if name == "extra":
            continue
        priced_line = name == "unit_price" and structure["title"] == OrderLine.__name__
        properties[name] = {"description": FIELDS[name]} | _readable(name, found, priced_line)
    return structure | {"properties": properties, "additionalProperties": True}


def _readable(name: str, found: dict[str, Any], priced_line: bool) -> dict[str, Any]:
    choices = found.get("anyOf", [found])
    least = 0.0001 if priced_line else 0
    written = PRICE_PATTERN if priced_line else AMOUNT_PATTERN
    shown = []
    for choice in choices:
        if choice.get("format") == "decimal":
            number = {"type": "number", "minimum": least, "exclusiveMaximum": AMOUNT_MAX}
            shown += [number, choice | {"pattern": written}]
        elif name == "currency" and choice.get("type") == "string":
            shown.append({"type": "string", "enum": sorted(CURRENCIES)})
        elif name.endswith("_id") and choice.get("type") == "string":
            shown.append(choice | {"pattern": ID_PATTERN, "not": {"pattern": f"^{RESERVED}"}})
        elif name == "lines":
            shown.append({**choice, "minItems": 1, "maxItems": LINES_MAX})
        else:
            shown.append({k: v for k, v in choice.items() if k != "default"})
    default = {"default": found["default"]} if found.get("default") is not None else {}
    return (shown[0] if len(shown) == 1 else {"anyOf": shown}) | default
