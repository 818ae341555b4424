"""Everything but the hot path, as a Starlette app: health, metrics, docs, verdicts, look-ups."""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from shopstream.collector import lookups, splitting
from shopstream.collector.access import Access
from shopstream.collector.bodies import GZIP_MAGIC, BadGzip, inflate
from shopstream.collector.docs_page import STYLE, docs_page
from shopstream.collector.entries import body_limits, now_us
from shopstream.collector.ingest import Ingest, dialect_of
from shopstream.collector.judge import Judge
from shopstream.collector.lookups import Lookups
from shopstream.collector.openapi import Spec, openapi
from shopstream.collector.refusal import ClientGone, Refusal
from shopstream.domain.failures import shown
from shopstream.events import TOPICS
from shopstream.settings import Settings

VALIDATE_EVENTS_MAX = 1_000
_encode = msgspec.json.Encoder().encode


class Health(Protocol):
    """The truth about delivery, a `msgspec.Struct` with this and more."""

    @property
    def delivering(self) -> bool: ...


class Watch(Protocol):
    """Knows how delivery stands."""

    @property
    def health(self) -> Health: ...


class Pages:
    """The handlers, with what they need. `more` are pages that only one engine has."""

    def __init__(
        self,
        settings: Settings,
        *,
        access: Access,
        ingest: Ingest,
        lookups: Lookups,
        watch: Watch,
        more: Sequence[Route] = (),
    ) -> None:
        self._settings = settings
        self._access = access
        self._ingest = ingest
        self._lookups = lookups
        self._watch = watch
        self._more = more
        self._judge = Judge(settings)

    @cached_property
    def _openapi(self) -> Spec:
        return openapi(self._settings, own={route.path for route in self._more})

    def app(self) -> "Secured":
        routes = [
            Route("/", self.root),
            Route("/health", self.health),
            Route("/openapi.json", self.spec),
            Route("/docs", self.docs),
            Route("/v1/validate/{topic}", self.validate, methods=["POST"]),
            Route("/v1/users/{id:path}/offers", self.offers),
            Route("/v1/users/{id:path}/events", self.events),
            Route("/v1/users/{id:path}/cart", self.cart),
            Route("/v1/orders/{id:path}", self.orders),
            *self._more,
        ]
        handlers: dict[Any, Any] = {Refusal: _refuse, HTTPException: _http_error}
        return Secured(Starlette(routes=routes, exception_handlers=handlers))

    async def root(self, _request: Request) -> Response:
        return Response(status_code=307, headers={"location": "/docs"})

    async def health(self, _request: Request) -> Response:
        health = self._watch.health
        return _json(_encode(health), 200 if health.delivering else 503)

    async def spec(self, _request: Request) -> Response:
        return _json(_encode(self._openapi))

    async def docs(self, _request: Request) -> Response:
        return Response(docs_page(self._openapi), media_type="text/html; charset=utf-8")

    async def validate(self, request: Request) -> Response:
        topic = request.path_params["topic"]
        if topic not in TOPICS:
            raise _no_topic(topic)
        headers = dict(request.scope["headers"])
        query = request.scope["query_string"]
        key = self._access.writer(self._access.presented(headers, query))
        self._access.bind(key, [topic])
        dialect = dialect_of(topic, query)
        body = await self._ingest.body(headers, request.receive)
        if body[:2] == GZIP_MAGIC:
            try:
                body = await inflate(body, self._settings.inflated_bytes_max)
            except BadGzip as e:
                raise Refusal(400, "encoding", str(e)) from None
        limits = body_limits(topic, self._settings)._replace(batch_events_max=VALIDATE_EVENTS_MAX)
        try:
            found = splitting.split(topic, body, limits)
        except splitting.Empty:
            raise Refusal(400, "empty", "the body holds no event") from None
        except splitting.TooMany:
            most = VALIDATE_EVENTS_MAX
            raise Refusal(413, "too_many", f"more than {most:,} events in one request") from None
        except splitting.Unreadable as e:
            raise Refusal(400, e.rejection.reason, str(e)) from None
        self._access.spend(key, len(found.events))
        verdicts = await asyncio.to_thread(self._judge.verdicts, topic, dialect, found, now_us())
        return _json(verdicts)

    async def offers(self, request: Request) -> Response:
        self._access.reader(dict(request.scope["headers"]))
        every = request.query_params.get("all", "0")
        if every not in ("0", "1"):
            raise Refusal(400, "query", "all is 0 or 1")
        limit = _limit(request, 100, lookups.OFFERS_MAX)
        user_id = request.path_params["id"]
        return _json(await self._lookups.offers(user_id, every=every == "1", limit=limit))

    async def events(self, request: Request) -> Response:
        self._access.reader(dict(request.scope["headers"]))
        limit = _limit(request, 50, lookups.EVENTS_MAX)
        return _json(await self._lookups.events(request.path_params["id"], limit=limit))

    async def cart(self, request: Request) -> Response:
        self._access.reader(dict(request.scope["headers"]))
        return _json(await self._lookups.carts(request.path_params["id"]))

    async def orders(self, request: Request) -> Response:
        self._access.reader(dict(request.scope["headers"]))
        return _json(await self._lookups.orders(request.path_params["id"]))


def _limit(request: Request, default: int, most: int) -> int:
    text = request.query_params.get("limit", str(default))
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most:
        return int(text)
    wanted = f"limit is a number from 1 to {most}"
    raise Refusal(400, "query", f"{wanted}, not {shown(text.encode(), 40)}")


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _no_topic(topic: str) -> Refusal:
    return Refusal(
        404, "topic", f"there is no topic {topic[:64]!r}; topics are {', '.join(TOPICS)}"
    )


async def _refuse(_request: Request, refusal: Exception) -> Response:
    if not isinstance(refusal, Refusal):
        raise refusal
    headers = {name.decode(): value.decode("latin-1") for name, value in refusal.headers}
    return Response(refusal.body, refusal.status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    path = request.scope["path"]
    refusal = Refusal(error.status_code, "http", error.detail)
    if error.status_code == 404:
        refusal = Refusal(404, "not_found", "there is nothing here; see /docs")
        if path.startswith("/v1/events/"):
            refusal = _no_topic(path.removeprefix("/v1/events/"))
    response = await _refuse(request, refusal)
    response.headers.update(error.headers or {})
    return response


class Secured:
    """Adds the headers that keep browsers from doing more with an answer than show it."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                added = [header for header in _SECURITY if header[0] not in present]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        # A client that left has no answer to wait for.
        with suppress(ClientGone):
            await self._app(scope, receive, send_secured)


_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest())
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'sha256-" + _STYLE_HASH + b"';"
        b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]
