"""The collector as a process: socket, event loop, signals, upkeep, an end in order."""

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
import uvloop

from shopstream.collector.access import OPEN_NOTICE, ensure_guarded
from shopstream.collector.app import Collector
from shopstream.collector.internal import make_token
from shopstream.collector.protocol import BoundedProtocol, bounded_protocol
from shopstream.collector.upkeep import Upkeep
from shopstream.engine import open_engine
from shopstream.errors import ConfigError, LogBroken
from shopstream.keys import KeyRing
from shopstream.machine import allow_open_files
from shopstream.settings import Settings

if TYPE_CHECKING:
    from shopstream.engine import Engine
    from shopstream.local.log import SqliteLog

KEEP_ALIVE_S = 75
DRAIN_S = 5
SWEEP_S = 1.0
BACKLOG = 2_048
_SPARE_FILES = 128
_SWITCH_S = 0.001


def run_collector(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is under way and return.

    Raises ConfigError for a host that others can reach without any write key or a port in use,
    Busy when another process writes the log, and LogBroken when the disk failed: nothing of that
    was acknowledged, and starting again recovers.
    """
    ensure_guarded(KeyRing(settings.data_dir), settings.host)
    engine = open_engine(settings)
    log = engine.write_log()
    try:
        token = make_token(engine.dir.run)
        CollectorServer(engine, log, token).run()
    finally:
        log.close()


class CollectorServer:
    """One run of the collector on an open log."""

    def __init__(self, engine: "Engine", log: "SqliteLog", token: str) -> None:
        settings = engine.settings
        self._broken: LogBroken | None = None
        self.collector = Collector(engine, log, token=token, on_broken=self._on_broken)
        self._socket = _listen(settings.host, settings.port)
        self.host = settings.host
        self.port: int = self._socket.getsockname()[1]
        self._uvicorn = _Uvicorn(_config(self.collector, settings))
        self._upkeep = Upkeep(
            settings,
            log=log,
            writer=self.collector.writer,
            watch=self.collector.watch,
            access=self.collector.access,
            beat=self._beat,
        )

    def run(self) -> None:
        # The log's thread must get its turn soon after each fsync, or every answer waits for it.
        sys.setswitchinterval(_SWITCH_S)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())
        if self._broken is not None:
            raise self._broken

    def stop(self) -> None:
        """Have `run` return soon; may be called from any thread."""
        self._uvicorn.should_exit = True

    async def _serve(self) -> None:
        self.collector.start()
        sweeping = asyncio.create_task(self._sweep())
        if self.collector.access.open:
            structlog.get_logger().warning("open", notice=OPEN_NOTICE)
        self._upkeep.start()
        try:
            await self._uvicorn.serve(sockets=[self._socket])
        finally:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
            await asyncio.to_thread(self._upkeep.stop)
            await asyncio.to_thread(self.collector.stop)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for connection in list(self._uvicorn.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.sweep(now)

    def _on_broken(self, broken: LogBroken) -> None:
        self._broken = broken
        self.stop()

    def _beat(self) -> Mapping[str, Any]:
        collector = self.collector
        return {
            "host": self.host,
            "port": self.port,
            "token": "run/token",
            "open": collector.access.open,
            "received": sum(collector.counts.received.values()),
            "rejected": sum(collector.counts.rejected.values()),
            "waiting": collector.writer.waiting_events,
            "end": collector.writer.end,
            "error": str(collector.writer.broken or collector.writer.full or ""),
        }


class _Uvicorn(uvicorn.Server):
    """uvicorn, which else raises SIGTERM again after serving and so never lets us end in order."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _config(app: Collector, settings: Settings) -> uvicorn.Config:
    protocol = bounded_protocol(
        header_bytes_max=settings.header_bytes_max,
        request_timeout_s=settings.request_timeout.total_seconds(),
        connections_max=_connections(settings.connections_max),
    )
    return uvicorn.Config(
        app,
        interface="asgi3",
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        backlog=BACKLOG,
    )


def _connections(wanted: int) -> int:
    """As many connections as wanted and as this process may have files open."""
    may = allow_open_files(wanted + _SPARE_FILES)
    return max(1, min(wanted, may - _SPARE_FILES))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as e:
        why = e.strerror or str(e)
        raise ConfigError(
            f"setting port: can't listen on {host}:{port}: {why}; choose another with --port"
        ) from None
