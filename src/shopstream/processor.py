"""The processor stage: follows the log for one shard until it is told to stop."""

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from shopstream.engine import Engine, open_engine
from shopstream.errors import ConfigError, DataDirError, ShopstreamError
from shopstream.flow_settings import flow_config
from shopstream.flows.checkpoint import Checkpoint
from shopstream.flows.processor import Processor
from shopstream.flows.tries import Tries
from shopstream.flows.work import DERIVED, Ledger
from shopstream.heartbeats import Heartbeat, write_heartbeat
from shopstream.local.log import SqliteLog
from shopstream.ports import Tables
from shopstream.rules_file import rules_in_force
from shopstream.settings import Settings
from shopstream.stopping import stopped_by_signals

POLL_S_MIN, POLL_S_MAX = 0.001, 0.02
"""Between looks at an idle log: short just after an event, longer in a silence."""
BEAT_S = 1.0
SYNC_S = 10.0
"""Between syncs of the tables: what is not synced yet, the log must keep."""
COLLECT_BATCHES = 100

_log = structlog.get_logger("shopstream.processor")


def run_processor(
    settings: Settings,
    shard: int = 0,
    *,
    until_idle: bool = False,
    stop: threading.Event | None = None,
) -> None:
    """Process the log for `shard`; with `until_idle` until all there now is has been processed.

    Blocks; SIGTERM and SIGINT set `stop`, and that ends it after the micro-batch at hand, with all
    offers in archive files. Raises Busy when another process works on this shard, ConfigError when
    there is no such shard.
    """
    engine = open_engine(settings)
    if shard >= engine.shards:
        raise ConfigError(f"--shard {shard}: {engine.dir.root} has {engine.shards}, counted from 0")
    rules = rules_in_force(settings)
    tables = engine.write_tables(shard)
    log = engine.read_log()
    try:
        config = flow_config(settings, shard, engine.shards)
        tries = _tries(engine.dir.run / f"processor-{shard}.tries")
        processor = Processor(tables, engine.lake(), rules, config, tries)
        _ensure_nothing_missing(log.start(), processor.checkpoint.position, engine)
        processor.begin()
        follower = _Follower(engine, log, tables, processor)
        with stopped_by_signals(stop) as stop:
            follower.follow(stop.is_set, until_idle=until_idle)
        processor.end()
    finally:
        log.close()
        tables.close()


def _tries(path: Path) -> Tries:
    """How often this shard's processor died where it is, noted down beside the heartbeats.

    Not in the tables: that would be a write for each event where events are tried one at a time.
    """

    def keep(note: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_bytes(note)
        unfinished.replace(path)

    return Tries(path.read_bytes() if path.exists() else b"", keep)


def _ensure_nothing_missing(start: int, position: int, engine: Engine) -> None:
    """Raises DataDirError when the log has forgotten events that these tables never saw."""
    if position < start:
        raise DataDirError(
            f"{engine.dir.root}: the log begins at {start}, the tables end at {position}:"
            f" {start - position} events between are gone; restore newer tables"
        )


def standing_of(at: Checkpoint, ledger: Ledger) -> Heartbeat:
    """What its tables know of how a shard stands, as its heartbeat tells it."""
    return {
        "position": at.position,
        "watermark_us": at.live_us,
        "accepted": ledger.total("accepted"),
        "duplicate": ledger.total("duplicate"),
        "quarantined": ledger.total("quarantined"),
        "derived": ledger.total(DERIVED),
        "offers": ledger.total("made") + ledger.total("held_out"),
        "alerts": ledger.total("raised"),
    }


class _Follower:
    """Reads rows, has them processed, syncs the tables, tells how it stands."""

    def __init__(
        self, engine: Engine, log: SqliteLog, tables: Tables, processor: Processor
    ) -> None:
        self._engine = engine
        self._log = log
        self._tables = tables
        self._processor = processor
        self._shard = processor.config.shard
        self._beat_at = 0.0
        self._synced = 0
        self._synced_at = time.monotonic()
        self._processed = self._processed_before = 0

    def follow(self, stopped: Callable[[], bool], *, until_idle: bool) -> None:
        processor, batch_events = self._processor, self._engine.settings.batch_events
        pause_s, batches = POLL_S_MIN, 0
        # Everything alive is reachable and hardly anything dies in a cycle: the collector would
        # walk millions of objects for nothing. Young garbage is looked at now and then below.
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            while not stopped():
                rows = self._log.read(
                    processor.checkpoint.position, shard=self._shard, events_max=batch_events
                )
                processor.process(rows, _now_us())
                self._processed += sum(len(e.events) for row in rows for e in row.entries)
                self._beat()
                batches += 1
                if batches % COLLECT_BATCHES == 0:
                    gc.collect(1)
                    gc.freeze()
                if rows:
                    pause_s = POLL_S_MIN
                elif not processor.idle(_now_us(), last=until_idle):
                    if until_idle:
                        break
                    time.sleep(pause_s)
                    pause_s = min(pause_s * 1.5, POLL_S_MAX)
        finally:
            gc.enable()
            gc.unfreeze()
        self._file_offers()
        self._beat(last=True)

    def _file_offers(self) -> None:
        """Have the lake miss no offer while no processor runs. A disk that doesn't take the files
        keeps nobody from stopping: the feed has the offers, and the next start files them.
        """
        try:
            self._processor.file_offers(_now_us())
        except (ShopstreamError, OSError) as e:
            _log.warning("offers_not_filed", error=str(e), hint="the next start files them")

    def _beat(self, *, last: bool = False) -> None:
        """About once a second: publish how far this shard is, and now and then sync its tables."""
        now = time.monotonic()
        if not last and now - self._beat_at < BEAT_S:
            return
        processor = self._processor
        for timer, error in processor.failed:
            why = f"{type(error).__name__}: {error}"
            _log.error("a timer failed; it waits for the next start", **timer._asdict(), error=why)
        processor.failed.clear()
        rate = (self._processed - self._processed_before) / max(now - self._beat_at, 1e-9)
        if last or now - self._synced_at >= SYNC_S:
            self._tables.sync()
            self._synced, self._synced_at = processor.checkpoint.position, now
        write_heartbeat(
            self._engine.dir.run,
            f"processor-{self._shard}",
            {
                **standing_of(processor.checkpoint, processor.ledger),
                "synced": self._synced,
                "processed": self._processed,
                "unfiled": processor.unfiled,
                "events_per_s": 0 if last else round(rate),
                "ended": last,
            },
        )
        self._beat_at, self._processed_before = now, self._processed


def _now_us() -> int:
    return time.time_ns() // 1000
