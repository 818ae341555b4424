"""API Gateway's events as requests to an ASGI application, and its answers as theirs.

Both forms of the event are taken: payload 2.0 (HTTP APIs, Function URLs) and 1.0 (REST APIs).
"""

from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import quote_plus, unquote

Event: TypeAlias = Mapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
Headers: TypeAlias = list[tuple[bytes, bytes]]


async def answer(app: App, event: Event) -> dict[str, Any]:
    """What `app` answers to the request in `event`, as Lambda is to return it."""
    asked: Message = {"type": "http.request", "body": _body(event), "more_body": False}
    waiting = [asked]
    status = 500
    headers: Headers = []
    parts: list[bytes] = []

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], message["headers"]
        else:
            parts.append(message.get("body", b""))

    await app(_scope(event), receive, send)
    return _answer(status, headers, b"".join(parts))


def _scope(event: Event) -> dict[str, Any]:
    old = "httpMethod" in event
    http = event["requestContext"].get("http", {})
    path: str = event["path"] if old else event["rawPath"]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": event["httpMethod"] if old else http["method"],
        "scheme": "https",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": _old_query(event) if old else event.get("rawQueryString", "").encode(),
        "headers": list(_old_headers(event) if old else _headers(event)),
        "client": None,
        "server": None,
    }


def _headers(event: Event) -> Iterator[tuple[bytes, bytes]]:
    for name, value in (event.get("headers") or {}).items():
        yield name.lower().encode("latin-1"), value.encode("latin-1", "replace")


def _old_headers(event: Event) -> Iterator[tuple[bytes, bytes]]:
    for name, values in (event.get("multiValueHeaders") or {}).items():
        yield name.lower().encode("latin-1"), ", ".join(values).encode("latin-1", "replace")


def _old_query(event: Event) -> bytes:
    given = event.get("multiValueQueryStringParameters") or {}
    pairs = ((name, value) for name, values in given.items() for value in values)
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()


def _body(event: Event) -> bytes:
    body: str = event.get("body") or ""
    return b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8", "replace")


def _answer(status: int, headers: Headers, body: bytes) -> dict[str, Any]:
    shown: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        # API Gateway takes each header once and sets the length itself.
        if name != "content-length":
            shown[name] = f"{shown[name]}, {value}" if name in shown else value
    try:
        return {
            "statusCode": status,
            "headers": shown,
            "body": body.decode("utf-8"),
            "isBase64Encoded": False,
        }
    except UnicodeDecodeError:
        return {
            "statusCode": status,
            "headers": shown,
            "body": b64encode(body).decode(),
            "isBase64Encoded": True,
        }
