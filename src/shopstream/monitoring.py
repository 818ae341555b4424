"""How the stages stand: `shopstream status`, and the status line of `shopstream up`."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from shopstream.domain.plurals import counted
from shopstream.engine import Engine, open_aws_engine, open_engine
from shopstream.errors import DataDirError
from shopstream.heartbeats import Heartbeat, alive, read_heartbeats
from shopstream.settings import Settings

if TYPE_CHECKING:
    from shopstream.aws.standing import AwsStanding


class StageStatus(Struct):
    """One stage. `lag` counts events in the log that a processor or the lander has not come to;
    the builder's, those that have landed, and offers, that are not in the published tables.
    """

    stage: str
    running: bool
    pid: int
    beat_s_ago: float
    position: int
    lag: int
    events_per_s: int
    detail: str


class Standing(Struct):
    """All stages in one line. Rates in events a second, lag in events; all else since the
    beginning. `received` are the units that `shopstream check` counts as received.
    """

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


def all_stages(settings: Settings, shards: int) -> list[str]:
    """The stages that `up` runs, so that each of them should give signs of life."""
    processors = [f"processor-{n}" for n in range(shards)]
    return ["collector", *processors, "notifier", "intake", *lake_stages(settings)]


def status(settings: Settings) -> list[StageStatus]:
    """Each stage that ever ran on this data directory, and those that should. Raises DataDirError
    when there is none.
    """
    engine = open_engine(settings, create=False)
    log = engine.read_log()
    end = log.end()
    log.close()
    beats = read_heartbeats(engine.dir.run)
    now_us = time.time_ns() // 1000
    names = all_stages(settings, engine.shards)
    found = [_status(name, beats.get(name, {}), end, now_us) for name in names]
    for stage in found:
        if stage.stage == "builder":
            _add_build(stage, engine, beats.get("builder", {}), now_us)
    return found


def _add_build(stage: StageStatus, engine: Engine, beat: Heartbeat, now_us: int) -> None:
    """What the builder's heartbeat doesn't say: builds are made by commands, too."""
    from shopstream.lake.lag import lag_of

    details = [stage.detail]
    try:
        lag = lag_of(engine)
    except DataDirError as e:
        details.append(str(e))
    else:
        stage.position, stage.lag = lag.position, lag.events
        if lag.built_at:
            age_s = max(0, int(now_us / 1e6 - lag.built_at.timestamp()))
            details.insert(0, f"build {lag.build} {_shown_age(age_s)} ago")
    details += [f"{table} fails its tests" for table in _failing(engine)]
    if stage.running and beat.get("building"):
        details.insert(0, f"building {beat['building']}")
    stage.detail = ", ".join(filter(None, details))


def _failing(engine: Engine) -> list[str]:
    try:
        with engine.read_builds() as builds:
            return sorted(builds.failing())
    except DataDirError:
        return []  # nothing was ever built here


def _status(name: str, beat: Heartbeat, end: int, now_us: int) -> StageStatus:
    reads_log = name == "lander" or name.startswith("processor")
    position = int(beat.get("position", 0)) if reads_log else end
    at_us = int(beat.get("at_us", 0))
    details = [counted(int(beat[k]), k) for k in _COUNTS if beat.get(k)]
    if beat.get("error"):
        details.append(str(beat["error"]))
    return StageStatus(
        stage=name,
        running=alive(beat, now_us),
        pid=int(beat.get("pid", 0)),
        beat_s_ago=round((now_us - at_us) / 1e6, 1) if at_us else 0.0,
        position=position,
        lag=max(0, end - position),
        events_per_s=int(beat.get("events_per_s", 0)),
        detail=", ".join(details),
    )


def _shown_age(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


_COUNTS = (
    "offers", "unfiled", "alerts", "quarantined", "duplicate", "pending", "delivered", "dead",
    "rejected", "loaded", "failed", "waiting", "files",
)  # fmt: skip


def standing(engine: Engine) -> Standing:
    """How all stages stand, from their heartbeats; what was received is read from the log, in
    about 0.2 ms. Raises LogBroken when that can't be read.
    """
    log = engine.read_log()
    try:
        received = sum(log.received().values())
    finally:
        log.close()
    beats = read_heartbeats(engine.dir.run)
    now_us = time.time_ns() // 1000
    names = all_stages(engine.settings, engine.shards)
    processors = [beats.get(f"processor-{n}", {}) for n in range(engine.shards)]
    # Not the log's end of this moment: positions are a heartbeat old, and so must it be.
    end = int(beats.get("collector", {}).get("end", 0))
    positions = [int(beat.get("position", 0)) for beat in processors]

    def total(name: str) -> int:
        return sum(int(beat.get(name, 0)) for beat in processors)

    return Standing(
        events_per_s=total("events_per_s"),
        received=received + total("derived"),
        lag=max(0, end - min(positions)) if positions else 0,
        offers=total("offers"),
        alerts=total("alerts"),
        quarantined=total("quarantined"),
        down=[name for name in names if not alive(beats.get(name, {}), now_us)],
    )


class CloudBuild(Struct):
    """The last build of the lake on AWS; `failed` are tables that it didn't publish."""

    build: int
    built_at: datetime
    failed: list[str] = []


class CloudStatus(Struct):
    """A deployment on AWS. `today` counts by topic and outcome the units of what arrived today
    (UTC) and was settled; `build` is None before there was any.
    """

    at: datetime
    standing: "AwsStanding"
    today: dict[str, dict[str, int]]
    build: CloudBuild | None


def cloud_status(settings: Settings) -> CloudStatus:
    """How the deployment on AWS stands. Raises AwsError when it isn't there or can't be asked."""
    from shopstream.flows.records import ledger_rows

    engine = open_aws_engine(settings).deployed()
    now = datetime.now(UTC)
    items = engine.tables()
    today: dict[str, Counter[str]] = {}
    for _, counts in ledger_rows(items, now.date().isoformat()):
        for name, units in counts.items():
            topic, source, outcome = name.split("\x1f")
            if source:
                today.setdefault(topic, Counter())[outcome.partition(":")[0]] += units
    found = items.get("state", "build")
    return CloudStatus(
        at=now,
        standing=engine.standing(now),
        today={topic: dict(counts) for topic, counts in sorted(today.items())},
        build=msgspec.json.decode(found, type=CloudBuild) if found else None,
    )
