"""Segment messages (also RudderStack's, which speaks the same) -> our events.

What a field of ours holds whole is not repeated in `extra`; everything else stays there under the
names it had. Left out is what belongs to the sending and differs when a message is sent again:
`sentAt`, `receivedAt`, `originalTimestamp`, `_metadata` (a retry count), and `integrations` and
`writeKey`, which aren't about the event. So a message sent twice makes the same events, but for
`timestamp` where the sender's clock is corrected.
"""

import re
from typing import Any

from shopstream.domain.browsers import DEVICE_WORDS, agent_of
from shopstream.domain.ecommerce import OTHER, Meaning, Told, events_of, meaning_of
from shopstream.domain.message import (
    Object,
    Unreadable,
    consent_of,
    fault,
    id_at,
    object_at,
    read_object,
    take,
    text_at,
    time_of,
    utc,
    written,
)
from shopstream.events import DeviceType, Failure, Topic

CONTEXT_BYTES_MAX = 32 * 1024
"""A batch's context is repeated in each of its events; Segment allows an event this much."""

CALLS = ("track", "page", "screen", "identify", "group", "alias")
_VIEW = Meaning("view", known=False)
_OF_THE_SENDING = (
    *("type", "timestamp", "originalTimestamp", "sentAt", "receivedAt"),
    *("integrations", "writeKey", "_metadata"),
)
_SESSION_NAMES = ("session_id", "sessionId")
_ABSOLUTE_URL = re.compile(
    r"[\0- ]*+[A-Za-z][A-Za-z0-9+.-]*+://(?:[^][/?#]|\[[^][/?#]*+\])++((?:/[^?#]*+)?)(?=[?#]|\Z)"
)
"""Not `urlsplit`: that normalizes the host, which crafted combining marks make take minutes."""
_COUNTRY_OF_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z]{4})?[-_]([A-Za-z]{2})(?![A-Za-z])")


def read_segment(raw: bytes, context: bytes, received_us: int) -> list[tuple[Topic, bytes]]:
    """The events of one Segment message, as JSON in our dialect.

    `context` is JSON of what came around it: the batch's `context` and `sentAt`, the call (`type`)
    that the endpoint stands for; what the message says itself wins. Raises Unreadable with all
    faults of the message's build; its values are judged by validation, like any event's.
    """
    message = read_object(raw)
    envelope = _envelope(context) if context else {}
    failures: list[Failure] = []
    call, name = _call(message, envelope, failures)
    event_id = id_at(message, ("messageId",), "", failures)
    time = _time(message, envelope.get("sentAt"), received_us, corrected=event_id is not None)
    click: Object = {"user_id": _user(message, failures), "timestamp": time}
    properties = object_at(message, "properties", "", failures)
    around = _around(message, envelope, failures)
    if type(message.get("traits", {})) not in (dict, type(None)):
        failures.append(fault("type", "traits", message["traits"], "an object"))
    session = id_at(properties, _SESSION_NAMES, "properties.", failures) or id_at(
        around, _SESSION_NAMES, "context.", failures
    )
    if session is not None:
        click["session_id"] = session
    _see(click, call, message, properties, around)
    for left_out in _OF_THE_SENDING:
        message.pop(left_out, None)
    if around:
        message["context"] = around
    extra = {"type": call} | message
    meaning = _VIEW if call in ("page", "screen") else meaning_of(name) if name else OTHER
    told = Told(name, event_id, click, "properties", properties, extra)
    events = events_of(told, meaning, "properties.", failures)
    if failures:
        raise Unreadable(failures)
    return written(events, raw, context)


def _envelope(context: bytes) -> Object:
    if len(context) > CONTEXT_BYTES_MAX:
        wanted = f"at most {CONTEXT_BYTES_MAX} bytes"
        raise Unreadable([Failure("too_large", "context", f"{len(context)} bytes", wanted)])
    return read_object(context, "context")


def _call(message: Object, envelope: Object, failures: list[Failure]) -> tuple[str, str]:
    """The call and, of a track call, the name of the event."""
    call = message.get("type") or envelope.get("type")
    if type(call) is not str or call not in CALLS:
        failures.append(fault("unknown_event", "type", call, f"one of {', '.join(CALLS)}"))
        return "", ""
    if call != "track":
        return call, ""
    name = message.get("event")
    if type(name) is not str or not name:
        reason = "missing" if name is None or name == "" else "type"
        failures.append(fault(reason, "event", name, "the name of the event"))
        return call, ""
    return call, name


