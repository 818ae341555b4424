"""GET /openapi.json: OpenAPI 3.1 of every public endpoint, its schemas made from the code."""

from collections.abc import Container
from typing import Any

import msgspec

import shopstream
from shopstream.collector.lookups import EVENTS_MAX, ID_CHARS_MAX, ID_PATTERN, OFFERS_MAX
from shopstream.collector.segment import BATCH, MESSAGE_TYPES
from shopstream.collector.watch import Health
from shopstream.events import EVENT_OF, TOPICS, Offer, Topic
from shopstream.schemas import EXAMPLES, schema_of
from shopstream.settings import Settings

Spec = dict[str, Any]
METRICS = "/metrics"

_DESCRIPTION = """\
Events in, offers out. An answer 200 to events means that they are on disk; whether each is valid \
is decided afterwards, and what isn't goes to the quarantine with its reasons. Ask \
/v1/validate/{topic} to know beforehand.

A write key is sent as the user name of Basic authorization, as a Bearer token, in the header \
X-Write-Key, in the query as writeKey, or to the Segment addresses as writeKey in the body. \
Bodies may be gzipped; Content-Type is ignored. 429 and 503 say when to try again in Retry-After.\
"""
_ANY = {"description": "Any JSON."}
_WRITE: list[Spec] = [{"basic": []}, {"bearer": []}, {"writeKeyHeader": []}, {"writeKeyQuery": []}]
_READ: list[Spec] = [{"basic": []}, {"bearer": []}, {"writeKeyHeader": []}]
_ERRORS = {
    400: "The request can't be read; what was sent is kept in the quarantine unless empty.",
    401: "The key is missing, wrong or revoked.",
    403: "The key isn't bound to this topic.",
    404: "There is nothing of this name.",
    405: "Another method is wanted; see Allow.",
    413: "The body, its inflated form or the number of events is too large.",
    429: "The key sends more events a second than it may.",
    503: "Busy, full or restarting.",
}


def openapi(settings: Settings, own: Container[str]) -> Spec:
    """The description, with the limits in force; of the pages that only some engines have, those
    whose path is among `own`.
    """
    paths: Spec = {}
    for topic in TOPICS:
        paths[f"/v1/events/{topic}"] = {"post": _ingest(topic, settings)}
    for topic in TOPICS:
        paths[f"/v1/validate/{topic}"] = {"post": _validate(topic)}
    for name, message_type in MESSAGE_TYPES.items():
        paths[f"/v1/{name}"] = {"post": _segment(name, message_type)}
    paths |= _lookup_paths() | _service_paths()
    if METRICS not in own:
        del paths[METRICS]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "shopstream collector",
            "version": shopstream.__version__,
            "description": _DESCRIPTION,
        },
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _security()},
    }


def _ingest(topic: Topic, settings: Settings) -> Spec:
    title = EVENT_OF[topic].__name__
    event = {"anyOf": [_ref(title), {"type": "object"}]}
    batch = {
        "type": "array",
        "items": {"anyOf": [_ref(title), _ANY]},
        "minItems": 1,
        "maxItems": settings.batch_events_max,
    }
    example = EXAMPLES[topic]
    line = msgspec.json.encode(example).decode()
    found = _operation(
        "Events",
        f"Take {topic}",
        "One event, an array of them, or one a line (NDJSON). Broken or oversized items of an"
        " array or of lines don't spoil the others: they are counted as rejected and kept.",
        {200: _json_answer("The events are on disk.", _ref("Received"))},
        (400, 401, 403, 413, 429, 503),
        _WRITE,
    )
    found["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [event, batch]},
                "examples": {
                    "one": {"summary": "one event", "value": example},
                    "several": {"summary": "several", "value": [example, example]},
                },
            },
            "application/x-ndjson": {
                "schema": {"type": "string", "contentMediaType": "application/x-ndjson"},
                "examples": {"lines": {"summary": "one a line", "value": f"{line}\n{line}\n"}},
            },
        },
    }
    if topic == "clicks":
        found["parameters"] = [_DIALECT]
    return found


