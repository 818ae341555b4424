"""A build on Athena that somebody waits for: run after run until it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from shopstream.aws.builder import asked_of, build_on, landings_of, site_of
from shopstream.lake.plan import Wanted

if TYPE_CHECKING:
    from shopstream.aws.engine import AwsEngine
    from shopstream.lake.plan import Step
    from shopstream.lake.report import BuildReport


def build_to_the_end(
    engine: AwsEngine, wanted: Wanted, on_step: Callable[[Step, int, int], None], window_s: float
) -> BuildReport:
    """Build what is `wanted`, at most `window_s` seconds at a time, and say what came of it.

    What another build has left is done first: it had its reasons. Of one that was to be the same
    the rest is not enough: more has landed since. Raises Busy, ConfigError for an
    unknown table, AwsError; what was done until then stays done.
    """
    began = time.monotonic()
    left = site_of(engine, lambda: 0.0).memory.open_build()
    again = left is not None and (wanted == Wanted() or left.asked == asked_of(wanted))
    while True:
        ends = time.monotonic() + window_s
        site = site_of(engine, lambda: ends - time.monotonic())  # noqa: B023  # asked in this turn
        done = build_on(site, landings_of(engine), wanted, on_step)
        if not done.finished:
            continue
        if again:
            again = False
            continue
        done.report.seconds = round(time.monotonic() - began, 3)
        return done.report
