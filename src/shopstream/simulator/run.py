"""`simulate`: events of the made-up shop to where they are wanted, in batches, at a pace."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from shopstream.engine import open_aws_engine
from shopstream.errors import ConfigError, SourceError
from shopstream.feed import open_feed
from shopstream.settings import Settings
from shopstream.simulator.destinations import (
    Destination,
    FeedDestination,
    HttpDestination,
    open_stream,
)
from shopstream.simulator.shop import KINDS, Kind, Simulated, simulate

AWS_SCHEMES = ("kinesis://", "sqs://", "firehose://", "s3://")
_NO_FILE = re.compile("[A-Za-z][A-Za-z0-9+.-]+:")
"""How URLs and ARNs begin, and Windows' `C:` doesn't."""
DAY_US = 86_400_000_000
DAY_S = 86_400
DAY_EVENTS_MIN = 1_000
"""Fewer events come as on a day with so many: what only follows from visits would else be spread
over more days than have passed.
"""
FLUSH_S = 0.1
"""With a rate, events wait for their batch no longer than this."""

Progress = Callable[[int, int], None]
"""Told how many events are sent of how many, 0 when there is no end."""


def _untold(done: int, total: int) -> None:
    """Nobody wants to know."""


@dataclass
class SimulationReport:
    """What was sent, and how many events the destination would not take. `direct`: into a log that
    no running stage reads yet.
    """

    sent: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    why: str = ""
    batches: int = 0
    bytes: int = 0
    seconds: float = 0.0
    direct: bool = False

    @property
    def events(self) -> int:
        return sum(self.sent.values())

    def __str__(self) -> str:
        topics = ", ".join(f"{n:,} {topic}" for topic, n in sorted(self.sent.items()))
        rate = self.events / self.seconds if self.seconds else 0
        failed = f"; {self.failed:,} of them failed: {self.why}" * bool(self.failed)
        return (
            f"sent {topics or 'nothing'} in {self.batches:,} batches,"
            f" {self.bytes / 1e6:,.1f} MB in {self.seconds:,.1f} s ({rate:,.0f} events/s){failed}"
        )


def run_simulation(
    settings: Settings,
    kind: Kind,
    *,
    count: int,
    rate: float = 0,
    batch_size: int = 500,
    target_kb: int = 0,
    seed: int = 1,
    invalid_percent: float = 0,
    to: str | None = None,
    write_key: str = "",
    start_us: int | None = None,
    open_for_s: float = 0,
    progress: Progress = _untold,
    report: SimulationReport | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> SimulationReport:
    """Send `count` events of `kind` (0: without end) and return what was sent: in `report`, if it
    is given, which is right also when this raises.

    `to` is a collector's URL, a file, `-` (standard output), or on AWS `kinesis://STREAM`,
    `sqs://QUEUE`, `firehose://STREAM` or `s3://BUCKET/PREFIX`; None is the engine's log. With a
    `rate` (events a second) events happen now; without one they are a day's of two days ago,
    from `start_us` or a midnight on, as fast as they are taken: none in the future, unless they
    start less than two days ago. With a rate the shop may have been open for `open_for_s` seconds
    before, so that some are paying already when it begins.

    Raises ConfigError for arguments that make no sense, SourceError when the destination doesn't
    take the events, and for a data directory what `open_feed` and `Feed.append` raise.
    """
    _ensure_sensible(kind, count, rate, batch_size, invalid_percent)
    begin_us = _begin_us(start_us, rate, int(clock() * 1e6))
    events = simulate(
        kind,
        count,
        seed=seed,
        start_us=begin_us - int(open_for_s * 1e6),
        skip=int(open_for_s * rate),
        invalid_percent=invalid_percent,
        per_s=rate or max(count or 1_000_000, DAY_EVENTS_MIN) / DAY_S,
        live=bool(rate),
        target_kb=target_kb,
    )
    report = SimulationReport() if report is None else report
    began = clock()
    paced = _paced(events, rate, clock, sleep) if rate else ((e, False) for e in events)
    destination = _open(
        settings, to, write_key, clock, name_topics=kind == "shop", spoiled=invalid_percent > 0
    )
    report.direct = destination.direct
    try:
        for topic, batch in batches(paced, batch_size, destination):
            destination.send(topic, batch)
            report.sent[topic] = report.sent.get(topic, 0) + len(batch)
            report.batches += 1
            report.bytes += sum(map(len, batch))
            report.seconds = clock() - began
            progress(report.events, count)
    finally:
        try:
            destination.close()
        finally:
            report.failed, report.why = destination.failed, destination.why
            report.seconds = clock() - began
    return report


def _begin_us(start_us: int | None, rate: float, now_us: int) -> int:
    """When the first event happens, of which `start_us` is what was asked for."""
    if start_us is None:
        return now_us if rate else (now_us // DAY_US - 2) * DAY_US
    if rate or start_us > now_us:
        why = "with --rate events happen now" if rate else "wanted a time that has been"
        raise ConfigError(f"--start: {why}")
    return start_us


def _ensure_sensible(
    kind: str, count: int, rate: float, batch_size: int, invalid_percent: float
) -> None:
    for name, value, wanted, good in (
        ("kind", kind, "one of " + ", ".join(KINDS), kind in KINDS),
        ("--count", count, "at least 0", count >= 0),
        ("--rate", rate, "at least 0", rate >= 0),
        ("--batch-size", batch_size, "at least 1", batch_size >= 1),
        ("--invalid-percent", invalid_percent, "0 to 100", 0 <= invalid_percent <= 100),
    ):
        if not good:
            raise ConfigError(f"{name} {value}: wanted {wanted}")


def _open(
    settings: Settings,
    to: str | None,
    write_key: str,
    clock: Callable[[], float],
    *,
    name_topics: bool,
    spoiled: bool,
) -> Destination:
    if to is None:
        return FeedDestination(open_feed(settings), lambda: int(clock() * 1e6))
    if to.startswith(("http://", "https://")):
        return HttpDestination(to, write_key, spoiled=spoiled)
    if to.startswith(AWS_SCHEMES):
        return open_aws_engine(settings).destination(to, name_topics=name_topics)
    if _NO_FILE.match(to):
        raise SourceError(
            f"{to}: wanted http://HOST:PORT, kinesis://STREAM, sqs://QUEUE, firehose://STREAM or"
            " s3://BUCKET/PREFIX (each a name or an ARN), - or a file; a file with a colon in its"
            " name is ./NAME"
        )
    return open_stream(to, name_topics=name_topics)


def _paced(
    events: Iterable[Simulated],
    rate: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[tuple[Simulated, bool]]:
    """Events when they are due, the nth at n / rate seconds, with whether to flush after it."""
    began = clock()
    together = max(1, int(rate * FLUSH_S))
    for n, event in enumerate(events):
        if n % together == 0 and (ahead_s := began + n / rate - clock()) > 0:
            sleep(ahead_s)
        yield event, (n + 1) % together == 0


def batches(
    events: Iterable[tuple[Simulated, bool]], batch_size: int, destination: Destination
) -> Iterator[tuple[str, list[bytes]]]:
    """Batches of one topic each, in the topic's order: full when they hold `batch_size` events or
    as many bytes as the destination takes. A flag beside an event means: let none wait after it.
    """
    most = min(batch_size, destination.events_max)
    waiting: dict[str, list[bytes]] = {}
    sizes: dict[str, int] = {}
    for (topic, raw), flush in events:
        batch = waiting.setdefault(topic, [])
        size = sizes.get(topic, 0) + len(raw) + 1
        if batch and size > destination.bytes_max:
            yield topic, batch
            batch = waiting[topic] = []
            size = len(raw) + 1
        batch.append(raw)
        sizes[topic] = size
        if len(batch) >= most:
            yield topic, batch
            waiting[topic], sizes[topic] = [], 0
        if flush:
            yield from _rest(waiting)
            waiting, sizes = {}, {}
    yield from _rest(waiting)


def _rest(waiting: dict[str, list[bytes]]) -> Iterator[tuple[str, list[bytes]]]:
    return ((topic, batch) for topic, batch in waiting.items() if batch)
