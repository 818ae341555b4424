"""What the hot path answers: ASGI's two messages, and the same as bytes for a server of our own."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from starlette.types import Message, Scope, Send

from shopstream.collector.refusal import Refusal

WHOLE = "shopstream.whole"
"""The ASGI extension of a server that writes an answer at once: its "write" is a `WriteWhole`."""
WriteWhole = Callable[[Scope, bytes], bool]
"""(scope, an answer 200 from its first header to its end) -> whether it was written; if not, the
messages must be sent.
"""
_NO_EXTENSIONS: Mapping[str, Mapping[str, WriteWhole]] = {}


class Answer(NamedTuple):
    """An answer as ASGI messages; `whole` is the same in bytes, empty where only these will do."""

    start: Message
    body: Message
    whole: bytes = b""

    def plus(self, headers: Iterable[tuple[bytes, bytes]]) -> "Answer":
        """This answer with more headers."""
        more = list(headers)
        start = {**self.start, "headers": [*self.start["headers"], *more]}
        return Answer(start, self.body, _lines(more) + self.whole if self.whole else b"")

    async def send(self, scope: Scope, send: Send) -> None:
        """Answer the request of `scope`."""
        if self.whole:
            whole = scope.get("extensions", _NO_EXTENSIONS).get(WHOLE)
            if whole is not None and whole["write"](scope, self.whole):
                return
        await send(self.start)
        await send(self.body)


def ok(body: bytes) -> Answer:
    """An answer 200 with this JSON."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    return Answer(
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": body},
        b"%b\r\n%b" % (_lines(headers), body),
    )


def refused(refusal: Refusal) -> Answer:
    """An answer that says no."""
    body = refusal.body
    headers = [*refusal.headers, (b"content-length", b"%d" % len(body))]
    return Answer(
        {"type": "http.response.start", "status": refusal.status, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)
