"""The hot path: a request's events into the log, the answer 200 once they are on disk.

A bare ASGI callable on purpose: single events cost 35 microseconds each all in all, so every
layer around it would be seen.
"""

from collections.abc import Mapping
from time import perf_counter
from typing import NamedTuple
from urllib.parse import parse_qs

from starlette.types import Message, Receive, Scope, Send

from shopstream.collector import splitting
from shopstream.collector.access import Access
from shopstream.collector.answers import Answer, ok, refused
from shopstream.collector.bodies import (
    GZIP_MAGIC,
    BadGzip,
    Reading,
    check_declared,
    inflate,
)
from shopstream.collector.cors import Cors
from shopstream.collector.counts import Counts
from shopstream.collector.entries import Entries, body_limits, not_a_message, not_gzip, now_us
from shopstream.collector.refusal import ClientGone, Refusal
from shopstream.collector.segment import BATCH, MESSAGE_TYPES, Messages, read_messages
from shopstream.collector.splitting import Split, split_fast
from shopstream.collector.writer import Kind, Writer, settled
from shopstream.events import TOPICS, Rejection
from shopstream.keys import Key
from shopstream.settings import Settings

_SEGMENT_TOPICS = ("clicks", "orders")


class Route(NamedTuple):
    """Where events come in: their topic, what a key must be bound to, and the Segment type."""

    kind: Kind
    topics: tuple[str, ...]
    message_type: str = ""


ROUTES: dict[str, Route] = {
    f"/v1/events/{topic}": Route(Kind(topic), (topic,)) for topic in TOPICS
} | {
    # An Order Completed makes an order too, so a key for these must be bound to both topics.
    f"/v1/{name}": Route(Kind("clicks", "segment"), _SEGMENT_TOPICS, message_type)
    for name, message_type in MESSAGE_TYPES.items()
}


_OK_ONE = ok(b'{"received":1,"rejected":0}')
_OK_SEGMENT = ok(b'{"success":true}')


