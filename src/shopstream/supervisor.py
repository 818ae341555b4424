"""`shopstream up`: all stages as processes that are started again.

A stage that ends is restarted after a pause that grows to 10 seconds while it keeps ending at once,
however often: a full disk may be noticed late, and heals. Stopping goes with the stream: first no
more comes in, then what came in is processed, then alerts go out.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shopstream.collector.access import ensure_guarded
from shopstream.doctor import refused
from shopstream.domain.receivers import read_receivers
from shopstream.engine import Engine, open_engine
from shopstream.errors import Busy, ConfigError, DataDirError, Resharded, ShopstreamError
from shopstream.heartbeats import Heartbeat, alive, read_heartbeats
from shopstream.keys import KeyRing
from shopstream.monitoring import Standing, lake_stages, standing
from shopstream.settings import Settings
from shopstream.stages import ensure_configured

PAUSE_S_MAX = 10.0
STEADY_S = 30.0
STOP_S = 20.0
CONFIG_EXIT = 2
"""A stage that ends with this before it ever spoke won't do better next time: its message says
what to mend. One that ran before is started again: its disk failed, say, and it recovers. So are
always those of the lake: events are taken without them, and the log keeps what is not landed.
"""
ANOTHER_ENDS_S = 5.0
LOOK_S = 0.25
DEMO_RATE = 25


@dataclass
class _Stage:
    name: str
    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    failures: int = 0
    restarts: int = 0
    spoke: bool = False
    spoke_us: int = 0
    spoke_at: float = 0.0

    def start(self) -> None:
        # In a session of its own: Ctrl-C reaches the supervisor, which stops stages in order.
        self.process = subprocess.Popen(  # noqa: S603  # our own command
            self.command, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self.started_at = self.spoke_at = time.monotonic()

    def look(self) -> int | None:
        """The exit code when it has ended and is to be started again later, else None."""
        return self.process.poll() if self.process else None

    def hear(self, beat: Heartbeat) -> None:
        """Take note when this heartbeat is its own, not one of a run before."""
        self.spoke |= self.process is not None and beat.get("pid") == self.process.pid

    def silent_s(self, beat: Heartbeat) -> float:
        """For how long its heartbeat has not moved. Not told by the clock, which may jump."""
        spoke_us = int(beat.get("at_us", 0))
        if spoke_us != self.spoke_us:
            self.spoke_us, self.spoke_at = spoke_us, time.monotonic()
        return time.monotonic() - self.spoke_at

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def up(
    settings: Settings,
    *,
    demo: bool = False,
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Standing], None] = lambda _: None,
) -> None:
    """Run all stages until SIGINT or SIGTERM. `say` takes notices, `show` the standing, often.

    Raises ConfigError before anything is made or started when the settings, the rules, the
    receivers of alerts or the keys won't do, and when a stage but those of the lake can't start the
    first time; Busy when a collector runs on this data directory, Resharded when the number of
    shards was changed since this began: the stages would be too many or too few.
    """
    ensure_configured(settings)
    ensure_guarded(KeyRing(settings.data_dir), settings.host)
    engine = open_engine(settings)
    _wait_for_another(engine.dir.run)
    _warn_of_receivers(settings, say)
    stopping = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stopping.set())
    stages = _stages(settings, engine.shards)
    try:
        for stage in stages:
            stage.start()
        listening = False
        while not stopping.wait(LOOK_S):
            _ensure_current(engine)
            beats = read_heartbeats(engine.dir.run)
            for stage in stages:
                stage.hear(beats.get(stage.name, {}))
                _keep_running(stage, say)
            _end_silent(stages, beats, settings.silent_max.total_seconds(), say)
            if not listening and _listens(engine.dir.run):
                listening = True
                host = f"[{settings.host}]" if ":" in settings.host else settings.host
                say(f"listening on http://{host}:{settings.port}  (docs at /docs)")
                if demo:
                    stages.append(_shoppers(settings))
                    stages[-1].start()
            if listening:
                _show(engine, show)
    finally:
        say("stopping")
        for stage in reversed(stages):
            stage.stop()


def _ensure_current(engine: Engine) -> None:
    try:
        engine.ensure_current()
    except Resharded:
        raise
    except DataDirError:
        return  # the stages say what is the matter with the disk


def _warn_of_receivers(settings: Settings, say: Callable[[str], None]) -> None:
    receivers = read_receivers(settings.notify, private_addresses=settings.notify_private_addresses)
    for receiver in receivers:
        if why := refused(receiver, settings):
            say(
                f"warning: alerts can't go to {receiver.name}: {why}; set"
                " notify_private_addresses if you want them to go there"
            )


def _wait_for_another(run_dir: Path) -> None:
    """Return once no collector runs; stages of an `up` that was killed are about to end."""
    ends_at = time.monotonic() + ANOTHER_ENDS_S
    while alive(beat := read_heartbeats(run_dir).get("collector", {}), time.time_ns() // 1000):
        if time.monotonic() > ends_at:
            raise Busy(
                f"a collector runs on {run_dir.parent} already (process {beat['pid']}, port"
                f" {beat.get('port')}): stop it first, or name another --data-dir"
            )
        time.sleep(LOOK_S)


def _show(engine: Engine, show: Callable[[Standing], None]) -> None:
    try:
        now = standing(engine)
    except ShopstreamError:
        return  # the stages say what is the matter with the disk; a line must not end them
    show(now)


def _listens(run_dir: Path) -> bool:
    return alive(read_heartbeats(run_dir).get("collector", {}), time.time_ns() // 1000)


def _stages(settings: Settings, shards: int) -> list[_Stage]:
    """In the order of starting: what takes is there before what gives."""
    common = ["--data-dir", str(settings.data_dir)]
    run = [sys.executable, "-m", "shopstream"]
    supervised = ["--supervised-by", str(os.getpid())]
    listen = ["--host", settings.host, "--port", str(settings.port)]
    stages = [_Stage("notifier", [*run, "notifier", *common, *supervised])]
    stages += [
        _Stage(f"processor-{n}", [*run, "processor", "--shard", str(n), *common, *supervised])
        for n in range(shards)
    ]
    stages += [
        _Stage(name, [*run, name, *common, *supervised], spoke=True)
        for name in lake_stages(settings)
    ]
    stages.append(_Stage("collector", [*run, "collector", *listen, *common, *supervised]))
    stages.append(_Stage("intake", [*run, "intake", *common, *supervised]))
    return stages


def _shoppers(settings: Settings) -> _Stage:
    """Simulated shoppers of a shop that has been open for an hour, one event in a hundred spoiled.

    They come in by the data directory, not by a URL, so that write keys don't concern them.
    """
    shop = ["simulate", "shop", "--count", "1000000000", "--rate", str(DEMO_RATE)]
    shop += ["--invalid-percent", "1", "--open-for-s", "3600", "--quiet"]
    run = [sys.executable, "-m", "shopstream", *shop, "--data-dir", str(settings.data_dir)]
    return _Stage("shoppers", [*run, "--supervised-by", str(os.getpid())], spoke=True)


def _end_silent(
    stages: Sequence[_Stage],
    beats: Mapping[str, Heartbeat],
    silent_s_max: float,
    say: Callable[[str], None],
) -> None:
    """Kill a processor that says nothing any more: an event may have it hang, and a processor
    that keeps dying at one event gives it up.
    """
    for stage in stages:
        if not stage.name.startswith("processor") or stage.look() is not None:
            continue
        if stage.silent_s(beats.get(stage.name, {})) > silent_s_max and stage.process:
            say(f"{stage.name} was silent for {silent_s_max:.0f} s and is ended")
            stage.process.kill()
            stage.process.wait()


def _keep_running(stage: _Stage, say: Callable[[str], None]) -> None:
    code = stage.look()
    if code is None:
        if stage.failures and time.monotonic() - stage.started_at > STEADY_S:
            stage.failures = 0
        return
    ran_s = time.monotonic() - stage.started_at
    if code == CONFIG_EXIT and not stage.restarts and not stage.spoke:
        raise ConfigError(f"the {stage.name} can't run; see its message above")
    pause_s = min(PAUSE_S_MAX, 0.25 * 2 ** min(stage.failures, 10))
    if ran_s < pause_s:
        return
    stage.failures += 1
    stage.restarts += 1
    say(f"{stage.name} ended with code {code}; started again ({stage.restarts})")
    stage.start()