def _user(message: Object, failures: list[Failure]) -> Any:
    user = id_at(message, ("userId", "anonymousId"), "", failures)
    if user is None:
        wanted = "text or a number, or else an anonymousId"
        failures.append(fault("missing", "userId", message.get("userId"), wanted))
    return user


def _around(message: Object, envelope: Object, failures: list[Failure]) -> Object:
    """The context of the message over that of its batch."""
    own = object_at(message, "context", "", failures)
    batch = object_at(envelope, "context", "batch.", failures)
    return _merged(batch, own) if batch else own


def _merged(under: Object, over: Object) -> Object:
    for name, value in over.items():
        below = under.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            value = _merged(below, value)
        under[name] = value
    return under


def _time(message: Object, batch_sent: Any, received_us: int, *, corrected: bool) -> Any:
    """When it happened by our clock: received - (sent - when the sender says it happened).

    Segment's formula. Not applied where `receivedAt` says that Segment did so already, and not to
    a message without an id: its id is made of its content, which must not depend on the sending.
    """
    original, says = take(message, "originalTimestamp"), take(message, "timestamp")
    if "receivedAt" in message and says is not None:
        return says
    if original is not None:
        says = original
    if corrected:
        sent, happened = time_of(take(message, "sentAt") or batch_sent), time_of(says)
        if sent and happened:
            try:
                return utc(received_us) - (sent - happened)
            except OverflowError:
                return says
    return utc(received_us) if says is None else says


def _see(click: Object, call: str, message: Object, properties: Object, around: Object) -> None:
    """Fill in where the visitor was and with what, as far as the context tells."""
    page = around.get("page")
    page = page if type(page) is dict else {}
    if at := _page(*((properties, page) if call == "page" else (page, properties))):
        click["page"] = at
    elif call == "screen" and type(message.get("name")) is str:
        click["page"] = message["name"]
    referrer = text_at(page, "referrer")
    if referrer is None and call == "page":
        referrer = text_at(properties, "referrer")
    if referrer:
        click["referrer_url"] = referrer
    if "page" in around and around["page"] == {}:
        del around["page"]
    if country := _country(around):
        click["location"] = country
    _see_device(click, around)
    consent = around.get("consent")
    if type(consent) is dict and (given := consent_of(consent.get("categoryPreferences"))):
        click["consent"] = given
        del consent["categoryPreferences"]


def _page(*sources: Object) -> str | None:
    """The path of the page, so that a page has one name whether its path is said or only its URL.
    A URL that says more than the path stays where it is.
    """
    for source in sources:
        if path := text_at(source, "path"):
            return path
    for source in sources:
        if url := text_at(source, "url"):
            path = _path_of(url)
            if path != url:
                source["url"] = url
            return path
    return None


def _path_of(url: str) -> str:
    """The path of an absolute URL; what is none as it is."""
    found = _ABSOLUTE_URL.match(url)
    return found[1] or "/" if found else url


def _country(around: Object) -> str | None:
    for place in ("location", "geo"):
        found = around.get(place)
        if type(found) is dict and type(found.get("country")) is str and found["country"]:
            return str(found["country"])
    locale = around.get("locale")
    if type(locale) is str and (match := _COUNTRY_OF_LOCALE.match(locale)):
        return match[1].upper()
    return None


def _see_device(click: Object, around: Object) -> None:
    agent = around.get("userAgent")
    browser, device = agent_of(agent) if type(agent) is str else (None, None)
    if browser:
        click["browser"] = browser
    if kind := _device(around, device):
        click["device_type"] = kind


def _device(around: Object, by_agent: DeviceType | None) -> DeviceType | None:
    said = around.get("device")
    if type(said) is dict and (by_word := DEVICE_WORDS.get(str(said.get("type")).lower())):
        return "tablet" if "ipad" in str(said.get("model")).lower() else by_word
    hints = around.get("userAgentData")
    mobile = hints.get("mobile") if type(hints) is dict else None
    if mobile is True:
        return "mobile"
    return by_agent or ("desktop" if mobile is False else None)
