"""POST /internal/append: whole entries from `load`, `simulate` and `replay` on this machine.

They can't write the log while the collector does, so the collector writes for them: durable before
the answer, their progress in the same transaction. The secret is in `run/token`, mode 0600.
"""

import hmac
import secrets
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shopstream.collector.counts import Counts
from shopstream.collector.ingest import Ingest
from shopstream.collector.refusal import Refusal
from shopstream.collector.writer import Writer, settled
from shopstream.domain.failures import UNREADABLE
from shopstream.events import TOPICS, Entry
from shopstream.keys import write_private

MIB = 1024 * 1024
BODY_BYTES_MAX = 64 * MIB

_decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode
_decode_progress = msgspec.json.Decoder(dict[str, int]).decode


def make_token(run_dir: Path) -> str:
    """A new secret, durable in `run/token` and readable by its owner only."""
    token = secrets.token_urlsafe(32)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_private(run_dir / "token", token.encode())
    return token


class Internal:
    """The endpoint. An append that got no answer may or may not have happened: ask the log."""

    def __init__(self, token: str, *, ingest: Ingest, writer: Writer, counts: Counts) -> None:
        self._wanted = f"Bearer {token}".encode()
        self._ingest = ingest
        self._writer = writer
        self._counts = counts

    async def append(self, request: Request) -> Response:
        headers = dict(request.scope["headers"])
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._wanted):
            raise Refusal(401, "unauthorized", "the secret is in run/token of the data directory")
        body = await self._ingest.body(headers, request.receive, BODY_BYTES_MAX)
        try:
            entries = _decode_entries(body)
            progress = _decode_progress(headers.get(b"x-progress", b"{}"))
        except UNREADABLE as e:
            raise Refusal(400, "entries", f"not entries: {e}") from None
        if wrong := next((e.topic for e in entries if e.topic not in TOPICS), None):
            raise Refusal(400, "topic", f"{wrong!r} is not one of {', '.join(TOPICS)}")
        done = self._writer.submit_entries(entries, progress, len(body))
        end = settled(await done, why=True)
        for entry in entries:
            self._counts.received[entry.topic] += len(entry.events)
        return Response(b'{"end":%d}' % end, media_type="application/json")
