"""One more day: what a build costs when the lake has 10 days behind it, and when it has 200.

Each day has the same number of events of the same made-up shop. A day is loaded and landed; what is
timed is `shopstream build` as a whole process. The cost should follow new data, not history.
"""

import shutil
import statistics
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.figures import Bench, Figure
from benchmarks.landing import run
from benchmarks.processes import Used
from shopstream.events import Entry
from shopstream.local.datadir import make_data_dir
from shopstream.local.log import SqliteLog
from shopstream.simulator.shop import simulate

JOB = "days"
SHORT, LONG = 10, 200
EVENTS_A_DAY = 5_000
MORE = 3
"""Days that are built one by one after those; their median counts."""
RATIO_MAX = 1.3
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)


def measure(bench: Bench) -> list[Figure]:
    found, work_s = [], []
    for days in (SHORT, LONG):
        first, more = _one_more_day(bench, days, EVENTS_A_DAY)
        work_s.append(statistics.median(used.cpu_s for used in more))
        figure = Figure(
            job=JOB, name=f"one more day on {days} days",
            value=statistics.median(used.wall_s for used in more), unit="s", less=True,
            note=f"{work_s[-1]:.2f} s of processor time; {EVENTS_A_DAY:,} events a day; the first"
            f" build {first.wall_s:.1f} s",
        )  # fmt: skip
        found.append(figure)
    name = f"{LONG} days against {SHORT}"
    note = f"{work_s[1] / work_s[0]:.2f} times the processor time"
    ratio = found[1].value / found[0].value
    return [
        *found,
        Figure(job=JOB, name=name, value=ratio, unit="times", less=True, target=RATIO_MAX,
               note=note),
    ]  # fmt: skip


def _one_more_day(bench: Bench, days: int, events: int) -> tuple[Used, list[Used]]:
    """What the first build used, of `days` days, and that of each further day."""
    root = bench.folder / f"days-{days}"
    shutil.rmtree(root, ignore_errors=True)
    _fill(root, range(days), events)
    _settle(root)
    first = run(root, "build")
    more = []
    for day in range(days, days + MORE):
        _fill(root, range(day, day + 1), events)
        _settle(root)
        more.append(run(root, "build"))
    shutil.rmtree(root)
    return first, more


def _settle(root: Path) -> None:
    run(root, "processor", "--until-idle")
    run(root, "lander", "--until-idle")


def _fill(root: Path, days: range, events: int) -> None:
    """The days' events in the log, each day arriving as a row of each topic in its night."""
    log = SqliteLog(make_data_dir(root, 1).log, shards=1)
    for day in days:
        begin = FIRST_DAY + timedelta(days=day)
        arrived_us = int((begin + timedelta(days=1)).timestamp() * 1e6)
        by_topic: dict[str, list[bytes]] = {}
        start_us = int(begin.timestamp() * 1e6)
        # A little faster than a day needs, so that it is over by its end.
        per_s = events / 86_400 * 1.1
        for made in simulate("shop", events, seed=1, start_us=start_us, per_s=per_s):
            by_topic.setdefault(made.topic, []).append(made.raw)
        log.append(
            [
                Entry(
                    topic=topic,
                    events=raws,
                    source="load:benchmark",
                    received_us=arrived_us,
                    units=len(raws),
                    historical=True,
                    watermark_us=arrived_us,
                )
                for topic, raws in by_topic.items()
            ]
        )
    log.close()