class Ingest:
    """Takes requests for `ROUTES`. Nothing is validated here beyond where an event ends."""

    def __init__(
        self,
        settings: Settings,
        *,
        writer: Writer,
        entries: Entries,
        access: Access,
        counts: Counts,
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._entries = entries
        self._access = access
        self._cors = Cors(settings.cors_origins)
        self._counts = counts
        self._reading = Reading()
        self._bytes_max = settings.body_bytes_max
        self._digits = len(str(self._bytes_max))
        self._limits: dict[str, splitting.BodyLimits] = {
            topic: body_limits(topic, settings) for topic in TOPICS
        }

    async def __call__(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            if scope["method"] == "POST":
                answer = await self._take(route, scope["query_string"], headers, receive)
            else:
                answer = self._not_a_post(scope["method"], headers)
        except Refusal as e:
            answer = refused(e)
        except ClientGone:
            return
        if (origin := headers.get(b"origin")) is not None and scope["method"] != "OPTIONS":
            answer = answer.plus(self._cors.headers(origin))
        self._counts.answered(answer.start["status"], perf_counter() - began)
        await answer.send(scope, send)

    def _not_a_post(self, method: str, headers: Mapping[bytes, bytes]) -> Answer:
        if method == "OPTIONS":
            start, body, _ = ok(b"")
            return Answer({**start, "headers": self._cors.preflight(headers)}, body)
        refusal = Refusal(405, "method", f"{method} is not POST")
        return refused(refusal).plus([(b"allow", b"POST, OPTIONS")])

    async def _take(
        self, route: Route, query: bytes, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer:
        if route.message_type:
            return await self._take_segment(route, query, headers, receive)
        if query:
            route = _with_dialect(route, query)
        key = None
        if not self._access.open:
            key = self._access.writer(self._access.presented(headers, query))
            self._access.bind(key, route.topics)
        kind = route.kind
        if len(headers.get(b"content-length", b"")) >= self._digits:
            await check_declared(headers, receive, self._bytes_max)
        message = await receive()
        if (
            message["type"] != "http.request"
            or message["more_body"]
            or len(body := message["body"]) > self._bytes_max
            or body[:2] == GZIP_MAGIC
        ):
            body = await self._whole(kind, key, message, receive)
        events = split_fast(body, self._limits[kind.topic])
        if events is None:
            return await self._take_slowly(kind, key, body)
        count = len(events)
        if self._access.limited:
            self._access.spend(key, count)
        outcome = await self._writer.submit(kind, events, count, len(body))
        if type(outcome) is not int:
            settled(outcome)
        self._counts.received[kind.topic] += count
        return _OK_ONE if count == 1 else ok(b'{"received":%d,"rejected":0}' % count)

    async def _take_slowly(self, kind: Kind, key: Key | None, body: bytes) -> Answer:
        found = await self.split(kind, key, body)
        count = await self._keep(kind, key, found)
        return ok(b'{"received":%d,"rejected":%d}' % (count, len(found.rejections)))

    async def _take_segment(
        self, route: Route, query: bytes, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer:
        key = None
        want_keys = False
        if not self._access.open:
            if secret := self._access.presented(headers, query):
                key = self._access.writer(secret)
                self._access.bind(key, route.topics)
            else:
                want_keys = True
        await check_declared(headers, receive, self._bytes_max)
        body = await self._whole(route.kind, key, await receive(), receive)
        messages = read_messages(route.message_type, body, want_keys=want_keys)
        if want_keys:
            key = self._key_of(route, messages)
        if messages is None:
            return await self._refuse_segment(route, key, body)
        if not messages.events:
            raise Refusal(400, "empty", "the batch holds no message")
        kind = Kind(route.kind.topic, "segment", messages.context)
        try:
            found = splitting.split_items(kind.topic, messages.events, self._limits[kind.topic])
        except splitting.TooMany:
            raise self._too_many() from None
        if found.rejections:
            await self._keep(kind, key, found)
            return _OK_SEGMENT
        self._access.spend(key, len(found.events))
        count = len(found.events)
        settled(await self._writer.submit(kind, found.events, count, len(body)))
        self._counts.received[kind.topic] += count
        return _OK_SEGMENT

    def _key_of(self, route: Route, messages: Messages | None) -> Key | None:
        """The key in a body. Each item of a batch may bring its own: then all must be good, and
        the first pays for the batch.
        """
        secrets = dict.fromkeys(messages.keys if messages else ()) or {"": None}
        keys = [self._access.writer(secret.encode()) for secret in secrets]
        for key in keys:
            self._access.bind(key, route.topics)
        return keys[0]

    async def _refuse_segment(self, route: Route, key: Key | None, body: bytes) -> Answer:
        if not body.strip():
            raise Refusal(400, "empty", "the body holds no message")
        wanted = (
            'a JSON object with a list "batch"'
            if route.message_type == BATCH
            else f"a {route.message_type} message, a JSON object"
        )
        raise await self._kept(route.kind, key, not_a_message(route.kind.topic, body, wanted))

    async def _whole(
        self,
        kind: Kind,
        key: Key | None,
        message: Message,
        receive: Receive,
    ) -> bytes:
        """The body that begins with `message`, inflated. Bad gzip is kept and refused."""
        body = await self._reading.rest(message, receive, self._bytes_max)
        if body[:2] != GZIP_MAGIC:
            return body
        try:
            return await inflate(body, self._settings.inflated_bytes_max)
        except BadGzip as e:
            # A key that didn't come with the head is in the body, which nobody can read.
            key = key or self._access.writer(b"")
            raise await self._kept(kind, key, not_gzip(kind.topic, body, str(e))) from None

    async def body(
        self, headers: Mapping[bytes, bytes], receive: Receive, bytes_max: int = 0
    ) -> bytes:
        """A body as sent, of at most `bytes_max` (default: the setting). Raises Refusal 413 or
        503, ClientGone.
        """
        bytes_max = bytes_max or self._bytes_max
        await check_declared(headers, receive, bytes_max)
        return await self._reading.rest(await receive(), receive, bytes_max)

    async def split(self, kind: Kind, key: Key | None, body: bytes) -> Split:
        """What a body holds that `split_fast` does not read; an unreadable one is kept whole."""
        try:
            return splitting.split(kind.topic, body, self._limits[kind.topic])
        except splitting.Empty:
            raise Refusal(400, "empty", "the body holds no event") from None
        except splitting.TooMany:
            raise self._too_many() from None
        except splitting.Unreadable as e:
            raise await self._kept(kind, key, e.rejection) from None

    async def _kept(self, kind: Kind, key: Key | None, rejection: Rejection) -> Refusal:
        """Keep an unreadable body in the quarantine; returns the refusal to raise."""
        await self._keep(kind, key, Split([], [rejection]))
        return Refusal(400, rejection.reason, rejection.failures[0].message)

    async def _keep(self, kind: Kind, key: Key | None, found: Split) -> int:
        """Append good events and rejections in one; returns how many they are."""
        count = len(found.events) + len(found.rejections)
        self._access.spend(key, count)
        at_us = now_us()
        entries = []
        if found.events:
            entries.append(self._entries.accepted(kind, found.events, at_us))
        if found.rejections:
            entries.append(self._entries.rejected(kind.topic, found.rejections, at_us))
        size = sum(len(raw) for entry in entries for raw in entry.events)
        settled(await self._writer.submit_entries(entries, {}, size))
        self._counts.received[kind.topic] += count
        for rejection in found.rejections:
            self._counts.rejected[kind.topic, rejection.reason] += 1
        return count

    def _too_many(self) -> Refusal:
        most = self._settings.batch_events_max
        return Refusal(413, "too_many", f"more than {most:,} events in one request")


def dialect_of(topic: str, query: bytes) -> str:
    """`?dialect=segment` or `ga4` on the clicks topic: how its events are to be read."""
    if b"dialect=" not in query:
        return "shopstream"
    dialect = parse_qs(query.decode("latin-1")).get("dialect", [""])[0]
    if dialect == "shopstream" or (dialect in ("segment", "ga4") and topic == "clicks"):
        return dialect
    raise Refusal(400, "dialect", "dialect is `shopstream`, or for clicks `segment` or `ga4`")


def _with_dialect(route: Route, query: bytes) -> Route:
    dialect = dialect_of(route.kind.topic, query)
    if dialect == "shopstream":
        return route
    return Route(Kind(route.kind.topic, dialect), _SEGMENT_TOPICS)
