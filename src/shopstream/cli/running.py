"""Commands that run the stages and tell how they do."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from shopstream.cli.app import app
from shopstream.cli.options import (
    DataDir,
    EngineName,
    Format,
    Host,
    Port,
    Shards,
    Shown,
    Since,
    SupervisedBy,
    UntilIdle,
)
from shopstream.cli.printing import alert, keep_below, logged, notice, say, settings_of, show
from shopstream.cli.tables import (
    check_rows,
    cloud_check_rows,
    cloud_rows,
    progress_bar,
    status_line,
)
from shopstream.errors import ConfigError
from shopstream.leash import end_with
from shopstream.settings import SHARDS_MAX
from shopstream.stopping import killed_by_ctrl_c

if TYPE_CHECKING:
    from shopstream.settings import Settings


@app.command(short_help="Run all stages until Ctrl-C.")
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Send simulated shoppers too.")] = False,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    shards: Shards = None,
) -> None:
    """Run the collector, the processors, the notifier, the intake, the lander and the
    builder until Ctrl-C.

    A stage that dies is started again. On a loopback address events are taken
    without a key until there is the first write key, and look-ups are answered
    until there is the first read key; on any other address make a write key
    first: `shopstream keys add`.

    \b
    Examples:
      $ shopstream up --demo
      $ shopstream up --host 0.0.0.0 --port 8080 --data-dir /var/lib/shopstream
    """
    from shopstream.monitoring import Standing
    from shopstream.supervisor import up as run_all

    def show_standing(standing: Standing) -> None:
        keep_below(status_line(standing))

    found = logged(data_dir, host=host, port=port, shards=shards)
    run_all(found, demo=demo, say=notice, show=show_standing)


@app.command()
def collector(
    data_dir: DataDir = None, host: Host = None, port: Port = None, supervised_by: SupervisedBy = 0
) -> None:
    """Run the collector alone: HTTP in, log on disk.

    \b
    Examples:
      $ shopstream collector --port 8080
    """
    from shopstream.collector.server import run_collector

    end_with(supervised_by)
    run_collector(logged(data_dir, host=host, port=port))


@app.command()
def processor(
    shard: Annotated[int, typer.Option(min=0, help="Which shard, from 0.")] = 0,
    until_idle: UntilIdle = False,
    data_dir: DataDir = None,
    supervised_by: SupervisedBy = 0,
) -> None:
    """Run one processor alone: log in, tables, offers and alerts out.

    \b
    Examples:
      $ shopstream processor --shard 0
      $ shopstream processor --until-idle
    """
    from shopstream.processor import run_processor

    end_with(supervised_by)
    run_processor(logged(data_dir), shard, until_idle=until_idle)


@app.command()
def notifier(
    until_idle: UntilIdle = False, data_dir: DataDir = None, supervised_by: SupervisedBy = 0
) -> None:
    """Run the notifier alone: alerts out to where `notify` says.

    A webhook on this machine or in its network needs notify_private_addresses, too,
    as in shopstream.toml:

    \b
      notify = ["console://", "http://localhost:9000/alerts"]
      notify_private_addresses = true

    \b
    Examples:
      $ shopstream notifier
      $ shopstream notifier --until-idle
    """
    from shopstream.notify import run_notifier

    end_with(supervised_by)
    run_notifier(logged(data_dir), until_idle=until_idle, write=alert)


@app.command()
def intake(
    until_idle: UntilIdle = False, data_dir: DataDir = None, supervised_by: SupervisedBy = 0
) -> None:
    """Run the intake alone: CSV files dropped into raw/carts and raw/orders go into the log.

    Loaded once, they are in raw/done afterwards; those that can't be are in
    raw/failed, each with its reason beside it. With --until-idle it exits 1 when
    there were such.

    \b
    Examples:
      $ shopstream intake
      $ shopstream intake --until-idle
    """
    from shopstream.intake import run_intake
    from shopstream.stages import ensure_configured, settle

    end_with(supervised_by)
    found = logged(data_dir)
    if until_idle:
        ensure_configured(found)
    report = run_intake(found, until_idle=until_idle, supervised=bool(supervised_by))
    if until_idle:
        say(str(report))
        settle(found, direct=report.direct, write=alert)
        if report.failed:
            raise typer.Exit(1)


@app.command()
def lander(
    until_idle: UntilIdle = False, data_dir: DataDir = None, supervised_by: SupervisedBy = 0
) -> None:
    """Run the lander alone: log in, files of the lake out (bronze/).

    \b
    Examples:
      $ shopstream lander
      $ shopstream lander --until-idle
    """
    from shopstream.lander import run_lander

    end_with(supervised_by)
    run_lander(logged(data_dir), until_idle=until_idle)


@app.command()
def status(data_dir: DataDir = None, engine: EngineName = None, format: Format = None) -> None:
    """Show each stage: whether it runs, how fast, how far behind.

    On AWS: how much waits in each queue and for how long, how far the functions
    and Firehose are behind, what was given up, today's counts, the last build, and
    the alarms that are on.

    \b
    Examples:
      $ shopstream status
      $ shopstream status --format json
      $ shopstream status --engine aws
    """
    from shopstream.monitoring import cloud_status
    from shopstream.monitoring import status as status_of

    settings = settings_of(data_dir, engine=engine)
    if settings.engine == "aws":
        shown = ("what", "waiting", "age_s", "detail")
        show(cloud_status(settings), format, cloud_rows, shown)
        return
    columns = ("stage", "running", "position", "lag", "events_per_s", "detail")
    show(status_of(settings), format, columns=columns)


@app.command()
def check(
    since: Since = None,
    data_dir: DataDir = None,
    engine: EngineName = None,
    format: Format = None,
) -> None:
    """Prove that received = accepted + duplicate + quarantined, everywhere.

    In the lake, too: every file is as it was written, and bronze, silver and gold
    hold what they were made of. On AWS: the ledger adds up, the tables and bronze
    in S3 hold what it says, every offer is archived, nothing was given up. Exits 1
    and shows the difference where anything doesn't add up.

    \b
    Examples:
      $ shopstream check
      $ shopstream check --format json
      $ shopstream check --engine aws --since 2026-11-20
    """
    settings = settings_of(data_dir, engine=engine)
    if settings.engine == "aws":
        _check_cloud(settings, since, format)
        return
    from shopstream.ledger import check as check_ledger

    if since is not None:
        raise ConfigError("--since is for AWS; on this machine all is compared")
    with killed_by_ctrl_c():
        report = check_ledger(settings)
    show(report, format, check_rows)
    for difference in report.differences:
        say(f"difference: {difference}")
    for left_out in report.lake.uncompared if report.lake else ():
        say(f"not compared: {left_out}")
    if not report.balanced:
        raise typer.Exit(1)
    waiting = sum(counts.waiting for counts in report.topics.values())
    all_of_it = not (report.lake and report.lake.uncompared)
    say(
        ("everything adds up" if all_of_it else "all that was compared adds up")
        + (f"; {waiting:,} still waiting to be processed" * bool(waiting))
    )


def _check_cloud(settings: "Settings", since: datetime | None, format: Shown | None) -> None:
    from shopstream.cloud_check import check_cloud

    report = check_cloud(settings, since.date() if since else None)
    show(report, format, cloud_check_rows)
    for difference in report.differences:
        say(f"difference: {difference}")
    for waits in report.on_the_way:
        say(f"on the way: {waits}")
    if not report.balanced:
        raise typer.Exit(1)
    say(
        f"everything adds up since {report.since}: {report.records:,} records"
        + "; what is on the way will be compared next time" * bool(report.on_the_way)
    )


@app.command()
def reshard(
    shards: Annotated[
        int, typer.Argument(metavar="N", min=1, max=SHARDS_MAX, help="Processors from then on.")
    ],
    data_dir: DataDir = None,
    format: Format = None,
) -> None:
    """Cut a data directory into another number of shards: a processor each.

    What waits is processed first, then the tables are written anew beside the old
    ones, which needs as much room again. End `shopstream up` before, and start it
    again afterwards. Killed at any moment, all is as it was, or all is done.

    \b
    Examples:
      $ shopstream reshard 2
    """
    from shopstream.reshard import change_shards

    with progress_bar("moving") as told:
        report = change_shards(logged(data_dir), shards, lambda items: told(0, 0, items))
    show(report, format, columns=("before", "shards", "items", "seconds"))


@app.command()
def doctor(data_dir: DataDir = None, format: Format = None) -> None:
    """Look for what could go wrong here and say what to do about it.

    Exits 1 when something won't work as it is.

    \b
    Examples:
      $ shopstream doctor
    """
    from shopstream.doctor import diagnose

    found = settings_of(data_dir)
    if found.engine == "aws":
        raise ConfigError("doctor looks at this machine; on AWS `status` and `check` tell")
    findings = diagnose(found)
    show(findings, format)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


@app.command()
def settings(data_dir: DataDir = None, format: Format = None) -> None:
    """List all settings: name, value in force here, default and meaning.

    \b
    Examples:
      $ shopstream settings
      $ shopstream settings --format json
    """
    from shopstream.settings import setting_table
    from shopstream.settings import show as written

    found = settings_of(data_dir)
    rows = [
        {
            "name": s.name,
            "value": written(getattr(found, s.name)),
            "default": s.default,
            "help": s.help,
        }
        for s in setting_table()
    ]
    show(rows, format, columns=("name", "value", "help"))
