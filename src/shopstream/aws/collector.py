"""The collector behind API Gateway: the very application of `shopstream.collector`, its log and
tables those of AWS.

An environment of Lambda answers one request at a time; the event loop, the log's thread and the
keys are kept for the next one.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any

import structlog

from shopstream.aws import gateway
from shopstream.aws.health import AwsWatch
from shopstream.aws.key_file import S3KeyFile
from shopstream.collector.access import Access
from shopstream.collector.answers import refused
from shopstream.collector.counts import Counts
from shopstream.collector.entries import Entries
from shopstream.collector.ingest import ROUTES, Ingest
from shopstream.collector.lookups import Lookups
from shopstream.collector.pages import Pages
from shopstream.collector.refusal import Refusal
from shopstream.collector.writer import Writer
from shopstream.errors import ShopstreamError
from shopstream.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from starlette.types import Receive, Scope, Send

    from shopstream.aws.engine import AwsEngine
    from shopstream.errors import LogBroken
    from shopstream.ports import Tables

KEYS_EVERY_S = 5.0
"""A key that was added or revoked is taken up within so long."""
APPEND_S = 12.0
"""After so long no more calls are begun to take a request in: API Gateway waits 29 s for the
answer, a cold start before and the slow end of the last call included.
"""


class Collector:
    """The ASGI application on AWS. Made on the event loop that runs it.

    Anybody can reach it, so nothing is open: without keys every request is refused.
    """

    def __init__(self, engine: AwsEngine) -> None:
        settings = engine.settings
        self.broken = False
        self.append_until_s = math.inf
        self.counts = Counts()
        entries = Entries(settings)
        self._access = Access(
            KeyRing(S3KeyFile(engine.clients, engine.names)),
            rate_events_per_s=settings.rate_events_per_s,
            loopback=False,
        )
        self._keys_s = time.monotonic()
        self._writer = Writer(
            engine.write_log(lambda: self.append_until_s),
            queue_events_max=settings.queue_events_max,
            make_entry=entries.accepted,
            on_broken=self._break,
        )
        self._lookups = Lookups(_OneShard(engine))
        self._ingest = Ingest(
            settings,
            writer=self._writer,
            entries=entries,
            access=self._access,
            counts=self.counts,
        )
        self._pages = Pages(
            settings,
            access=self._access,
            ingest=self._ingest,
            lookups=self._lookups,
            watch=AwsWatch(engine.clients, engine.names, engine.settings),
        ).app()
        self._writer.start()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if (now_s := time.monotonic()) - self._keys_s >= KEYS_EVERY_S:
            self._access.refresh()
            self._keys_s = now_s
        route = ROUTES.get(scope["path"])
        if route is not None:
            return self._ingest(route, scope, receive, send)
        return self._pages(scope, receive, send)

    def close(self) -> None:
        self._writer.stop()
        self._lookups.close()

    def _break(self, _broken: LogBroken) -> None:
        self.broken = True


class CollectorFunction:
    """Answers events of API Gateway, one at a time, on an event loop of its own."""

    def __init__(self, engine: AwsEngine) -> None:
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ]
        )
        self._engine = engine
        self._runner = asyncio.Runner()
        self._collector: Collector | None = None

    def answer(self, event: Mapping[str, Any]) -> tuple[dict[str, Any], Counts]:
        """The answer, and what was counted on the way to it."""
        return self._runner.run(self._answer(event))

    async def _answer(self, event: Mapping[str, Any]) -> tuple[dict[str, Any], Counts]:
        began_s = time.monotonic()
        try:
            collector = self._collector = self._collector or Collector(self._engine)
            counts = collector.counts
            counts.received.clear()
            counts.rejected.clear()
            collector.append_until_s = began_s + APPEND_S
            answer = await gateway.answer(collector, event)
        except ShopstreamError as e:
            structlog.get_logger().error("not_answered", error=str(e))
            return await gateway.answer(_unavailable, event), Counts()
        if collector.broken:
            # Its log takes nothing more; the next request gets one that does.
            collector.close()
            self._collector = None
        return answer, counts

    def close(self) -> None:
        if self._collector is not None:
            self._collector.close()
        self._runner.close()


async def _unavailable(scope: Scope, _receive: Receive, send: Send) -> None:
    """An application without anything: keys can't be read, for instance."""
    why = "AWS doesn't give what is needed to answer; try again"
    await refused(Refusal(503, "unavailable", why, retry_after_s=2)).send(scope, send)


class _OneShard:
    """The tables of AWS, which are not in shards, as look-ups read them."""

    shards = 1

    def __init__(self, engine: AwsEngine) -> None:
        self._engine = engine

    def read_tables(self, _shard: int) -> Tables:
        return self._engine.tables()
