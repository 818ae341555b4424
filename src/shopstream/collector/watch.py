"""Whether events are being delivered: what the processors say, checked against the log.

A process that lives delivers nothing by that: each processor must have spoken lately and must get
on while events wait for it.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from shopstream.collector.writer import Writer
from shopstream.errors import ShopstreamError
from shopstream.heartbeats import Heartbeat, alive, read_heartbeats
from shopstream.settings import Settings

if TYPE_CHECKING:
    from shopstream.engine import Engine
    from shopstream.local.log import SqliteLog

STUCK_S = 10.0
"""A processor that stays at one position for so long while events wait is stuck."""
NOT_LANDED_S = 60.0
"""The same for the lander, beyond the time that events may wait for it (`land_every`)."""
LAGGING_S = 10.0
"""Events that wait longer than this make the state `degraded`."""

Status: TypeAlias = Literal["ok", "degraded", "down"]


class StageHealth(Struct, omit_defaults=True, kw_only=True):
    """One stage. `position` and `lag_events` count events of the log."""

    alive: bool
    position: int | None = None
    lag_events: int | None = None
    error: str = ""


class Health(Struct, kw_only=True):
    """The truth about delivery. `lag_s` is how long the oldest unprocessed event has waited."""

    status: Status
    delivering: bool
    lag_events: int
    lag_s: float
    log_end: int
    log_writable: bool
    disk_free_bytes: int
    reasons: list[str]
    stages: dict[str, StageHealth]


class Watch:
    """Looks about once a second, in a thread of its own; `health` is what it last saw."""

    def __init__(self, engine: "Engine", writer: Writer) -> None:
        self._engine = engine
        self._settings: Settings = engine.settings
        self._writer = writer
        self._processors = [f"processor-{n}" for n in range(engine.shards)]
        # Here, as the collector on AWS, which has no stages, comes without what this imports.
        from shopstream.monitoring import all_stages

        known = ("collector", *self._processors)
        self._others = [n for n in all_stages(self._settings, engine.shards) if n not in known]
        self._moved: dict[str, tuple[int, float]] = {}
        self._reader: SqliteLog | None = None
        self.heartbeats: dict[str, Heartbeat] = {}
        self.health = self._judge(0)

    def look(self) -> Health:
        """Read the heartbeats and judge; the only method that reads files."""
        self.heartbeats = read_heartbeats(self._engine.dir.run)
        self.health = self._judge(time.time_ns() // 1000)
        return self.health

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def synced(self) -> int:
        """The smallest position that every processor, and the lander where there is to be one, has
        durably behind it, 0 if unknown.
        """
        readers = [*self._processors, *(["lander"] if self._settings.lake else [])]
        found = [self.heartbeats.get(name, {}).get("synced") for name in readers]
        return min((p if isinstance(p, int) else 0 for p in found), default=0)

    def _judge(self, now_us: int) -> Health:
        stages = {name: self._stage(name, beat, now_us) for name, beat in self.heartbeats.items()}
        end = self._writer.end
        reasons: list[str] = []
        positions: list[int] = []
        for name in self._processors:
            stage = stages.setdefault(name, StageHealth(alive=False))
            positions.append(stage.position or 0)
            if not stage.alive:
                reasons.append(f"{name} is not running")
            elif self._stuck(name, stage.position or 0, end, STUCK_S):
                reasons.append(f"{name} has not moved for {STUCK_S:.0f} s while events wait")
        free = _disk_free_bytes(self._settings.data_dir)
        writable = self._writer.broken is None and self._writer.full is None
        if not writable:
            reasons.append(str(self._writer.broken or self._writer.full))
        elif free < self._settings.disk_free_bytes_min:
            writable = False
            reasons.append(f"only {free:,} bytes are free on the disk")
        delivering = writable and not reasons
        lag_events = end - min(positions)
        lag_s = self._lag_s(min(positions), now_us) if lag_events > 0 else 0.0
        if lag_s > LAGGING_S:
            reasons.append(f"the oldest unprocessed event has waited {lag_s:.0f} s")
        for name in self._others:
            stage = stages.setdefault(name, StageHealth(alive=False))
            if name == "lander":
                reasons += self._landing(stage, end)
            elif not stage.alive:
                reasons.append(f"{name} is not running")
        reasons += [f"{name}: {stage.error}" for name, stage in stages.items() if stage.error]
        return Health(
            status="down" if not delivering else "degraded" if reasons else "ok",
            delivering=delivering,
            lag_events=max(0, lag_events),
            lag_s=round(lag_s, 3),
            log_end=end,
            log_writable=writable,
            disk_free_bytes=free,
            reasons=reasons,
            stages=stages,
        )

    def _stage(self, name: str, beat: Heartbeat, now_us: int) -> StageHealth:
        if name != "lander" and not name.startswith("processor-"):
            return StageHealth(alive=alive(beat, now_us), error=_text(beat.get("error")))
        position = beat.get("position")
        if type(position) is not int:
            return StageHealth(alive=False, error="its heartbeat tells no position")
        return StageHealth(
            alive=alive(beat, now_us),
            position=position,
            lag_events=max(0, self._writer.end - position),
            error=_text(beat.get("error")),
        )

    def _landing(self, lander: StageHealth, end: int) -> list[str]:
        """What is wrong with landing. Nothing is undelivered by that; but the log keeps what is
        not landed, and when it is full the collector takes nothing more.
        """
        if not lander.alive:
            return ["lander is not running; the log keeps what is not landed"]
        patience_s = self._settings.land_every.total_seconds() + NOT_LANDED_S
        if self._stuck("lander", lander.position or 0, end, patience_s):
            return [f"lander has not moved for {patience_s:.0f} s while events wait"]
        return []

    def _stuck(self, name: str, position: int, end: int, stuck_s: float) -> bool:
        now = time.monotonic()
        last, since = self._moved.get(name, (-1, now))
        if position != last or position >= end:
            self._moved[name] = (position, now)
            return False
        return now - since > stuck_s

    def _lag_s(self, position: int, now_us: int) -> float:
        try:
            if self._reader is None:
                self._reader = self._engine.read_log()
            appended_us = self._reader.appended_us(position)
        except ShopstreamError:
            return 0.0
        return max(0.0, (now_us - appended_us) / 1e6) if appended_us else 0.0


def _disk_free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _text(value: object) -> str:
    return str(value)[:500] if value else ""
