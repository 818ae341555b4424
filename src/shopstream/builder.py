"""The builder stage: every `build_every`, silver and gold of what has landed; and tending them."""

import threading
import time
from typing import Any

import structlog

from shopstream.engine import Engine, open_engine
from shopstream.errors import Busy
from shopstream.heartbeats import write_heartbeat
from shopstream.lake.build import build
from shopstream.lake.maintain import maintain_if_due
from shopstream.lake.plan import Step
from shopstream.lake.report import BuildReport
from shopstream.settings import Settings
from shopstream.stages import land
from shopstream.stopping import stopped_by_signals

BEAT_S = 1.0
LANDING_S = 10.0
"""How long a build waits for the lander: what it doesn't bring by then is for the next build."""

logger = structlog.get_logger()


def run_builder(settings: Settings, *, until_idle: bool = False) -> None:
    """Land and build again and again until SIGTERM or SIGINT, which end it after the table at hand;
    with `until_idle` once.

    Raises DataDirError when the lake can't be used.
    """
    engine = open_engine(settings)
    with stopped_by_signals() as stop:
        beat = _Beat(engine)
        beat.start()
        try:
            while not stop.is_set():
                began = time.monotonic()
                _build(settings, engine, beat, stop)
                if until_idle:
                    break
                pause_s = settings.build_every.total_seconds() - (time.monotonic() - began)
                stop.wait(max(0.0, pause_s))
        finally:
            beat.end()


def _build(settings: Settings, engine: Engine, beat: "_Beat", stop: threading.Event) -> None:
    def begin(step: Step, *_: int) -> None:
        if stop.is_set():
            raise _Stopped
        beat.tell(building=step.table)

    began = time.monotonic()
    land(settings, wait_s=LANDING_S)
    try:
        report = build(settings, on_step=begin)
        beat.built(report, time.monotonic() - began)
        for failed in report.tables:
            for failure in failed.failures:
                logger.error("model_failed", failure=failure)
        with engine.write_builds(wait_s=LANDING_S) as builds:
            maintain_if_due(settings, builds)
    except _Stopped:
        return  # the tables built so far are published by the next build
    except Busy as e:
        logger.warning("build_put_off", reason=str(e))
    finally:
        beat.tell(building="")


class _Stopped(Exception):
    """Told to end between two tables."""


class _Beat:
    """The heartbeat, written by a thread: a build may take longer than others wait for one."""

    def __init__(self, engine: Engine) -> None:
        self._run_dir = engine.dir.run
        self._values: dict[str, Any] = {"building": "", "build": 0, "rows": 0, "failed": 0}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._write()
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            self._write()

    def _write(self, **more: Any) -> None:
        write_heartbeat(self._run_dir, "builder", {**self._values, **more})

    def tell(self, **values: Any) -> None:
        self._values = {**self._values, **values}

    def built(self, report: BuildReport, seconds: float) -> None:
        """Tell of a build that took so long, the landing before it included."""
        if report.build:
            self.tell(
                build=report.build,
                rows=sum(built.rows for built in report.tables),
                failed=len(report.failed),
                build_s=round(seconds, 3),
                built_us=time.time_ns() // 1_000,
            )

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._write(ended=True)