_DIALECT = {
    "name": "dialect",
    "in": "query",
    "description": "How the events are to be read.",
    "schema": {"type": "string", "enum": ["shopstream", "segment", "ga4"]},
}


def _validate(topic: Topic) -> Spec:
    example = EXAMPLES[topic]
    found = _operation(
        "Events",
        f"Say what would become of {topic}",
        "The verdict on each of up to 1,000 events; nothing is stored.",
        {200: _json_answer("A result for each event.", _ref("Verdicts"))},
        (400, 401, 403, 413, 429, 503),
        _WRITE,
    )
    found["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"type": "object"},
                        {"type": "array", "items": _ANY, "minItems": 1, "maxItems": 1_000},
                    ]
                },
                "examples": {"one": {"summary": "one event", "value": example}},
            }
        },
    }
    if topic == "clicks":
        found["parameters"] = [_DIALECT]
    return found


def _segment(name: str, message_type: str) -> Spec:
    example: Spec = {"type": message_type, "messageId": "m1", "anonymousId": "a1"}
    if message_type == "track":
        example |= {"event": "Product Viewed", "properties": {"product_id": "red-kettle"}}
    body: Spec = {"type": "object"}
    if message_type == BATCH:
        example = {"batch": [{**example, "type": "page"}], "sentAt": "2026-03-01T12:00:00Z"}
        items = {"type": "array", "items": _ANY, "minItems": 1}
        body |= {"properties": {"batch": items}, "required": ["batch"]}
    also = "" if name == message_type else f", as browsers shorten {message_type}"
    found = _operation(
        "Segment",
        f"Take a Segment {message_type}{also}",
        "For SDKs that speak Segment's HTTP API. The key must be bound to clicks and orders.",
        {200: _json_answer("The messages are on disk.", _ref("Success"))},
        (400, 401, 403, 413, 429, 503),
        _WRITE,
    )
    media = {"schema": body, "examples": {"one": {"summary": "an example", "value": example}}}
    found["requestBody"] = {"required": True, "content": {"application/json": media}}
    return found


def _lookup_paths() -> Spec:
    user = _path_id("A user's id.")
    every = {
        "name": "all",
        "in": "query",
        "description": "1 shows expired, held-out, historical and moot offers too.",
        "schema": {"type": "string", "enum": ["0", "1"]},
    }
    return {
        "/v1/users/{id}/offers": _lookup(
            "Offers that the user can use now, newest first", "UserOffers",
            [user, every, _limit(OFFERS_MAX)],
        ),
        "/v1/users/{id}/events": _lookup(
            "The user's last clicks, the latest stored first", "UserEvents",
            [user, _limit(EVENTS_MAX)],
        ),
        "/v1/users/{id}/cart": _lookup(
            "The user's open carts, the one last touched first", "UserCarts", [user]
        ),
        "/v1/orders/{id}": _lookup(
            "Each state of each order with this id, by source", "Orders",
            [_path_id("An order's id.")], 404,
        ),
    }  # fmt: skip


def _lookup(summary: str, schema: str, parameters: list[Spec], *errors: int) -> Spec:
    found = _operation(
        "Look-ups",
        summary,
        "Wants a read key.",
        {200: _json_answer("What is known.", _ref(schema))},
        (400, 401, 403, *errors, 503),
        _READ,
    )
    return {"get": found | {"parameters": parameters}}


def _service_paths() -> Spec:
    def page(summary: str, media_type: str, more: dict[int, Spec] | None = None) -> Spec:
        answer = {"description": summary, "content": {media_type: {"schema": {"type": "string"}}}}
        return {"get": _operation("Service", summary, "", {200: answer, **(more or {})}, (), [])}

    health = _json_answer("Events are being delivered.", _ref("Health"))
    down = _json_answer("They are not; `reasons` says why.", _ref("Health"))
    summary = "Whether events are being delivered"
    answers = {200: health, 503: down}
    spec = _json_answer("This description.", {"type": "object"})
    return {
        "/health": {"get": _operation("Service", summary, "", answers, (), [])},
        METRICS: page("Metrics for Prometheus", "text/plain"),
        "/openapi.json": {
            "get": _operation("Service", "This description", "", {200: spec}, (), [])
        },
        "/docs": page("This description as a page", "text/html"),
    }


