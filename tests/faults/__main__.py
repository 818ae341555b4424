"""`make faults`: kill each stage at hundreds of system calls and compare what there is afterwards.

Prints what it does and a table; exits 1 when anything acknowledged was lost, or anything doubled.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.faults.kills import Victim
from tests.faults.snapshot import Difference
from tests.faults.strace import Point, spread, why_not
from tests.faults.victims import VICTIMS

POINTS = {
    "collector": 115, "processor": 115, "notifier": 90, "poisoned processor": 20,
    "reshard": 60, "intake": 40, "lander": 100, "builder": 100, "maintenance": 100,
}  # fmt: skip
RECOVERIES = 15
RESULTS = ("<!-- results -->\n", "<!-- end of results -->\n")


class Row(NamedTuple):
    """What came of the points at one system call of one stage."""

    stage: str
    call: str
    points: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    unbalanced: int = 0

    def plus(self, kills: int, found: Difference) -> "Row":
        return self._replace(
            points=self.points + 1,
            kills=self.kills + kills,
            lost=self.lost + len(found.lost),
            doubled=self.doubled + len(found.doubled),
            unbalanced=self.unbalanced + len(found.unbalanced),
        )

    @property
    def bad(self) -> bool:
        return self.lost + self.doubled + self.unbalanced > 0


class Campaign:
    """All points at the chosen stages, with what came of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seed = seed
        self.rows: dict[tuple[str, str], Row] = {}
        self.unreached = 0

    def kill(self, victim: Victim, points: int) -> None:
        """Kill `victim` once at each of about `points` points."""
        for point in spread(victim.counts, points, seed=self._seed):
            self._try(victim, point.call, point)

    def kill_twice(self, victim: Victim, times: int) -> None:
        """Kill `victim`, then again as it starts anew."""
        again = spread(victim.counts_in_recovery, times, seed=self._seed + 1)
        for second in self._random.sample(again, min(times, len(again))):
            call = self._random.choice(sorted(victim.counts))
            first = Point(call, self._random.randint(1, victim.counts[call]))
            self._try(victim, "twice", first, second)

    def _try(self, victim: Victim, call: str, *points: Point) -> None:
        began = time.monotonic()
        try:
            kills, found = victim.kill(*points)
        except Exception as e:  # noqa: BLE001  # that it can't go on is a result, too
            kills, found = len(points), Difference([], [], [f"{type(e).__name__}: {e}"[-2_000:]])
        row = self.rows.get((victim.name, call), Row(victim.name, call))
        if kills:
            self.rows[victim.name, call] = row.plus(kills, found)
        else:
            self.unreached += 1
        where = ", then ".join(map(str, points))
        verdict = "DIFFERS" if found else "good" if kills else "ended before it came to that"
        took = time.monotonic() - began
        print(f"{victim.name:20} {where:30} {verdict:8} {took:5.1f} s", flush=True)
        for kind, things in found._asdict().items():
            for thing in things[:10]:
                print(f"    {kind}: {thing}", flush=True)


def table(rows: list[Row]) -> str:
    """The rows as Markdown, with a sum below."""
    total = Row("**all**", "")
    for row in rows:
        total = total._replace(**{k: getattr(total, k) + getattr(row, k) for k in Row._fields[2:]})
    lines = ["| stage | system call | points | kills | lost | doubled | check failed |",
             "|---|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    lines += [f"| {' | '.join(map(str, row))} |" for row in [*sorted(rows), total]]
    return "\n".join(lines) + "\n"


def record(path: Path, results: str) -> None:
    """Put `results` between the marks in a page of the docs."""
    before, _, rest = path.read_text("utf-8").partition(RESULTS[0])
    after = rest.partition(RESULTS[1])[2]
    path.write_text(before + RESULTS[0] + results + RESULTS[1] + after, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.faults")
    parser.add_argument("--stage", choices=list(VICTIMS), action="append", help="default: all")
    parser.add_argument("--points", type=int, help="kill points for each stage")
    parser.add_argument("--recoveries", type=int, default=RECOVERIES, help="double kills for each")
    parser.add_argument("--seed", type=int, default=1, help="another seed takes other points")
    parser.add_argument("--record", type=Path, help="put the table into this page")
    asked = parser.parse_args()
    if why := why_not():
        print(f"can't put faults in: {why}", file=sys.stderr)
        return 1
    began = time.monotonic()
    campaign = Campaign(asked.seed)
    folder = Path(tempfile.mkdtemp(prefix="shopstream-faults-"))
    for name in asked.stage or VICTIMS:
        victim = VICTIMS[name](folder)
        campaign.kill(victim, asked.points or POINTS[name])
        campaign.kill_twice(victim, asked.recoveries)
    rows = list(campaign.rows.values())
    results = table(rows)
    points, minutes = sum(row.points for row in rows), (time.monotonic() - began) / 60
    print(f"\n{results}\n{points} points in {minutes:.0f} minutes; seed {asked.seed}.")
    if campaign.unreached:
        print(
            f"{campaign.unreached} more were not reached, as a run makes some calls by the clock."
        )
    if any(row.bad for row in rows):
        print(f"The data directories that differ are kept in {folder}.")
        return 1
    if asked.record:
        record(asked.record, f"\n{results}\n{points} points, seed {asked.seed}.\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
