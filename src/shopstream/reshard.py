"""`shopstream reshard`: cut a data directory into another number of shards.

All that waits is processed first, then the tables are written anew beside the old ones, and one
rename switches. A kill before it leaves everything as it was, a kill after it leaves it done.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import structlog
from msgspec import Struct

from shopstream.engine import Engine, open_engine
from shopstream.errors import Busy, DataDirError, Resharded
from shopstream.flows.checkpoint import read_checkpoint
from shopstream.flows.resharding import Moved, ensure_at_rest, reshard
from shopstream.flows.work import Ledger
from shopstream.heartbeats import Heartbeat, remove_heartbeat, write_heartbeat
from shopstream.machine import allow_open_files, free_bytes
from shopstream.notify import run_notifier
from shopstream.ports import Tables
from shopstream.processor import run_processor, standing_of
from shopstream.settings import Settings

OPEN_FILES = 65_536
"""Two sets of tables are open at a time: 64 shards and 63 that are nearly empty are 841 files."""

_log = structlog.get_logger("shopstream.reshard")

OnProgress: TypeAlias = Callable[[int], None]
"""Is told how many items have been moved."""


class ReshardReport(Struct):
    """What a change of the number of shards did: how many items it moved, in how long."""

    shards: int
    before: int
    items: int
    seconds: float


def change_shards(settings: Settings, shards: int, on_progress: OnProgress) -> ReshardReport:
    """Cut the data directory into `shards` shards. Nothing may write its log, tables and alerts
    meanwhile; the lander, the builder and readers of the lake may go on.

    Raises Busy while such a stage runs, DataDirError when there is no data directory, no room for
    a second set of tables, a disk that fails, or something that can't be processed to its end.
    Then everything is as it was; or, when it was the switch itself that failed, it may be done:
    `meta.json` says so, both sets of tables are kept, and to run it again is safe.
    """
    # The settings may already say what is wanted; what is, the data directory says.
    settings = replace(settings, shards=0)
    engine = open_engine(settings, create=False)
    with _in_the_way(engine.dir.root):
        if shards == engine.shards:
            # Unless something runs: what a kill just after a switch has left goes now.
            with suppress(Busy), closing(engine.write_log()):
                engine.forget_other_tables()
            return ReshardReport(shards, shards, 0, 0.0)
        began = time.monotonic()
        with closing(engine.write_log()) as log:
            _come_to_rest(settings, engine.shards)
            engine.forget_other_tables()
            items = _cut(engine, shards, log.end(), on_progress)
            _tidy(engine, shards)
    return ReshardReport(shards, engine.shards, items, round(time.monotonic() - began, 3))


@contextmanager
def _in_the_way(root: Path) -> Iterator[None]:
    """Whoever holds the log, a shard's tables or the outbox is told of as what is in the way, and
    so is a disk that fails.
    """
    try:
        yield
    except Resharded:
        raise
    except Busy as e:
        raise Busy(f"{e}; shards are changed while nothing runs: end `shopstream up`") from e
    except OSError as e:
        raise DataDirError(f"{e.filename or root} can't be used: {e.strerror or e}") from e


def _come_to_rest(settings: Settings, shards: int) -> None:
    """Have all processed that is in the log, and all alerts taken. Ctrl-C ends it."""
    stop = threading.Event()
    for shard in range(shards):
        run_processor(settings, shard, until_idle=True, stop=stop)
        if stop.is_set():
            raise KeyboardInterrupt
    run_notifier(settings, until_idle=True, stop=stop)
    if stop.is_set():
        raise KeyboardInterrupt


def _cut(engine: Engine, shards: int, end: int, on_progress: OnProgress) -> int:
    """Write the tables of `shards` shards and switch to them; returns how many items were moved.

    The tables of before are held to the end, so that nothing is written that the new ones lack.
    """
    allow_open_files(OPEN_FILES)
    with ExitStack() as held:
        outbox = held.enter_context(closing(engine.write_outbox()))
        old = [held.enter_context(closing(engine.write_tables(n))) for n in range(engine.shards)]
        ensure_at_rest(old, end)
        for shard in range(shards, engine.shards):
            _ensure_taken(old[shard], shard, outbox.cursor(shard).sk)
        _ensure_room(engine)
        # A new shard may get the number of one that ended, whose feed is no more.
        outbox.forget_cursors(engine.shards)
        wanted = engine.prepare(shards)
        try:
            moved, standing = _fill(wanted, old, on_progress)
        except BaseException:
            with suppress(DataDirError):
                engine.forget_other_tables()
            raise
        wanted.switch()
    for shard, beat in enumerate(standing):
        # As a processor that has ended leaves it: else all would seem to wait until one starts.
        write_heartbeat(wanted.dir.run, f"processor-{shard}", {**beat, "pid": 0, "ended": True})
    if moved.uncounted:
        hint = "it was so before, and still is: run `shopstream check`"
        _log.warning("ledger_wrong", uncounted=moved.uncounted, hint=hint)
    return moved.items


def _fill(
    wanted: Engine, old: Sequence[Tables], on_progress: OnProgress
) -> tuple[Moved, list[Heartbeat]]:
    """Write the new tables, durably; returns what was moved and how each shard stands."""
    with ExitStack() as opened:
        new = [opened.enter_context(closing(wanted.make_tables(n))) for n in range(wanted.shards)]
        moved = reshard(old, new, on_progress)
        for tables in new:
            tables.sync()
        standing = [
            standing_of(read_checkpoint(tables), Ledger(tables.scan("ledger"))) for tables in new
        ]
    return moved, [{**beat, "synced": beat["position"]} for beat in standing]


def _tidy(engine: Engine, shards: int) -> None:
    """Remove what was left of the shards before. The change is done, whatever comes of this."""
    try:
        engine.forget_other_tables()
        for shard in range(shards, engine.shards):
            remove_heartbeat(engine.dir.run, f"processor-{shard}")
    except (DataDirError, OSError) as e:
        hint = "the next `shopstream reshard` tries again"
        _log.warning("old_tables_left", error=str(e), hint=hint)


def _ensure_taken(tables: Tables, shard: int, taken: str) -> None:
    """Raises DataDirError when alerts of a shard that is to end are in its feed only."""
    last = next(tables.query("alert_feed", str(shard), reverse=True, limit=1), None)
    if last is not None and last[0] > taken:
        raise DataDirError(
            f"the outbox doesn't have all alerts of shard {shard} yet;"
            " run `shopstream notifier --until-idle`"
        )


def _ensure_room(engine: Engine) -> None:
    """Raises DataDirError unless the disk takes the tables once more."""
    needed = engine.settings.disk_free_bytes_min
    for shard in range(engine.shards):
        for file in engine.dir.tables(shard).iterdir():
            with suppress(FileNotFoundError):  # its own writer still compacts it
                needed += file.stat().st_size
    if (free := free_bytes(engine.dir.root)) < needed:
        raise DataDirError(
            f"{engine.dir.root}: {free:,} bytes are free, and the tables are written anew beside"
            f" the old ones: {needed:,} must be"
        )