def _operation(
    tag: str,
    summary: str,
    description: str,
    answers: dict[int, Spec],
    errors: tuple[int, ...],
    security: list[Spec],
) -> Spec:
    responses = {str(code): answer for code, answer in answers.items()}
    for code in errors:
        responses[str(code)] = _json_answer(_ERRORS[code], _ref("Error"))
        if code in (429, 503):
            responses[str(code)]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    # Without any key a collector on a loopback address is open.
    open_too = [*security, {}] if security else []
    return {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "security": open_too,
        "responses": responses,
    }


def _json_answer(description: str, schema: Spec) -> Spec:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Spec:
    return {"$ref": f"#/components/schemas/{name}"}


def _path_id(description: str) -> Spec:
    length = {"minLength": 1, "maxLength": ID_CHARS_MAX}
    schema = {"type": "string", **length, "pattern": ID_PATTERN}
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
    }


def _limit(most: int) -> Spec:
    return {
        "name": "limit",
        "in": "query",
        "description": "At most so many.",
        "schema": {"type": "integer", "minimum": 1, "maximum": most},
    }


def _security() -> Spec:
    return {
        "basic": {"type": "http", "scheme": "basic", "description": "The key as user name."},
        "bearer": {"type": "http", "scheme": "bearer"},
        "writeKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Write-Key"},
        "writeKeyQuery": {"type": "apiKey", "in": "query", "name": "writeKey"},
    }


def _schemas() -> Spec:
    found: Spec = {}
    for topic in TOPICS:
        schema = schema_of(topic)
        schema.pop("$schema", None)
        found |= schema.pop("$defs", {})
        found[schema["title"]] = schema
    for kind in (Offer, Health):
        _, components = msgspec.json.schema_components([kind])
        found |= components
    found |= _ANSWERS
    text = msgspec.json.encode(found).replace(b"#/$defs/", b"#/components/schemas/")
    schemas: Spec = msgspec.json.decode(text)
    for field in ("percent", "amount"):
        schemas["Offer"]["properties"][field] = {"type": ["number", "null"]}
    return schemas


def _object(**properties: Spec) -> Spec:
    return {"type": "object", "properties": properties, "required": list(properties)}


_TEXT: Spec = {"type": "string"}
_COUNT: Spec = {"type": "integer", "minimum": 0}
_ANSWERS: Spec = {
    "Error": _object(code=_TEXT, message=_TEXT),
    "Received": _object(received=_COUNT, rejected=_COUNT),
    "Success": _object(success={"type": "boolean"}),
    "Verdicts": _object(
        valid=_COUNT,
        invalid=_COUNT,
        results={
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "index": {**_COUNT, "description": "The event's place in the body, from 0."},
                    "valid": {"type": "boolean"},
                    "events": {"type": "array", "items": {"type": "object"}},
                    "failures": {
                        "type": "array",
                        "items": _object(reason=_TEXT, field=_TEXT, value=_TEXT, wanted=_TEXT),
                    },
                },
                "required": ["valid"],
            },
        },
    ),
    "UserOffers": _object(user_id=_TEXT, offers={"type": "array", "items": _ref("Offer")}),
    "UserEvents": _object(user_id=_TEXT, events={"type": "array", "items": _ref("Click")}),
    "UserCarts": _object(user_id=_TEXT, carts={"type": "array", "items": {"type": "object"}}),
    "Orders": _object(
        order_id=_TEXT,
        orders={
            "type": "array",
            "items": _object(source=_TEXT, status=_TEXT, order={"type": "object"}),
        },
    ),
}
