"""Reading a request body within bounds: bytes as sent, bytes inflated, bytes in memory at once.

gzip is recognised by its magic bytes whatever the headers say: SDKs send it labelled as JSON or as
a form, and label plain JSON as gzip.
"""

import asyncio
import zlib
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.types import Message, Receive

from shopstream.collector.refusal import ClientGone, Refusal

MIB = 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"
READING_BYTES_MAX = 256 * MIB
"""Bodies of all clients together that may be half read; beyond it new ones get 503."""
_INLINE_BYTES_MAX = 8 * 1024
_DRAIN_TIMES = 4
_GZIP_WBITS = 31


class Reading:
    """Counts what half-read bodies hold in memory."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0

    async def rest(
        self,
        first: Message,
        receive: Receive,
        bytes_max: int,
    ) -> bytes:
        """The whole body of which `first` is the first message. Raises Refusal or ClientGone."""
        chunks: list[bytes] = []
        size = 0
        message: MutableMapping[str, Any] = first
        try:
            while True:
                if message["type"] != "http.request":
                    raise ClientGone
                chunk = message["body"]
                size += len(chunk)
                self.held += len(chunk)
                if size > bytes_max:
                    raise too_large(bytes_max)
                if self.held > READING_BYTES_MAX:
                    raise Refusal(
                        503,
                        "busy",
                        "too many bodies at once; try again",
                        retry_after_s=1,
                        close=True,
                    )
                chunks.append(chunk)
                if not message["more_body"]:
                    return b"".join(chunks)
                message = await receive()
        finally:
            self.held -= size


async def check_declared(headers: Mapping[bytes, bytes], receive: Receive, bytes_max: int) -> None:
    """Raise Refusal 413 for a body that is too large by its own account. Before any `receive`,
    which would tell a client that waits for 100-continue to go on.

    One that is somewhat too large is taken in and dropped: its client, still sending, would see a
    reset connection instead of the answer.
    """
    declared = headers.get(b"content-length", b"")
    size = int(declared) if declared.isdigit() else 0
    if size <= bytes_max:
        return
    if b"expect" not in headers and size <= _DRAIN_TIMES * bytes_max:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
    raise too_large(bytes_max)


def too_large(bytes_max: int) -> Refusal:
    return Refusal(413, "too_large", f"the body is over {bytes_max:,} bytes", close=True)


async def inflate(body: bytes, bytes_max: int) -> bytes:
    """`body` gunzipped, bombs stopped at `bytes_max` (413); large ones in a thread."""
    if len(body) <= _INLINE_BYTES_MAX:
        return inflate_now(body, bytes_max)
    return await asyncio.to_thread(inflate_now, body, bytes_max)


class BadGzip(Exception):
    """The body starts like gzip and is none."""


def inflate_now(body: bytes, bytes_max: int) -> bytes:
    """All gzip members of `body`, inflated. Raises BadGzip, or Refusal 413 above `bytes_max`."""
    parts: list[bytes] = []
    room = bytes_max + 1
    rest = body
    while rest:
        if not rest.startswith(GZIP_MAGIC):
            if rest.strip(b"\0"):
                raise BadGzip("bytes follow the gzip data")
            break
        member = zlib.decompressobj(_GZIP_WBITS)
        try:
            part = member.decompress(rest, room)
        except zlib.error as e:
            raise BadGzip(str(e)) from None
        parts.append(part)
        room -= len(part)
        if room <= 0:
            raise Refusal(413, "too_large", f"the inflated body is over {bytes_max:,} bytes")
        if not member.eof:
            raise BadGzip("the gzip data is cut off")
        rest = member.unused_data
    inflated = b"".join(parts)
    if inflated.startswith(GZIP_MAGIC):
        raise BadGzip("the body is gzip inside gzip; send it gzipped once")
    return inflated
