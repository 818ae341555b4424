"""GET /openapi.json: OpenAPI 3.1 of every public endpoint, its schemas made from the code.

Each operation lists the answers that it can give with the settings in force, and their codes.
"""

from collections.abc import Container
from typing import Any, TypeAlias

import msgspec

import shopstream
from shopstream.collector.access import is_loopback
from shopstream.collector.answer_schemas import (
    CART,
    OFFER,
    canonical,
    health,
    on_aws,
    ref,
    schemas_of,
    verdicts,
)
from shopstream.collector.lookups import EVENTS_MAX, ID_CHARS_MAX, ID_PATTERN, OFFERS_MAX
from shopstream.collector.segment import BATCH, MESSAGE_TYPES
from shopstream.events import EVENT_OF, TOPICS, Topic
from shopstream.schemas import EXAMPLES
from shopstream.settings import Settings

Spec = dict[str, Any]
Errors: TypeAlias = dict[int, str]
"""What each status says when it isn't 200, the codes of its answers in backticks."""
METRICS = "/metrics"

_DESCRIPTION = """\
Events in, offers out. An answer 200 to events means that they are on disk; whether each is valid \
is decided afterwards, and what isn't goes to the quarantine with its reasons. Ask \
`/v1/validate/{topic}` to know beforehand.

A write key is sent as the user name of Basic authorization, as a Bearer token, in the header \
`X-Write-Key`, in the query as `writeKey`, or to the Segment addresses as `writeKey` in the body. \
A read key, for look-ups, is sent in the same headers and never in the query. Bodies may be \
gzipped; `Content-Type` is ignored. 429 and 503 say when to try again in `Retry-After`.\
"""
_ALONE = """

Only the machine that this collector runs on can reach it, so it takes events without a key until \
a write key is made, and answers look-ups without one until a read key is made.\
"""
_FORM = """

Whatever its address, a request is refused with 400 when it isn't HTTP, 408 when it takes too long \
to arrive, 414 or 431 when its URL or its head is too long, and 503 when there are too many \
connections.\
"""
_ANY = {"description": "Any JSON."}
_WRITE: list[Spec] = [{"basic": []}, {"bearer": []}, {"writeKeyHeader": []}, {"writeKeyQuery": []}]
_READ: list[Spec] = [{"basic": []}, {"bearer": []}, {"writeKeyHeader": []}]
_NO_WRITE_KEY = "`unauthorized`: the write key is missing, wrong, revoked or a read key."
_NO_READ_KEY = "`unauthorized`: the read key is missing, wrong, revoked or a write key."
_OTHER_HOST = (
    "`forbidden_host`: as long as there is no read key, ask by the name localhost, 127.0.0.1 or"
    " ::1, so that no web page can under a name of its own."
)
_UNAVAILABLE = "`unavailable`: AWS doesn't give what is needed to answer."
_VALIDATE_EVENTS_MAX = 1_000
_OFFERS_DEFAULT = 100
_EVENTS_DEFAULT = 50


def openapi(settings: Settings, own: Container[str]) -> Spec:
    """The description, with the limits in force; of the pages that only some engines have, those
    whose path is among `own`.
    """
    paths: Spec = {}
    for topic in TOPICS:
        paths[f"/v1/events/{topic}"] = {"post": _ingest(topic, settings)}
    for topic in TOPICS:
        paths[f"/v1/validate/{topic}"] = {"post": _validate(topic, settings)}
    for name, message_type in MESSAGE_TYPES.items():
        paths[f"/v1/{name}"] = {"post": _segment(name, message_type, settings)}
    paths |= _lookup_paths(settings) | _service_paths(settings)
    if METRICS not in own:
        del paths[METRICS]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "shopstream collector",
            "version": shopstream.__version__,
            "description": _description(settings),
        },
        "paths": paths,
        "components": {"schemas": schemas_of(settings), "securitySchemes": _security()},
    }


def _alone(settings: Settings) -> bool:
    """Whether only this machine can ask, so that no key is wanted as long as there is none."""
    return not on_aws(settings) and is_loopback(settings.host)


def _description(settings: Settings) -> str:
    # On AWS it is API Gateway that refuses what isn't a request, in its own words.
    return _DESCRIPTION + (_ALONE if _alone(settings) else "") + ("" if on_aws(settings) else _FORM)


def _wants(kind: str, what: str, settings: Settings) -> str:
    once = f" once there is any {kind} key" if _alone(settings) else ""
    return f"Wants a {what}{once}."


def _security_of(schemes: list[Spec], settings: Settings) -> list[Spec]:
    return [*schemes, {}] if _alone(settings) else schemes


