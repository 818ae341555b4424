"""How the stages stand: `shopstream status`, and the status line of `shopstream up`."""

import time

from msgspec import Struct

from shopstream.engine import open_engine
from shopstream.heartbeats import Heartbeat, alive, read_heartbeats
from shopstream.settings import Settings


class StageStatus(Struct):
    """One stage. `lag` counts events in the log that a processor or the lander has not come to."""

    stage: str
    running: bool
    pid: int
    beat_s_ago: float
    position: int
    lag: int
    events_per_s: int
    detail: str


class Standing(Struct):
    """All stages in one line. Rates in events a second, lag in events."""

    events_per_s: int = 0
    received: int = 0
    lag: int = 0
    offers: int = 0
    alerts: int = 0
    quarantined: int = 0
    down: list[str] = []


def lake_stages(settings: Settings) -> list[str]:
    """The stages that the setting `lake` turns on."""
    return ["lander", "builder"] if settings.lake else []


def status(settings: Settings) -> list[StageStatus]:
    """Each stage that ever ran on this data directory, and those that should. Raises DataDirError
    when there is none.
    """
    engine = open_engine(settings, create=False)
    log = engine.read_log()
    end = log.end()
    log.close()
    beats = read_heartbeats(engine.dir.run)
    names = ["collector", *(f"processor-{n}" for n in range(engine.shards)), "notifier", "intake"]
    names += lake_stages(settings)
    now_us = time.time_ns() // 1000
    return [_status(name, beats.get(name, {}), end, now_us) for name in names]


def _status(name: str, beat: Heartbeat, end: int, now_us: int) -> StageStatus:
    reads_log = name == "lander" or name.startswith("processor")
    position = int(beat.get("position", 0)) if reads_log else end
    at_us = int(beat.get("at_us", 0))
    shown = [k for k in _DETAIL if beat.get(k)]
    return StageStatus(
        stage=name,
        running=alive(beat, now_us),
        pid=int(beat.get("pid", 0)),
        beat_s_ago=round((now_us - at_us) / 1e6, 1) if at_us else 0.0,
        position=position,
        lag=max(0, end - position),
        events_per_s=int(beat.get("events_per_s", 0)),
        detail=", ".join(f"{beat[k]} {k}" for k in shown),
    )


_DETAIL = (
    "offers", "alerts", "quarantined", "duplicate", "pending", "delivered", "dead", "rejected",
    "loaded", "failed", "waiting", "files", "error",
)  # fmt: skip


def standing(settings: Settings, shards: int) -> Standing:
    """How all stages stand, from their heartbeats."""
    beats = read_heartbeats(settings.data_dir / "run")
    now_us = time.time_ns() // 1000
    names = ["collector", "notifier", "intake", *(f"processor-{n}" for n in range(shards))]
    names += lake_stages(settings)
    processors = [beats.get(f"processor-{n}", {}) for n in range(shards)]
    end = int(beats.get("collector", {}).get("received", 0))
    positions = [int(beat.get("position", 0)) for beat in processors]

    def total(name: str) -> int:
        return sum(int(beat.get(name, 0)) for beat in processors)

    return Standing(
        events_per_s=total("events_per_s"),
        received=end,
        lag=max(0, end - min(positions)) if positions else 0,
        offers=total("offers"),
        alerts=total("alerts"),
        quarantined=total("quarantined"),
        down=[name for name in names if not alive(beats.get(name, {}), now_us)],
    )
