"""A real collector on a free port, with the real log on disk, in a thread of the test."""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any, TypeAlias

import httpx
import msgspec
import pytest

from shopstream.collector.internal import make_token
from shopstream.collector.server import CollectorServer
from shopstream.engine import Engine, open_engine
from shopstream.events import Entry, Rejection
from shopstream.keys import add_key
from shopstream.local.log import SqliteLog
from shopstream.settings import load_settings

DATA = Path(
    os.environ.get("SHOPSTREAM_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)


class RunningCollector:
    """A collector that serves, and what its log holds."""

    def __init__(
        self,
        data_dir: Path,
        log_type: type[SqliteLog],
        add_keys: Sequence[Mapping[str, Any]] = (),
        **settings: Any,
    ) -> None:
        self.data_dir = data_dir
        made = [add_key(data_dir, now=datetime.now(UTC), **key) for key in add_keys]
        self.keys = [key for key, _ in made]
        self.secrets = [secret for _, secret in made]
        self.settings = load_settings({"data_dir": data_dir, "port": 0, **settings}, environ={})
        self.engine: Engine = open_engine(self.settings)
        self._log = log_type(
            self.engine.dir.log,
            shards=self.engine.shards,
            bytes_max=self.settings.log_bytes_max,
            disk_free_bytes_min=self.settings.disk_free_bytes_min,
        )
        self.token = make_token(self.engine.dir.run)
        try:
            self.server = CollectorServer(self.engine, self._log, self.token)
        except BaseException:
            self._log.close()
            raise
        self.port = self.server.port
        self.since = 0
        self.ended_with: BaseException | None = None
        self._thread = Thread(target=self._run)
        self._thread.start()
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=20, trust_env=False
        )
        deadline = time.monotonic() + 10
        while not (self.engine.dir.run / "collector.json").exists():
            assert time.monotonic() < deadline, "the collector didn't start"
            time.sleep(0.01)

    def _run(self) -> None:
        try:
            self.server.run()
        except BaseException as e:  # noqa: BLE001 - the test looks at it
            self.ended_with = e
        finally:
            self._log.close()

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        content = body if isinstance(body, bytes | str) else msgspec.json.encode(body)
        return self.client.post(path, content=content, **more)

    def entries(self) -> list[Entry]:
        """All that is durable since `since`, as another process reads it."""
        log = self.engine.read_log()
        try:
            rows = log.read(max(self.since, log.start()), events_max=1_000_000)
        finally:
            log.close()
        return [entry for row in rows for entry in row.entries]

    def events(self) -> list[bytes]:
        return [raw for e in self.entries() if e.dialect != "rejected" for raw in e.events]

    def rejections(self) -> list[Rejection]:
        return [
            msgspec.json.decode(raw, type=Rejection)
            for e in self.entries()
            if e.dialect == "rejected"
            for raw in e.events
        ]

    def wait(self, seconds: float = 10) -> None:
        """Until it ended by itself."""
        self._thread.join(seconds)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self.client.close()
        self.server.stop()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the collector didn't stop"

    def raw(self, data: bytes, *, seconds: float = 10, close: bool = False) -> bytes:
        """What comes back on a socket for these bytes, until it is closed or nothing comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as sock:
            sock.sendall(data)
            if close:
                sock.shutdown(socket.SHUT_WR)
            return receive_all(sock)


def receive_all(sock: socket.socket) -> bytes:
    answer = b""
    try:
        while piece := sock.recv(65_536):
            answer += piece
            if b"\r\n\r\n" in answer and b"connection: close" not in answer:
                head, _, body = answer.partition(b"\r\n\r\n")
                if b"content-length: %d" % len(body) in head:
                    break
    except (TimeoutError, ConnectionResetError):
        pass
    return answer


StartCollector: TypeAlias = Callable[..., RunningCollector]


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[StartCollector]:
    """Starts a collector with settings; several in one test share the data directory."""
    started: list[RunningCollector] = []

    def start(*, log_type: type[SqliteLog] = SqliteLog, **settings: Any) -> RunningCollector:
        started.append(RunningCollector(tmp_path / "data", log_type, **settings))
        return started[-1]

    yield start
    for collector in started:
        collector.stop()


@pytest.fixture(scope="module")
def collector_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    collector = RunningCollector(tmp_path_factory.mktemp("collector") / "data", SqliteLog)
    yield collector
    collector.stop()


@pytest.fixture
def collector(collector_of_module: RunningCollector) -> RunningCollector:
    """A collector with the default settings, shared; `entries` are this test's only."""
    collector_of_module.since = collector_of_module.server.collector.writer.end
    return collector_of_module


@pytest.fixture
def sdk_recordings() -> list[dict[str, Any]]:
    """Each recording of a real SDK's requests."""
    files = sorted((DATA / "sdk").glob("*.json"))
    if not files:
        pytest.skip(f"no SDK recordings in {DATA / 'sdk'}; set SHOPSTREAM_TEST_DATA")
    return [msgspec.json.decode(file.read_bytes()) for file in files]