def _ingest(topic: Topic, settings: Settings) -> Spec:
    title = EVENT_OF[topic].__name__
    event = {"anyOf": [ref(title), {"type": "object"}]}
    batch = {
        "type": "array",
        "items": {"anyOf": [ref(title), _ANY]},
        "minItems": 1,
        "maxItems": settings.batch_events_max,
    }
    example = EXAMPLES[topic]
    line = msgspec.json.encode(example).decode()
    found = _operation(
        "Events",
        f"Take {topic}",
        "One event, an array of them, or one a line (NDJSON). Broken or oversized items of an"
        " array or of lines don't spoil the others: they are counted as rejected and kept."
        f" {_wants('write', f'write key bound to {topic}', settings)}",
        {200: _json_answer("The events are on disk.", "Received", {"received": 1, "rejected": 0})},
        _ingest_errors(topic, settings),
        _security_of(_WRITE, settings),
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
    "schema": {
        "type": "string",
        "enum": ["shopstream", "segment", "ga4"],
        "default": "shopstream",
    },
}
_NO_DIALECT = " `dialect`: there is no such dialect."


def _ingest_errors(topic: Topic, settings: Settings) -> Errors:
    clicks = topic == "clicks"
    also = ", or with the dialect `segment` or `ga4` not to clicks and orders" * clicks
    return {
        400: "`empty`: the body holds no event. `json`, `encoding`: nothing in it can be read; it"
        f" is kept in the quarantine.{_NO_DIALECT * clicks}",
        401: _NO_WRITE_KEY,
        403: f"`forbidden`: the write key isn't bound to {topic}{also}.",
        413: _too_large(settings.batch_events_max, settings),
        **_rate_errors(settings),
        503: _log_errors(settings),
    }


def _too_large(events_max: int, settings: Settings) -> str:
    return (
        f"`too_large`: the body is over {settings.body_bytes_max:,} bytes, or inflated over"
        f" {settings.inflated_bytes_max:,}. `too_many`: it holds more than {events_max:,} events."
    )


def _rate_errors(settings: Settings) -> Errors:
    most = settings.rate_events_per_s
    if not most:
        return {}
    return {429: f"`rate_limited`: the key sends more than {most:,} events a second."}


def _log_errors(settings: Settings) -> str:
    found = (
        "`busy`: too much is waiting already. `log_full`: the log takes no more events now."
        " `log_broken`: the log failed and is restarting."
    )
    return f"{found} {_UNAVAILABLE}" if on_aws(settings) else found


def _validate(topic: Topic, settings: Settings) -> Spec:
    example = EXAMPLES[topic]
    clicks = topic == "clicks"
    busy = "`busy`: too many bodies are being read at once."
    errors = {
        400: "`empty`: the body holds no event. `json`, `encoding`: nothing in it can be read."
        f"{_NO_DIALECT * clicks}",
        401: _NO_WRITE_KEY,
        403: f"`forbidden`: the write key isn't bound to {topic}.",
        413: _too_large(_VALIDATE_EVENTS_MAX, settings),
        **_rate_errors(settings),
        503: f"{busy} {_UNAVAILABLE}" if on_aws(settings) else busy,
    }
    found = _operation(
        "Events",
        f"Say what would become of {topic}",
        f"The verdict on each of up to {_VALIDATE_EVENTS_MAX:,} events; nothing is stored, not even"
        " what can't be read."
        f" {_wants('write', f'write key bound to {topic}', settings)}",
        {200: _json_answer("A result for each event.", "Verdicts", verdicts(topic, settings))},
        errors,
        _security_of(_WRITE, settings),
    )
    found["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"type": "object"},
                        {
                            "type": "array",
                            "items": _ANY,
                            "minItems": 1,
                            "maxItems": _VALIDATE_EVENTS_MAX,
                        },
                    ]
                },
                "examples": {"one": {"summary": "one event", "value": example}},
            }
        },
    }
    if clicks:
        found["parameters"] = [_DIALECT]
    return found


def _segment(name: str, message_type: str, settings: Settings) -> Spec:
    example: Spec = {"type": message_type, "messageId": "m1", "anonymousId": "a1"}
    if message_type == "track":
        example |= {"event": "Product Viewed", "properties": {"product_id": "red-kettle"}}
    body: Spec = {"type": "object"}
    if message_type == BATCH:
        example = {"batch": [{**example, "type": "page"}], "sentAt": "2026-03-01T12:00:00Z"}
        items = {"type": "array", "items": _ANY, "minItems": 1}
        body |= {"properties": {"batch": items}, "required": ["batch"]}
    also = "" if name == message_type else f", as browsers shorten {message_type}"
    wanted = 'an object with a list "batch"' if message_type == BATCH else "an object"
    errors = {
        400: "`empty`: the body holds no message. `json`, `encoding`: it can't be read or isn't"
        f" {wanted}; it is kept in the quarantine.",
        401: _NO_WRITE_KEY,
        403: "`forbidden`: the write key isn't bound to both clicks and orders.",
        413: _too_large(settings.batch_events_max, settings),
        **_rate_errors(settings),
        503: _log_errors(settings),
    }
    found = _operation(
        "Segment",
        f"Take a Segment {message_type}{also}",
        "For SDKs that speak Segment's HTTP API."
        f" {_wants('write', 'write key bound to clicks and orders', settings)}",
        {200: _json_answer("The messages are on disk.", "Success", {"success": True})},
        errors,
        _security_of(_WRITE, settings),
    )
    media = {"schema": body, "examples": {"one": {"summary": "an example", "value": example}}}
    found["requestBody"] = {"required": True, "content": {"application/json": media}}
    return found


