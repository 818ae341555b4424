"""For OpenAPI: the schemas that it names, and an example of each answer.

Both come from the code where they can: structures describe themselves, verdicts are the judge's.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from shopstream.collector.judge import ANSWER_BYTES_MAX, Judge
from shopstream.collector.splitting import Split
from shopstream.collector.watch import Health, StageHealth
from shopstream.events import TOPICS, Offer, Topic
from shopstream.schemas import EXAMPLES, schema_of
from shopstream.settings import Settings

Json = dict[str, Any]


def on_aws(settings: Settings) -> bool:
    """Whether the collector described is the one on AWS."""
    return settings.engine == "aws"


def ref(name: str) -> Json:
    """Where the schema of this name is."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas_of(settings: Settings) -> Json:
    """Each schema by its name."""
    found: Json = {}
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
    schemas: Json = msgspec.json.decode(text)
    for field in ("percent", "amount"):
        schemas["Offer"]["properties"][field] = {"type": ["number", "null"]}
    for field in ("made_at", "expires_at"):
        schemas["Offer"]["properties"][field]["format"] = "date-time"
    if on_aws(settings):
        del schemas["StageHealth"]
        schemas["Health"] = _HEALTH_ON_AWS
    return schemas


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list_of(schema: str) -> Json:
    return {"type": "array", "items": ref(schema)}


_TEXT: Json = {"type": "string"}
_TEXT_OR_NULL: Json = {"type": ["string", "null"]}
_TIME: Json = {"type": "string", "format": "date-time"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_ANSWERS: Json = {
    "Error": {
        "description": "Why a request is refused: `code` is for programs, `message` for people.",
        **_object(code=_TEXT, message=_TEXT),
        "examples": [{"code": "empty", "message": "the body holds no event"}],
    },
    "Received": _object(
        received={**_COUNT, "description": "Events in the request, the rejected ones included."},
        rejected={**_COUNT, "description": "Of these, broken or oversized ones, kept as they are."},
    ),
    "Success": _object(success={"type": "boolean"}),
    "Verdicts": {
        "type": "object",
        "properties": {
            "valid": _COUNT,
            "invalid": _COUNT,
            "cut": {
                **_COUNT,
                "description": "Results that say only whether the event is valid, as the answer"
                f" would come to more than {ANSWER_BYTES_MAX // 2**20} MiB: send these events again"
                " in another request. Absent where there are none.",
            },
            "results": _list_of("Verdict"),
        },
        "required": ["valid", "invalid", "results"],
    },
    "Verdict": {
        "type": "object",
        "description": "What would become of one event: what it would be read as, or all that is"
        " wrong with it.",
        "properties": {
            "index": {**_COUNT, "description": "The event's place in the body, from 0."},
            "valid": {"type": "boolean"},
            "events": _list_of("ReadEvent"),
            "failures": _list_of("Failure"),
        },
        "required": ["index", "valid"],
    },
    "ReadEvent": _object(topic={"enum": list(TOPICS)}, event={"type": "object"}),
    "Failure": _object(reason=_TEXT, field=_TEXT, value=_TEXT, wanted=_TEXT),
    "UserOffers": _object(user_id=_TEXT, offers=_list_of("Offer")),
    "UserEvents": _object(user_id=_TEXT, events=_list_of("Click")),
    "UserCarts": _object(user_id=_TEXT, carts=_list_of("OpenCart")),
    "OpenCart": _object(
        cart_id=_TEXT_OR_NULL,
        began_at=_TIME,
        touched_at=_TIME,
        currency=_TEXT_OR_NULL,
        lines=_list_of("OpenCartLine"),
    ),
    "OpenCartLine": _object(
        product_id=_TEXT,
        quantity=_COUNT,
        unit_price={"type": ["number", "null"]},
        category=_TEXT_OR_NULL,
    ),
    "Orders": _object(order_id=_TEXT, orders=_list_of("OrderState")),
    "OrderState": _object(source=_TEXT, status=_TEXT, order={"type": "object"}),
}
# Structures of AWS can't be named here; a test holds this against its own.
_HEALTH_ON_AWS: Json = {
    "description": "The truth about delivery.",
    **_object(
        status={"enum": ["degraded", "down", "ok"]},
        delivering={"type": "boolean"},
        reasons={"type": "array", "items": _TEXT},
        waiting={"type": "object", "description": "Messages in each queue."},
        dead={"type": "object", "description": "Messages that no try could process."},
    ),
}

_encode = msgspec.json.Encoder(decimal_format="number").encode
_WHEN = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
"""When the examples' events arrived, to judge them as they were on that day."""


def _plain(value: msgspec.Struct) -> Json:
    found: Json = msgspec.json.decode(_encode(value))
    return found


OFFER = _plain(
    Offer(
        offer_id="8a1f0c6de2b947352f61c07b9d3e4a58",
        rule="viewed-three-times",
        version=1,
        user_id="u42",
        key="red-kettle",
        trigger="5d0c2f9e71ab4836",
        product_id="red-kettle",
        percent=Decimal(10),
        reason="3 x view of product red-kettle within 24h",
        made_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
        expires_at=datetime(2026, 3, 2, 12, 0, tzinfo=UTC),
        delivered=True,
    )
)
CART: Json = {
    "cart_id": "c9",
    "began_at": "2026-03-01T12:01:00Z",
    "touched_at": "2026-03-01T12:03:00Z",
    "currency": "EUR",
    "lines": [
        {"product_id": "red-kettle", "quantity": 2, "unit_price": 24.9, "category": "kitchen"}
    ],
}


def verdicts(topic: Topic, settings: Settings) -> Json:
    """What the collector says of the topic's example and of the same with a bad time."""
    good = EXAMPLES[topic]
    sent = [_encode(good), _encode(good | {"timestamp": "yesterday"})]
    received_us = int(_WHEN.timestamp()) * 1_000_000
    text = Judge(settings).verdicts(topic, "shopstream", Split(sent, []), received_us)
    found: Json = msgspec.json.decode(text)
    return found


def canonical(topic: Topic, settings: Settings) -> Json:
    """The topic's example as it is stored."""
    found: Json = verdicts(topic, settings)["results"][0]["events"][0]["event"]
    return found


def health(settings: Settings, *, delivering: bool) -> Json:
    """An answer of /health, when it is well and when it isn't."""
    if on_aws(settings):
        why = "the log can't be looked at (no answer)"
        known: Json = {"waiting": {}, "dead": {}}
        if delivering:
            return {"status": "ok", "delivering": True, "reasons": [], **known}
        return {"status": "down", "delivering": False, "reasons": [why], **known}
    well = Health(
        status="ok",
        delivering=True,
        lag_events=0,
        lag_s=0.0,
        log_end=2_048,
        log_writable=True,
        disk_free_bytes=250_000_000_000,
        reasons=[],
        stages={"processor-0": StageHealth(alive=True, position=2_048, lag_events=0)},
    )
    if delivering:
        return _plain(well)
    changed = {"reasons": ["processor-0 is not running"], "lag_events": 12, "lag_s": 3.5}
    stages = {"processor-0": StageHealth(alive=False, position=2_036, lag_events=12)}
    return _plain(
        msgspec.structs.replace(well, status="down", delivering=False, stages=stages, **changed)
    )
