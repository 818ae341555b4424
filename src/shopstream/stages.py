"""Have all that was appended processed, or landed, by running stages or by running them here."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from shopstream.engine import Engine, ensure_receivers, open_engine
from shopstream.errors import Busy, DataDirError, NotRunning
from shopstream.heartbeats import alive, read_heartbeats
from shopstream.lander import land_here, request_landing
from shopstream.rules_file import rules_in_force
from shopstream.settings import Settings

WAIT_S = 0.1
STALLED_S = 60.0
ALONE_S = 3.0
"""For so long a processor may be starting; then there is none."""
_CANT_NOW = 3
"""How a command ends that another process is in the way of."""


def ensure_configured(settings: Settings) -> None:
    """Raises ConfigError when the rules or the receivers of alerts won't do, before anything is
    appended that no stage here could process. On AWS the functions have their own.
    """
    if settings.engine != "aws":
        rules_in_force(settings)
        ensure_receivers(settings)


def settle(
    settings: Settings,
    *,
    direct: bool,
    on_wait: Callable[[int], None] | None = None,
    write: Callable[[str], None] | None = None,
) -> None:
    """Return when every shard has processed what the log now holds.

    With `direct` nothing else writes the log, so the stages are run here until idle, unless they
    run already. So are the processors that a collector runs without. `on_wait` is told how many
    events wait, `write` takes alerts for the console, which are else logged. On AWS it returns at
    once: functions process what has arrived, and `status` and `check` tell how far they are.
    Raises NotRunning when nothing moves, KeyboardInterrupt when SIGINT or SIGTERM came before all
    was processed and delivered.
    """
    if settings.engine == "aws":
        return
    engine = open_engine(settings)
    if direct:
        try:
            _run_processors(settings, range(engine.shards))
        except Busy:
            _wait(settings, engine, on_wait)
        deliver(settings, write)
    elif _wait(settings, engine, on_wait):
        deliver(settings, write)


def land(settings: Settings, *, wait_s: float | None = None) -> int:
    """Return when all that the log now holds is landed in the lake: here, unless a lander runs,
    which is then asked and waited for, up to `wait_s` if given. Returns the position landed up to.

    Raises NotRunning when the lander does not get on.
    """
    engine = open_engine(settings)
    log = engine.read_log()
    end = log.end()
    log.close()
    began = moved = time.monotonic()
    last: int | None = None
    while (position := _landed_to(engine)) < end:
        try:
            land_here(settings)
            continue
        except Busy:
            now = time.monotonic()
        if last is None:
            request_landing(engine.dir.run)
        if wait_s is not None and now - began > wait_s:
            break
        if position != last:
            last, moved = position, now
        elif now - moved > STALLED_S:
            raise NotRunning(
                f"{end - max(0, position)} events wait to be landed and the lander doesn't move;"
                " see `shopstream status`"
            )
        time.sleep(WAIT_S)
    return max(0, position)


def _landed_to(engine: Engine) -> int:
    """-1 when there is nothing yet that could tell."""
    try:
        landed = engine.read_landed()
    except DataDirError:
        return -1
    try:
        return landed.position()
    finally:
        landed.close()


def _run_processors(settings: Settings, shards: Sequence[int]) -> None:
    """Be the processors of `shards` until idle. Raises Busy when one of them runs already, or is
    starting.
    """
    from shopstream.processor import run_processor

    if len(shards) == 1:
        with _interruptible() as stop:
            run_processor(settings, shards[0], until_idle=True, stop=stop)
        return
    command = [sys.executable, "-m", "shopstream", "processor", "--until-idle"]
    command += ["--supervised-by", str(os.getpid())]
    started = [
        subprocess.Popen(  # noqa: S603  # our own command
            [*command, "--data-dir", str(settings.data_dir), "--shard", str(shard)]
        )
        for shard in shards
    ]
    codes = {process.wait() for process in started} - {0}
    if codes == {_CANT_NOW}:
        raise Busy("another process writes the tables of a shard")
    if codes:
        raise NotRunning(f"a processor ended with exit code {max(codes)}; see its message above")


def deliver(settings: Settings, write: Callable[[str], None] | None = None) -> None:
    """Deliver what alerts there are, here unless a notifier runs. `write` as in `settle`, raises
    KeyboardInterrupt as it does.
    """
    from shopstream.notify import run_notifier

    with suppress(Busy), _interruptible() as stop:
        if write is None:
            run_notifier(settings, until_idle=True, stop=stop)
        else:
            run_notifier(settings, until_idle=True, write=write, stop=stop)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """What ends a stage that is run here; raises KeyboardInterrupt afterwards if it did: the stage
    took the signal and ended in order, and the command is to end, too.
    """
    stop = threading.Event()
    yield stop
    if stop.is_set():
        raise KeyboardInterrupt


def _wait(
    settings: Settings, engine: Engine, on_wait: Callable[[int], None] | None
) -> frozenset[int]:
    """Wait for the processors that run, and be those that don't; gives the shards of the latter."""
    log = engine.read_log()
    end = log.end()
    log.close()
    here: frozenset[int] = frozenset()
    last, moved = -1, time.monotonic()
    complete = moved
    while True:
        positions = _positions(engine)
        missing = [n for n, at in enumerate(positions) if at is None and n not in here]
        position = min((at or 0 for n, at in enumerate(positions) if n not in here), default=end)
        if position >= end:
            return here
        now = time.monotonic()
        if not missing:
            complete = now
        elif now - complete > ALONE_S:
            complete = now
            with suppress(Busy):
                _run_processors(settings, missing)
                here |= frozenset(missing)
                moved = time.monotonic()
                continue
        if on_wait:
            on_wait(end - position)
        if position != last:
            last, moved = position, now
        elif now - moved > STALLED_S:
            raise NotRunning(
                f"{end - position} events wait and no processor moves;"
                " see `shopstream status`, or start `shopstream up`"
            )
        time.sleep(WAIT_S)


def _positions(engine: Engine) -> list[int | None]:
    """How far each shard's processor is, None where none is alive."""
    beats = read_heartbeats(engine.dir.run)
    now_us = time.time_ns() // 1000
    found = (beats.get(f"processor-{shard}", {}) for shard in range(engine.shards))
    return [int(beat.get("position", 0)) if alive(beat, now_us) else None for beat in found]
