"""The collector as one ASGI application, and all that it is made of put together."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from shopstream.collector.access import Access, ensure_guarded, is_loopback
from shopstream.collector.counts import Counts
from shopstream.collector.entries import Entries
from shopstream.collector.ingest import ROUTES, Ingest
from shopstream.collector.internal import Internal
from shopstream.collector.lookups import Lookups
from shopstream.collector.metrics import Metrics
from shopstream.collector.openapi import METRICS
from shopstream.collector.pages import Pages
from shopstream.collector.watch import Watch
from shopstream.collector.writer import Writer
from shopstream.errors import LogBroken
from shopstream.keys import KeyRing
from shopstream.ports import Log

if TYPE_CHECKING:
    from shopstream.engine import Engine


class Collector:
    """The ASGI application. `start` on the event loop that serves it, `stop` after the last answer.

    What comes for `ROUTES` goes straight to `Ingest`; everything else is behind it.
    """

    def __init__(
        self, engine: "Engine", log: Log, *, token: str, on_broken: Callable[[LogBroken], None]
    ) -> None:
        settings = engine.settings
        entries = Entries(settings)
        self.counts = Counts()
        keys = KeyRing(settings.data_dir)
        ensure_guarded(keys, settings.host)
        self.access = Access(
            keys,
            rate_events_per_s=settings.rate_events_per_s,
            loopback=is_loopback(settings.host),
        )
        self.writer = Writer(
            log,
            end=log.end(),
            queue_events_max=settings.queue_events_max,
            make_entry=entries.accepted,
            on_broken=on_broken,
        )
        self.watch = Watch(engine, self.writer)
        self.lookups = Lookups(engine)
        self._ingest = Ingest(
            settings, writer=self.writer, entries=entries, access=self.access, counts=self.counts
        )
        internal = Internal(token, ingest=self._ingest, writer=self.writer, counts=self.counts)
        self._pages = Pages(
            settings,
            access=self.access,
            ingest=self._ingest,
            lookups=self.lookups,
            watch=self.watch,
            more=(
                Route(METRICS, Metrics(self.counts, self.writer, self.watch).page),
                Route("/internal/append", internal.append, methods=["POST"]),
            ),
        ).app()

    def start(self) -> None:
        self.writer.start()

    def stop(self) -> None:
        """Append what still waits; readers are closed."""
        self.writer.stop()
        self.lookups.close()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        route = ROUTES.get(scope["path"])
        if route is not None:
            return self._ingest(route, scope, receive, send)
        return self._pages(scope, receive, send)
