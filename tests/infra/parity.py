"""What both engines make of the same events, in a form in which they can be compared.

What differs by nature is left out: the position in a log and when something was written down. All
else must be there and alike, as often as it is there.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard
from tests.flows.pipeline import MINUTE_US, Pipeline
from tests.infra.drive import Drive

from shopstream.domain.partition import split_by_key
from shopstream.engine import open_engine
from shopstream.events import Alert, Entry, Offer, Order, Stock
from shopstream.flows.work import QuarantineRecord
from shopstream.lander import land_here
from shopstream.settings import Settings
from shopstream.simulator.shop import Simulated, simulate

TOPICS = ("clicks", "carts", "orders", "stock")
BRONZE = (*TOPICS, "quarantine")
RECORDS_AT_ONCE = 100
"""The time of the emulator's queues for a message grows with how many they hold."""
_DIFFERENCES_SHOWN = 8

_encode = msgspec.json.Encoder(order="sorted").encode


class _Timed(msgspec.Struct):
    timestamp: datetime


Rows = Counter[bytes]


class Step(NamedTuple):
    """Entries that arrive one after the other, and what the time is then.

    `clocks_us`, once known, are up to where live timers have fired after each of them.
    """

    now_us: int
    entries: list[Entry]
    clocks_us: list[int]


class Outcome(NamedTuple):
    """All that came of some steps, each kind with how often each row is there."""

    kinds: dict[str, Rows]

    def sizes(self) -> dict[str, int]:
        return {kind: rows.total() for kind, rows in self.kinds.items()}


def simulated(count: int, *, steps: int, start_us: int, seed: int = 7) -> list[Step]:
    """A day of the simulated shop: some events are spoiled, some come twice or late."""
    events = list(
        simulate(
            "shop",
            count,
            seed=seed,
            start_us=start_us,
            invalid_percent=1,
            per_s=count / 86_400,
        )
    )
    size, found = -(-count // steps), []
    for n in range(steps):
        part = events[n * size : (n + 1) * size]
        # One in forty of the step before comes again, one in forty of this one comes only later.
        again = events[max(0, (n - 1) * size) : n * size : 40]
        late = events[n * size + 20 : (n + 1) * size : 40] if n + 1 < steps else []
        missed = events[max(0, (n - 1) * size) + 20 : n * size : 40] if n else []
        held = set(late)
        now_us = _time_after(part)
        arrived = [*(e for e in part if e not in held), *missed, *again]
        entries = [
            Entry(
                topic=topic,
                events=raws,
                source="simulate",
                received_us=now_us,
                units=len(raws),
            )
            for topic in TOPICS
            if (raws := [e.raw for e in arrived if e.topic == topic])
        ]
        found.append(Step(now_us, entries, []))
    return found


def _time_after(events: Sequence[Simulated]) -> int:
    """A while after nearly all of them: the times of some are spoiled."""
    times = sorted(t for event in events if (t := _time_us(event.raw)))
    return times[len(times) * 98 // 100] + MINUTE_US * 5


def _time_us(raw: bytes) -> int:
    try:
        time = msgspec.json.decode(raw, type=_Timed).timestamp
    except msgspec.MsgspecError:
        return 0
    return int(time.timestamp() * 1e6)


def embedded(pipeline: Pipeline, steps: Iterable[Step]) -> Outcome:
    """The local engine's: a log, a processor, a lander on a data directory. Notes the clocks of
    the steps: its timers also fire at the times of the events, which others must be told.
    """
    for step in steps:
        for entry in step.entries:
            pipeline.now_us = step.now_us
            pipeline.take_all(entry)
            step.clocks_us.append(max(p.checkpoint.live_us for p in pipeline.processors))
        pipeline.idle(last=True)
    land_here(pipeline.settings)
    report = pipeline.check()
    assert report.balanced, report
    return Outcome(
        _decided(
            {
                "offers": (item for _, _, item in pipeline.items("offers")),
                "orders": (item for _, _, item in pipeline.items("orders")),
                "alerts": (item for _, _, item in pipeline.items("alert_feed")),
                "products": (item for _, _, item in pipeline.items("products")),
                "quarantine": (item for _, _, item in pipeline.items("quarantine")),
            }
        )
        | {f"bronze {topic}": _landed(_lines(pipeline, topic)) for topic in BRONZE}
    )


def _lines(pipeline: Pipeline, topic: str) -> Iterator[bytes]:
    for path in sorted((pipeline.settings.data_dir / "bronze" / topic).rglob("*.zst")):
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            yield from stream.read().splitlines()


def deployed(drive: Drive, steps: Iterable[Step]) -> Outcome:
    """The applied stack's: the same entries in the same order, its timers fired at the same times
    (a caller may say that nothing is on its way, then those of history are, too).
    """
    log = drive.engine.write_log()
    for step in steps:
        drive.set_clock(step.now_us)
        for entry, clock_us in zip(step.entries, step.clocks_us, strict=True):
            parts = [part for _, part in split_by_key(entry)]
            for first in range(0, len(parts), RECORDS_AT_ONCE):
                log.append(parts[first : first + RECORDS_AT_ONCE])
                drive.settle()
            drive.tick(clock_us, now_us=step.now_us, settled=True)
        drive.tick(step.now_us, settled=True)
    return found_deployed(drive)


def found_deployed(drive: Drive) -> Outcome:
    """What there is in tables and buckets of an applied stack."""
    tables = ("offers", "orders", "alerts", "products", "quarantine")
    decided = {table: [item for _, _, item in drive.items(table)] for table in tables}
    landed = {f"bronze {t}": _landed(map(json.dumps, drive.bronze(t))) for t in BRONZE}
    return Outcome(_decided(decided) | landed)


_KINDS: dict[str, Any] = {
    "offers": Offer,
    "orders": Order,
    "alerts": Alert,
    "products": Stock,
    "quarantine": QuarantineRecord,
}


def _decided(found: Mapping[str, Iterable[bytes]]) -> dict[str, Rows]:
    return {kind: Counter(_row(kind, item) for item in items) for kind, items in found.items()}


def _row(kind: str, item: bytes) -> bytes:
    """An item as its structure says; what an engine keeps beside it is its own."""
    found = msgspec.json.decode(item, type=_KINDS[kind])
    if isinstance(found, QuarantineRecord):
        found.id, found.at_us = "", 0
    return _encode(found)


def _landed(lines: Iterable[bytes | str]) -> Rows:
    return Counter(_without_position(json.loads(line)) for line in lines)


def _without_position(row: dict[str, Any]) -> bytes:
    del row["position"]
    return _encode(row)


def differences(one: Outcome, other: Outcome, names: tuple[str, str]) -> str:
    """What only one of two has, some of each kind; empty when they are alike."""
    said = []
    for kind, rows in one.kinds.items():
        sides = (rows - other.kinds[kind], other.kinds[kind] - rows)
        for name, only in zip(names, sides, strict=True):
            if only:
                said.append(f"{only.total()} {kind} only {name}:")
                said += [
                    f"  {n} x {row.decode()}" for row, n in only.most_common(_DIFFERENCES_SHOWN)
                ]
    return "\n".join(said)


def loaded(folder: Path, load: Callable[[Settings], None], now_us: int) -> list[Step]:
    """What `load` puts into a log, row by row."""
    settings = Settings(data_dir=folder)
    load(settings)
    log = open_engine(settings).read_log()
    try:
        return [Step(now_us, row.entries, []) for row in log.rows(0, log.end())]
    finally:
        log.close()
