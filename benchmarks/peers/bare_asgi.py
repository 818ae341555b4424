"""The limit of an HTTP collector: a bare ASGI app on uvicorn that knows nothing of events.

`commit` answers once the body is on disk: a writer thread compresses and commits what has
gathered, with an fsync, as one SQLite row. `decode` decodes and validates every event, and
forgets it. No routes, no keys, no limits, no counts.
"""

import asyncio
import queue
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import msgspec
import uvicorn
import zstandard

from shopstream.events import Click

_GROUP_MAX = 4_000
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}
_BODY = {"type": "http.response.body", "body": b"{}"}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Waiting = tuple[bytes, "asyncio.Future[None]"]


class GroupCommit:
    """Makes bodies durable, as many at a time as have gathered meanwhile."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path))
        self._db.pragma("journal_mode", "wal")
        self._db.pragma("synchronous", "full")
        self._db.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, body BLOB)")
        self._compress = zstandard.ZstdCompressor(level=1).compress
        self._waiting: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        threading.Thread(target=self._write, daemon=True).start()

    async def append(self, body: bytes) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put((body, done))
        await done

    def _write(self) -> None:
        while True:
            group = [self._waiting.get()]
            while len(group) < _GROUP_MAX and not self._waiting.empty():
                group.append(self._waiting.get())
            blob = self._compress(b"\n".join(body for body, _ in group))
            # Statements, not `with`: that would hold the GIL while COMMIT waits for the disk.
            self._db.execute("BEGIN")
            self._db.execute("INSERT INTO log (body) VALUES (?)", (blob,))
            self._db.execute("COMMIT")
            group[0][1].get_loop().call_soon_threadsafe(_finish, group)


def _finish(group: list[Waiting]) -> None:
    for _, done in group:
        if not done.done():
            done.set_result(None)


class BareApp:
    """One route for everything; what is done with a body is `take`."""

    def __init__(self, take: Callable[[bytes], Awaitable[None]]) -> None:
        self._take = take

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        await self._take(body)
        await send(_START)
        await send(_BODY)


_read = msgspec.json.Decoder(Click).decode


async def decode(body: bytes) -> None:
    for raw in body.split(b"\n"):
        try:
            _read(raw)
        except msgspec.DecodeError:
            continue


def main(what: str, port: int, folder: Path) -> None:
    take = GroupCommit(folder / "bare.db").append if what == "commit" else decode
    uvicorn.run(
        BareApp(take), host="127.0.0.1", port=port, lifespan="off", log_level="error", loop="uvloop"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
