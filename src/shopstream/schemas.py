"""JSON Schema of each topic, and what each field means: for `shopstream schema`, the collector's
OpenAPI page and `docs/events.md`.

A schema says what a validator of JSON Schema can check. `domain.validation` also checks what it
can't: amounts that add up, known currencies, times that are not in the future.
"""

from typing import Any

import msgspec

from shopstream.domain.failures import LINES_MAX
from shopstream.events import EVENT_OF, OrderLine, Topic

AMOUNT_MAX = 10**14
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
    least = {"exclusiveMinimum": 0} if priced_line else {"minimum": 0}
    shown = []
    for choice in choices:
        if choice.get("format") == "decimal":
            shown += [{"type": "number", **least, "exclusiveMaximum": AMOUNT_MAX}, choice]
        elif name == "currency" and choice.get("type") == "string":
            shown.append({"type": "string", "pattern": "^[A-Z]{3}$"})
        elif name == "lines":
            shown.append({**choice, "minItems": 1, "maxItems": LINES_MAX})
        else:
            shown.append({k: v for k, v in choice.items() if k != "default"})
    default = {"default": found["default"]} if found.get("default") is not None else {}
    return (shown[0] if len(shown) == 1 else {"anyOf": shown}) | default
