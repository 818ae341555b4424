"""Commands that make the tables of the lake."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shopstream.cli.app import app, lake_app
from shopstream.cli.options import DataDir, EngineName, Format, SupervisedBy, UntilIdle
from shopstream.cli.printing import logged, say, show
from shopstream.domain.plurals import counted
from shopstream.leash import end_with
from shopstream.stopping import killed_by_ctrl_c

if TYPE_CHECKING:
    from shopstream.lake.plan import Step, Wanted
    from shopstream.lake.report import BuildReport

Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="TABLE[+]",
        help="Only this table; with + all that is made of it too. May be given several times.",
    ),
]
Since = Annotated[
    str, typer.Option(metavar="DATE", help="Build these days again from bronze: from this one on.")
]
Until = Annotated[str, typer.Option(metavar="DATE", help="The same: up to this one.")]


@app.command()
def build(
    full: Annotated[
        bool, typer.Option("--full", help="Everything again from bronze, not only what is new.")
    ] = False,
    select: Select = None,
    since: Since = "",
    until: Until = "",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show what would be built of what has landed, and build nothing."
        ),
    ] = False,
    data_dir: DataDir = None,
    format: Format = None,
    engine: EngineName = None,
) -> None:
    """Land what is in the log and build the tables of what is new.

    A table whose tests fail is not published, nor is what is made of it:
    readers keep what they had, an alert goes out once, and the exit code is 1.

    On AWS events land by themselves and LakeBuilder builds; this does its work
    now, on Athena.

    \b
    Examples:
      $ shopstream build
      $ shopstream build --dry-run
      $ shopstream build --select silver_clicks+ --since 2026-11-01
      $ shopstream build --full
      $ shopstream build --engine aws
    """
    from shopstream.engine import open_aws_engine, open_engine
    from shopstream.lake.build import build as build_tables
    from shopstream.lake.lag import not_landed
    from shopstream.stages import deliver, land

    wanted = _wanted(full, select, since, until)
    settings = logged(data_dir, engine=engine)
    if settings.engine == "aws":
        aws = open_aws_engine(settings)
        if dry_run:
            show(aws.plan_build(wanted), format, columns=("table", "mode", "days", "files", "why"))
            return
        with _progress() as progress:
            _report(
                aws.build(wanted, lambda step, n, of: progress(f"{n}/{of} {_what(step)}")), format
            )
        return
    here = open_engine(settings, create=False)  # says when there is none, and makes none
    if dry_run:
        report = build_tables(settings, wanted, dry_run=True)
        if waiting := not_landed(here):
            say(
                f"notice: {waiting:,} events of the log are not landed, so the plan doesn't know"
                " them; a build lands them first"
            )
        show(report.steps, format, columns=("table", "mode", "days", "files", "why"))
        return
    with killed_by_ctrl_c(), _progress() as progress:
        progress("landing")
        land(settings)
        report = build_tables(
            settings, wanted, on_step=lambda step, n, of: progress(f"{n}/{of} {_what(step)}")
        )
    _report(report, format, lambda: deliver(settings, say))


def _report(
    report: "BuildReport", format: Format, alert: Callable[[], None] = lambda: None
) -> None:
    """Say what was built; what failed has its alert delivered and ends the command with 1."""
    show(report, format, rows=_rows, columns=("table", "mode", "days", "rows", "seconds", "result"))
    for built in report.tables:
        for failure in built.failures:
            say(f"failed: {failure}")
    if report.failed:
        alert()
        raise typer.Exit(1)


@lake_app.callback()
def lake() -> None:
    """Tend the lake, make what is damaged anew, see the SQL of its tables.

    \b
    Examples:
      $ shopstream lake maintain
      $ shopstream lake rebuild silver_clicks
      $ shopstream lake reland
      $ shopstream lake compile --dialect trino
    """


@app.command()
def builder(
    until_idle: UntilIdle = False, data_dir: DataDir = None, supervised_by: SupervisedBy = 0
) -> None:
    """Run the builder alone: the tables of what has landed, every `build_every`.

    \b
    Examples:
      $ shopstream builder
      $ shopstream builder --until-idle
    """
    from shopstream.builder import run_builder

    end_with(supervised_by)
    run_builder(logged(data_dir), until_idle=until_idle)


def _wanted(full: bool, select: list[str] | None, since: str, until: str) -> "Wanted":
    """Raises BadParameter for what can't be meant."""
    from shopstream.lake.plan import Wanted

    first, last = _date("since", since), _date("until", until)
    if full and (first or last):
        raise typer.BadParameter("--full builds every day; leave --since and --until out")
    if first and last and first > last:
        raise typer.BadParameter(f"{last} is before --since {first}", param_hint="--until")
    return Wanted(full, tuple(select or ()), first, last)


def _date(name: str, text: str) -> str:
    from datetime import date

    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a date such as 2026-11-21", param_hint=f"--{name}"
        ) from None


def _what(step: "Step") -> str:
    days = f", {counted(len(step.days), 'days')}" if step.days else ""
    return f"{step.table} ({step.mode}{days})"


class _progress:  # noqa: N801  # used as a context manager only
    """What goes on, as a line of a terminal that changes; nothing in a pipe."""

    def __enter__(self) -> Any:
        from rich.console import Console

        console = Console(stderr=True)
        self._status = console.status("") if sys.stderr.isatty() else nullcontext()
        found = self._status.__enter__()
        return (lambda text: found.update(text)) if found is not None else (lambda _: None)

    def __exit__(self, *error: Any) -> None:
        self._status.__exit__(*error)


def _rows(report: "BuildReport") -> list[dict[str, Any]]:
    return [
        {
            "table": built.table,
            "mode": built.mode,
            "days": built.days,
            "rows": built.rows,
            "seconds": built.seconds,
            "result": "failed"
            if built.failures
            else f"kept back by {built.kept_back}"
            if built.kept_back
            else "published",
        }
        for built in report.tables
    ]
