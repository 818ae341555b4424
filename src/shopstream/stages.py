"""Have all that was appended processed, or landed, by running stages or by running them here."""

import subprocess
import sys
import time
from collections.abc import Callable

from shopstream.engine import Engine, ensure_receivers, open_engine
from shopstream.errors import Busy, DataDirError, NotRunning
from shopstream.heartbeats import alive, read_heartbeats
from shopstream.lander import land_here, request_landing
from shopstream.rules_file import load_rules
from shopstream.settings import Settings

WAIT_S = 0.1
STALLED_S = 60.0


def ensure_configured(settings: Settings) -> None:
    """Raises ConfigError when the rules or the receivers of alerts won't do, before anything is
    appended that no stage here could process. On AWS the functions have their own.
    """
    if settings.engine != "aws":
        load_rules(settings.rules_path)
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
    run already. `on_wait` is told how many events wait, `write` takes alerts for the console, which
    are else logged. On AWS it returns at once: functions process what has arrived, and `status` and
    `check` tell how far they are. Raises NotRunning when nothing moves.
    """
    if settings.engine == "aws":
        return
    engine = open_engine(settings)
    if direct:
        try:
            _run_processors(settings, engine.shards)
        except Busy:
            _wait(engine, on_wait)
        deliver(settings, write)
    else:
        _wait(engine, on_wait)


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


def _run_processors(settings: Settings, shards: int) -> None:
    from shopstream.processor import run_processor

    if shards == 1:
        run_processor(settings, until_idle=True)
        return
    command = [sys.executable, "-m", "shopstream", "processor", "--until-idle"]
    started = [
        subprocess.Popen(  # noqa: S603  # our own command
            [*command, "--data-dir", str(settings.data_dir), "--shard", str(shard)]
        )
        for shard in range(shards)
    ]
    codes = [process.wait() for process in started]
    if any(codes):
        raise NotRunning(f"a processor ended with exit code {max(codes)}; see its message above")


def deliver(settings: Settings, write: Callable[[str], None] | None = None) -> None:
    """Deliver what alerts there are, here unless a notifier runs. `write` as in `settle`."""
    from shopstream.notify import run_notifier

    try:
        if write is None:
            run_notifier(settings, until_idle=True)
        else:
            run_notifier(settings, until_idle=True, write=write)
    except Busy:
        return


def _wait(engine: Engine, on_wait: Callable[[int], None] | None) -> None:
    log = engine.read_log()
    end = log.end()
    log.close()
    last, moved = -1, time.monotonic()
    while (position := _position(engine)) < end:
        if on_wait:
            on_wait(end - position)
        if position != last:
            last, moved = position, time.monotonic()
        elif time.monotonic() - moved > STALLED_S:
            raise NotRunning(
                f"{end - position} events wait and no processor moves;"
                " see `shopstream status`, or start `shopstream up`"
            )
        time.sleep(WAIT_S)


def _position(engine: Engine) -> int:
    beats = read_heartbeats(engine.dir.run)
    now_us = time.time_ns() // 1000
    positions = [
        int(beat.get("position", 0)) if alive(beat, now_us) else 0
        for beat in (beats.get(f"processor-{shard}", {}) for shard in range(engine.shards))
    ]
    return min(positions)