def _lookup_paths(settings: Settings) -> Spec:
    user = _path_id("A user's id.")
    every = {
        "name": "all",
        "in": "query",
        "description": "1 shows expired, held-out, historical and moot offers too.",
        "schema": {"type": "string", "enum": ["0", "1"], "default": "0"},
    }
    no_order = {404: "`not_found`: there is no order with this id."}
    click, order = canonical("clicks", settings), canonical("orders", settings)
    of_order = {"source": "http", "status": order["status"], "order": order}
    return {
        "/v1/users/{id}/offers": _lookup(
            "Offers that the user can use now, newest first", "UserOffers",
            {"user_id": "u42", "offers": [OFFER]},
            [user, every, _limit(_OFFERS_DEFAULT, OFFERS_MAX)], settings,
        ),
        "/v1/users/{id}/events": _lookup(
            "The user's last clicks, the latest stored first", "UserEvents",
            {"user_id": "u42", "events": [click]},
            [user, _limit(_EVENTS_DEFAULT, EVENTS_MAX)], settings,
        ),
        "/v1/users/{id}/cart": _lookup(
            "The user's open carts, the one last touched first", "UserCarts",
            {"user_id": "u42", "carts": [CART]}, [user], settings,
        ),
        "/v1/orders/{id}": _lookup(
            "Each state of each order with this id, by source", "Orders",
            {"order_id": order["order_id"], "orders": [of_order]},
            [_path_id("An order's id.")], settings, no_order,
        ),
    }  # fmt: skip


def _lookup(
    summary: str,
    schema: str,
    example: Spec,
    parameters: list[Spec],
    settings: Settings,
    more: Errors | None = None,
) -> Spec:
    bad = f"`id`: an id has 1 to {ID_CHARS_MAX} characters, none of them control ones."
    if any(p["in"] == "query" for p in parameters):
        bad += " `query`: a parameter has a value that it can't have."
    no_tables = "`no_tables`: no processor has run yet."
    alone = _alone(settings)
    name = " Until then, ask by the name localhost." * alone
    errors: Errors = {
        400: bad,
        401: _NO_READ_KEY,
        **({403: _OTHER_HOST} if alone else {}),
        **(more or {}),
        503: _UNAVAILABLE if on_aws(settings) else no_tables,
    }
    found = _operation(
        "Look-ups",
        summary,
        _wants("read", "read key", settings) + name,
        {200: _json_answer("What is known.", schema, example)},
        errors,
        _security_of(_READ, settings),
    )
    return {"get": found | {"parameters": parameters}}


def _service_paths(settings: Settings) -> Spec:
    def page(summary: str, media_type: str) -> Spec:
        answer = {"description": summary, "content": {media_type: {"schema": {"type": "string"}}}}
        return {"get": _operation("Service", summary, "", {200: answer}, {}, [])}

    up, down = health(settings, delivering=True), health(settings, delivering=False)
    answers = {
        200: _json_answer("Events are being delivered.", "Health", up),
        503: _json_answer("They are not; `reasons` says why.", "Health", down),
    }
    summary = "Whether events are being delivered"
    spec = {
        "description": "This description.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    return {
        "/health": {"get": _operation("Service", summary, "", answers, {}, [])},
        METRICS: page("Metrics for Prometheus", "text/plain"),
        "/openapi.json": {
            "get": _operation("Service", "This description", "", {200: spec}, {}, [])
        },
        "/docs": page("This description as a page", "text/html"),
    }


def _operation(
    tag: str,
    summary: str,
    description: str,
    answers: dict[int, Spec],
    errors: Errors,
    security: list[Spec],
) -> Spec:
    responses = {str(code): answer for code, answer in answers.items()}
    for code, meaning in errors.items():
        responses[str(code)] = _json_answer(meaning, "Error")
        if code in (429, 503):
            responses[str(code)]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "security": security,
        "responses": responses,
    }


def _json_answer(description: str, schema: str, example: Spec | None = None) -> Spec:
    media: Spec = {"schema": ref(schema)}
    if example is not None:
        media["example"] = example
    return {"description": description, "content": {"application/json": media}}


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


def _limit(default: int, most: int) -> Spec:
    return {
        "name": "limit",
        "in": "query",
        "description": "At most so many.",
        "schema": {"type": "integer", "minimum": 1, "maximum": most, "default": default},
    }


def _security() -> Spec:
    return {
        "basic": {"type": "http", "scheme": "basic", "description": "The key as user name."},
        "bearer": {"type": "http", "scheme": "bearer"},
        "writeKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Write-Key"},
        "writeKeyQuery": {"type": "apiKey", "in": "query", "name": "writeKey"},
    }
