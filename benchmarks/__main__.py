"""`python -m benchmarks`: run the jobs, keep the figures, rewrite the tables of the page."""

import argparse
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from benchmarks import (
    collector,
    days,
    freshness,
    gold,
    landing,
    latency,
    limits,
    machine,
    offers,
    processor,
    report,
)  # fmt: skip
from benchmarks.events import COUNT, COUNT_QUICK, events_file
from benchmarks.figures import Bench, Figure, medians
from benchmarks.processes import ROOT, RunFailed

FOLDER = ROOT / ".benchmarks"
RUNS = 3


class Job(NamedTuple):
    """A job: what measures it and how it is titled."""

    measure: Callable[[Bench], list[Figure]]
    title: str
    module: object


JOBS = {
    limits.JOB: Job(limits.measure, "Limits of this machine", limits),
    collector.JOB: Job(collector.measure, "Collector", collector),
    processor.JOB: Job(processor.measure, "Processor", processor),
    offers.JOB: Job(offers.measure, "Offers job", offers),
    latency.JOB: Job(latency.measure, "Event to offer", latency),
    landing.JOB: Job(landing.measure, "Land and silver", landing),
    gold.JOB: Job(gold.measure, "Gold jobs", gold),
    days.JOB: Job(days.measure, "One more day", days),
    freshness.JOB: Job(freshness.measure, "Event to gold", freshness),
}


def main() -> int:
    """Run what was asked for. Exit code 1 when a job failed, 2 when nothing can run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the events, one run")
    parser.add_argument("--only", action="append", choices=list(JOBS), metavar="NAME",
                        help=f"only this job, may be repeated: {', '.join(JOBS)}")  # fmt: skip
    parser.add_argument("--runs", type=int, default=0, help=f"runs of each job, default {RUNS}")
    given = parser.parse_args()
    if sys.platform != "linux":
        print("error: the benchmarks pin processes to cores and need Linux")
        return 2
    wanted = [name for name in JOBS if not given.only or name in given.only]
    runs = given.runs or (1 if given.quick else RUNS)
    count = COUNT_QUICK if given.quick else COUNT
    work = FOLDER / "work"
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(events_file(FOLDER, count), count, work, given.quick)
    results_file = FOLDER / ("results-quick.json" if given.quick else "results.json")
    results = report.read_results(results_file)
    failed = []
    for name in wanted:
        print(f"{name}: {runs} x {count:,} events", flush=True)
        try:
            found = [JOBS[name].measure(bench) for _ in range(runs)]
        except (RunFailed, OSError) as e:
            print(f"error: {name}: {e}\n", flush=True)
            failed.append(name)
            continue
        results.machine = machine.facts()
        results.jobs[name] = _job(name, given.quick, count, runs, found)
        print("\n".join(report.table(results.jobs[name].figures)), "\n", flush=True)
        report.write_results(results_file, results)
    shutil.rmtree(work)
    if not given.quick:
        report.write_page(results, JOBS)
    return 1 if failed else 0


def _job(name: str, quick: bool, count: int, runs: int, found: list[list[Figure]]) -> report.Job:
    return report.Job(
        at=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=machine.commit(),
        command=f"python -m benchmarks{' --quick' if quick else ''} --only {name}",
        events=count,
        runs=runs,
        title=JOBS[name].title,
        about=" ".join(str(JOBS[name].module.__doc__).split()),
        figures=medians(found),
    )


if __name__ == "__main__":
    sys.exit(main())
