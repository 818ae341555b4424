"""Results to a JSON file, and from it the tables in `docs/performance.md`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from benchmarks.figures import Median
from benchmarks.processes import ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


class Job(msgspec.Struct, kw_only=True):
    """One job's figures, when they were taken and of what."""

    at: str
    commit: str
    command: str
    events: int
    runs: int
    title: str
    about: str
    figures: list[Median]


class Results(msgspec.Struct):
    """All jobs' latest figures on this machine."""

    machine: dict[str, str]
    jobs: dict[str, Job]


def read_results(path: Path) -> Results:
    """The results kept so far; none when there is no file of them."""
    if not path.exists():
        return Results({}, {})
    return msgspec.json.decode(path.read_bytes(), type=Results)


def write_results(path: Path, results: Results) -> None:
    """Replace the file of results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    part.replace(path)


def write_page(results: Results, order: Iterable[str], page: Path = PAGE) -> None:
    """Replace what stands between the markers of the page; raises ValueError without markers."""
    text = page.read_text("utf-8")
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{page} lacks the markers {BEGIN} and {END}")
    tables = "\n".join(_page(results, order))
    page.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after}", "utf-8")


def table(figures: Iterable[Median]) -> Iterator[str]:
    """The figures as a Markdown table, line by line."""
    yield "| | median (lowest to highest) | ratio, same run | target | |"
    yield "|---|---|---|---|---|"
    for median in figures:
        yield f"| {' | '.join(_row(median))} |"


def _page(results: Results, order: Iterable[str]) -> Iterator[str]:
    for fact, value in results.machine.items():
        yield f"- {fact}: {value}"
    yield ""
    for name in order:
        job = results.jobs.get(name)
        if job is None:
            continue
        commit = f", commit {job.commit}" if job.commit else ""
        yield f"### {job.title}"
        yield ""
        yield job.about
        yield ""
        yield (
            f"`{job.command}`, {job.at}{commit}; {job.events:,} events;"
            f" median of {job.runs} {'run' if job.runs == 1 else 'runs'}."
        )
        yield ""
        yield from table(job.figures)
        yield ""


def _row(median: Median) -> tuple[str, str, str, str, str]:
    figure = median.figure
    name = f"**{figure.name}**" if figure.kind == "ours" else figure.name
    if figure.skipped:
        return name, "not measured", "", "", _line(figure.skipped)
    value = show(figure.value, figure.unit)
    if median.runs > 1:
        value += f" ({_number(median.low, figure.unit)} to {_number(median.high, figure.unit)})"
    ratio = f"{median.ratio:.2f} × {figure.against}" if median.ratio else ""
    target = ""
    if figure.target:
        sign = "≤" if figure.less else "≥"
        met = "met" if figure.met else "**not met**"
        target = f"{sign} {show(figure.target, figure.unit)}: {met}"
    return name, value, ratio, target, _line(figure.note)


def show(value: float, unit: str) -> str:
    """A value as a reader wants it: no more digits than were measured."""
    return f"{_number(value, unit)} {unit}".strip()


def _number(value: float, unit: str) -> str:
    if unit == "events/s":
        return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:,.2f} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]
