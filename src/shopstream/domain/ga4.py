"""GA4 ecommerce payloads -> our events: the Measurement Protocol's and the data layer's.

Measurement Protocol: `{"client_id", "user_id", "timestamp_micros", "events": [{"name",
"params"}]}`, several events in one message. Data layer: `{"event", "ecommerce": {…}}` with the
visitor and the time beside them.

GA4 has no message id. Where the sender adds none (`event_id`), an event's id is made of its
content, so send a time with it: without one it is that of the arrival, and sent again it is new.
"""

from typing import Any

from shopstream.domain.browsers import DEVICE_WORDS
from shopstream.domain.ecommerce import Told, events_of, meaning_of
from shopstream.domain.message import (
    Object,
    Unreadable,
    consent_of,
    fault,
    id_at,
    id_text,
    object_at,
    objects_at,
    read_object,
    take,
    text_at,
    utc,
    whole_number,
    written,
)
from shopstream.events import Failure, Topic

_USER_NAMES = ("user_id", "userId", "client_id", "clientId", "app_instance_id")
_EVENT_ID_NAMES = ("event_id", "messageId")
_SESSION_NAMES = ("session_id", "ga_session_id")
_GRANTED = {"GRANTED": True, "DENIED": False}


def read_ga4(raw: bytes, context: bytes, received_us: int) -> list[tuple[Topic, bytes]]:
    """The events of one GA4 message, as JSON in our dialect.

    Members of `context`, JSON, stand in for those that the message lacks. What belongs to the
    whole message (`user_properties`, say) is in the `extra` of its first event. Raises Unreadable
    with all faults of the message's build; its values are judged by validation.
    """
    message = read_object(raw)
    if context:
        message = read_object(context, "context") | message
    failures: list[Failure] = []
    visitor = _visitor(message)
    user = id_at(message, _USER_NAMES, "", failures)
    if user is None:
        failures.append(fault("missing", "client_id", None, "a user_id or client_id"))
    shared: Object = {"user_id": user, "timestamp": _time(message, utc(received_us), "", failures)}
    event_id = id_at(message, _EVENT_ID_NAMES, "", failures)
    _see(shared, message)
    if "events" in message:
        tolds = _events(message, shared, event_id, failures)
    else:
        tolds = _data_layer(message, shared, event_id, failures)
    events = [
        event
        for path, told in tolds
        for event in events_of(told, meaning_of(told.name), path, failures)
    ]
    if failures:
        raise Unreadable(failures)
    for _, found in events:
        if visitor and type(found.get("session_id")) is str:
            found["session_id"] = f"{visitor}.{found['session_id']}"
    return written(events, raw, context)


def _visitor(message: Object) -> str:
    """Who the session belongs to: GA4 counts sessions by the second they began in, for each client
    (whoever is logged in there), so those of two visitors may have the same number.
    """
    names = ("client_id", "clientId", "app_instance_id", "user_id", "userId")
    given = (id_text(message.get(name)) for name in names)
    return next((found for found in given if type(found) is str and found), "")


def _events(
    message: Object, shared: Object, event_id: str | None, failures: list[Failure]
) -> list[tuple[str, Told]]:
    """The events of the Measurement Protocol, each with its path in the message."""
    if not message["events"]:
        wanted = "a list of at least one event"
        failures.append(fault("missing", "events", message["events"], wanted))
    _, events = objects_at(message, ("events",), "", failures)
    tolds = []
    for n, event in enumerate(events):
        path = f"events[{n}]."
        params = object_at(event, "params", path, failures)
        click = shared | {"timestamp": _time(event, shared["timestamp"], path, failures)}
        _see_page(click, params, f"{path}params.", failures)
        name = _name(event.get("name"), f"{path}name", failures)
        event["event"] = event.pop("name", None)
        own_id = f"{event_id}#{n + 1}" if event_id is not None and len(events) > 1 else event_id
        extra = event | message if n == 0 else event
        tolds.append((f"{path}params.", Told(name, own_id, click, "params", params, extra)))
    return tolds


def _data_layer(
    message: Object, shared: Object, event_id: str | None, failures: list[Failure]
) -> list[tuple[str, Told]]:
    """The one event of a data layer push."""
    name = _name(message.get("event"), "event", failures)
    params = object_at(message, "ecommerce", "", failures)
    _see_page(shared, message, "", failures)
    told = Told(name, event_id, shared, "ecommerce", params, message)
    return [("ecommerce.", told)]


def _name(name: Any, path: str, failures: list[Failure]) -> str:
    if type(name) is str and name:
        return name
    failures.append(fault("unknown_event", path, name, "the name of the event"))
    return ""


def _time(source: Object, otherwise: Any, path: str, failures: list[Failure]) -> Any:
    """`timestamp_micros`, else `timestamp` as the sender wrote it, else `otherwise`."""
    micros = take(source, "timestamp_micros")
    if micros is None:
        says = take(source, "timestamp")
        return otherwise if says is None else says
    at_us = whole_number(micros)
    try:
        if at_us is not None:
            return utc(at_us)
    except OverflowError:
        pass
    wanted = "microseconds since 1970 of the years 1 to 9999"
    failures.append(fault("timestamp", f"{path}timestamp_micros", micros, wanted))
    return None


def _see(click: Object, message: Object) -> None:
    """Fill in the device, the country and the consent, as far as the message tells."""
    device = message.get("device")
    if type(device) is dict:
        if kind := DEVICE_WORDS.get(str(device.get("category")).lower()):
            click["device_type"] = kind
        if browser := text_at(device, "browser"):
            click["browser"] = browser
    where = message.get("user_location")
    if type(where) is dict and (country := text_at(where, "country_id")):
        click["location"] = country
    consent = message.get("consent")
    if type(consent) is dict:
        yes_or_no = {name: _GRANTED.get(str(v).upper(), v) for name, v in consent.items()}
        if given := consent_of(yes_or_no):
            click["consent"] = given
            del message["consent"]


def _see_page(click: Object, params: Object, path: str, failures: list[Failure]) -> None:
    """Fill in the page, where the visitor came from, and the session."""
    if page := text_at(params, "page_path") or text_at(params, "page_location"):
        click["page"] = page
    if referrer := text_at(params, "page_referrer"):
        click["referrer_url"] = referrer
    session = id_at(params, _SESSION_NAMES, path, failures)
    if session is not None:
        click["session_id"] = session
