"""A way into the log for commands: the log itself, or the running collector that writes it.

Only one process may write the log. When that is a collector, entries go to its internal endpoint,
which answers after they are durable. On AWS anyone may append.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import httpx
import msgspec

from shopstream.engine import Engine, open_aws_engine, open_engine
from shopstream.errors import Busy, LogFull, NotRunning, Resharded
from shopstream.events import Entry
from shopstream.heartbeats import alive, read_heartbeats
from shopstream.patience import BUSY_STATUSES, wait_s
from shopstream.ports import AppendLog
from shopstream.settings import Settings

PATIENCE_S = 300.0
"""How long one append may be put off by a busy or restarting collector."""
STARTING_S = 10.0
"""How long a collector that holds the log may take to say where it listens."""
ANSWER_S = 120.0

_encode = msgspec.msgpack.Encoder().encode


class Feed(Protocol):
    """Takes entries and makes them durable. `direct`: this process is the only one that writes the
    log, so that nothing else processes what it appends.
    """

    direct: bool

    def append(self, entries: Sequence[Entry], progress: Mapping[str, int] | None = None) -> int:
        """Make the entries durable, all or none, exactly once, and return the position after
        them. `progress` is stored with them. Without `progress` an answer that got lost may make
        them arrive twice; events then need ids. On AWS: see `ports.AppendLog`.

        Raises LogFull or NotRunning; nothing is lost, the same append may be tried again.
        """
        ...

    def progress(self, source: str) -> int:
        """How far `source` has been read, 0 if never."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_feed(settings: Settings, *, direct: bool = True) -> Feed:
    """The feed of the engine that the settings ask for: of `settings.data_dir`, which is made when
    it isn't there, or of AWS. Without `direct` the log of a data directory is left to the
    collector, also when none holds it now.

    Raises NotRunning when another process holds the log but no collector answers, Resharded when
    the number of shards was changed meanwhile.
    """
    if settings.engine == "aws":
        return DirectFeed(open_aws_engine(settings).deployed().write_log(), direct=False)
    engine = open_engine(settings)
    if not direct:
        return CollectorFeed(engine)
    try:
        return DirectFeed(engine.write_log())
    except Resharded:
        raise
    except Busy:
        return CollectorFeed(engine)


class _Closing(ABC):
    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class DirectFeed(_Closing):
    """Appends to the log, of which this process is the writer until `close`; on AWS one of many."""

    def __init__(self, log: AppendLog, *, direct: bool = True) -> None:
        self.direct = direct
        self._log = log

    def append(self, entries: Sequence[Entry], progress: Mapping[str, int] | None = None) -> int:
        return self._log.append(entries, progress=progress)

    def progress(self, source: str) -> int:
        return self._log.progress(source)

    def close(self) -> None:
        self._log.close()


class CollectorFeed(_Closing):
    """Sends entries to the collector that runs on the same data directory."""

    direct = False

    def __init__(
        self,
        engine: Engine,
        *,
        starting_s: float = STARTING_S,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run_dir = engine.dir.run
        self._patience_s = patience_s
        self._sleep = sleep
        self._log = engine.read_log()
        self._client = httpx.Client(timeout=ANSWER_S, trust_env=False)
        waited = 0.0
        while self._address() is None:
            if waited >= starting_s:
                self.close()
                raise NotRunning(
                    f"another process writes the log in {engine.dir.root} but no collector answers"
                    " there: wait for that `shopstream load` or `simulate` to end, or see"
                    " `shopstream status`"
                )
            waited += 0.2
            sleep(0.2)

    def append(self, entries: Sequence[Entry], progress: Mapping[str, int] | None = None) -> int:
        body = _encode(list(entries))
        waited, tries, why = 0.0, 0, "it isn't there"
        while True:
            headers: Mapping[str, str] = {}
            if (address := self._address()) is not None:
                try:
                    answer = self._post(address, body, progress or {})
                except httpx.ReadTimeout:
                    raise self._gave_up(f"it didn't answer within {ANSWER_S:.0f} s") from None
                except httpx.TransportError as e:
                    why = f"{type(e).__name__}: {e}"
                else:
                    if answer.status_code == 200:
                        return int(answer.json()["end"])
                    if answer.status_code not in BUSY_STATUSES | {401}:
                        raise self._gave_up(f"{answer.status_code} {answer.text[:300]}")
                    headers = answer.headers
                    why = f"{answer.status_code} {answer.text[:300]}"
            tries += 1
            pause = wait_s(tries, headers)
            if waited + pause > self._patience_s:
                if "429" in why[:3] or "503" in why[:3]:
                    raise LogFull(f"the collector takes nothing: {why}")
                raise self._gave_up(why)
            self._sleep(pause)
            waited += pause
            # The collector may have appended them and died before it said so.
            if progress and all(self._log.progress(k) == v for k, v in progress.items()):
                return self._log.end()

    def _post(
        self, address: tuple[str, str], body: bytes, progress: Mapping[str, int]
    ) -> httpx.Response:
        url, token = address
        return self._client.post(
            f"{url}/internal/append",
            content=body,
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/msgpack",
                "X-Progress": json.dumps(progress),
            },
        )

    def _gave_up(self, why: str) -> NotRunning:
        return NotRunning(
            f"the collector can't be given events: {why}; see `shopstream status`, then run the"
            " same command again"
        )

    def _address(self) -> tuple[str, str] | None:
        """Where the collector listens and its secret, read anew as it may have been restarted."""
        beat = read_heartbeats(self._run_dir).get("collector")
        if beat is None or not alive(beat, time.time_ns() // 1000):
            return None
        try:
            token = (self._run_dir / "token").read_text("utf-8").strip()
            host, port = str(beat["host"]), int(beat["port"])
        except (OSError, KeyError, ValueError, TypeError):
            return None
        # A collector that listens everywhere is reached on this machine.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)
        return (f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"), token

    def progress(self, source: str) -> int:
        return self._log.progress(source)

    def close(self) -> None:
        self._client.close()
        self._log.close()
