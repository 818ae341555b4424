"""What a benchmark gives: figures, and the median of several runs of them."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct


@dataclass(frozen=True)
class Bench:
    """What every job is given: the input, how many events it holds, and a folder of its own."""

    input: Path
    events: int
    folder: Path
    quick: bool = False


class Figure(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One measured thing. `against` names the figure of the same job and run that it is divided by.

    `target` is what shared goals ask for; `less` says that smaller is better. A figure that could
    not be measured has the reason in `skipped`, and its value means nothing.
    """

    job: str
    name: str
    value: float = 0.0
    unit: str = ""
    kind: str = "ours"
    against: str = ""
    target: float = 0.0
    less: bool = False
    note: str = ""
    skipped: str = ""

    @property
    def met(self) -> bool:
        return self.value <= self.target if self.less else self.value >= self.target


class Median(Struct, frozen=True, kw_only=True):
    """A figure over several runs: the median, the extremes, and the median ratio within a run."""

    figure: Figure
    low: float
    high: float
    ratio: float
    runs: int


def medians(runs: Iterable[list[Figure]]) -> list[Median]:
    """The figures of all runs, joined by job and name, in the order in which they first came."""
    found: dict[tuple[str, str], list[tuple[Figure, float]]] = {}
    for run in runs:
        values = {(f.job, f.name): f.value for f in run if not f.skipped}
        for figure in run:
            other = values.get((figure.job, figure.against), 0.0)
            ratio = figure.value / other if other else 0.0
            found.setdefault((figure.job, figure.name), []).append((figure, ratio))
    return [_median(same) for same in found.values()]


def _median(same: list[tuple[Figure, float]]) -> Median:
    measured = [(figure, ratio) for figure, ratio in same if not figure.skipped]
    if not measured:
        return Median(figure=same[0][0], low=0.0, high=0.0, ratio=0.0, runs=0)
    values = sorted(figure.value for figure, _ in measured)
    middle = statistics.median_low(values)
    figure = next(figure for figure, _ in measured if figure.value == middle)
    return Median(
        figure=figure,
        low=values[0],
        high=values[-1],
        ratio=statistics.median(ratio for _, ratio in measured),
        runs=len(values),
    )
