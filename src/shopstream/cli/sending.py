"""Commands that append events: simulated, loaded, replayed."""

from datetime import UTC

import typer

from shopstream.cli.app import app
from shopstream.cli.options import (
    BatchSize,
    Count,
    DataDir,
    DryRun,
    EngineName,
    Files,
    Format,
    InvalidPercent,
    Live,
    Mapping,
    OpenForS,
    Quiet,
    Rate,
    Seed,
    SetFields,
    SimulatedKind,
    Start,
    SupervisedBy,
    TargetKb,
    To,
    Where,
    WriteKey,
    pairs,
)
from shopstream.cli.printing import alert, logged, say, show
from shopstream.cli.tables import progress_bar, replay_rows
from shopstream.errors import ShopstreamError
from shopstream.leash import end_with
from shopstream.stopping import INTERRUPTED


@app.command()
def simulate(
    kind: SimulatedKind,
    count: Count = 1_000,
    rate: Rate = 0,
    batch_size: BatchSize = 500,
    target_kb: TargetKb = 0,
    seed: Seed = 1,
    start: Start = None,
    invalid_percent: InvalidPercent = 0,
    to: To = None,
    write_key: WriteKey = "",
    open_for_s: OpenForS = 0,
    quiet: Quiet = False,
    data_dir: DataDir = None,
    engine: EngineName = None,
    supervised_by: SupervisedBy = 0,
) -> None:
    """Send believable events of a made-up shop.

    Batches are cut at what the receiver takes: a collector 4 MiB, SQS 10 messages
    of 1 MiB together, Kinesis 500 records of 5 MiB, Firehose 500 of 4 MiB. Exits 1
    when some events were not taken, says how many and why; Ctrl-C ends it with 130.

    \b
    Examples:
      $ shopstream simulate shop --count 5000 --seed 7 --start 2026-03-01
      $ shopstream simulate orders --count 26000 --target-kb 200 --to orders.ndjson
      $ shopstream simulate orders --rate 50 --to http://localhost:8080
      $ shopstream simulate shop --count 5000 --engine aws
      $ shopstream simulate orders --count 26000 --batch-size 10 --target-kb 200 \\
          --rate 0 --to sqs://shopstream-orders.fifo
    """
    from shopstream.domain.failures import micros
    from shopstream.simulator import SimulationReport, run_simulation
    from shopstream.stages import ensure_configured, settle

    end_with(supervised_by)
    found = logged(data_dir, engine=engine)
    if to is None:
        ensure_configured(found)
    done = SimulationReport()
    try:
        with progress_bar("simulating", hidden=quiet) as told:
            run_simulation(
                found,
                kind,
                count=count,
                rate=rate,
                batch_size=batch_size,
                target_kb=target_kb,
                seed=seed,
                start_us=None if start is None else micros(start.replace(tzinfo=UTC)),
                invalid_percent=invalid_percent,
                to=to,
                write_key=write_key,
                open_for_s=open_for_s,
                progress=told,
                report=done,
            )
    except KeyboardInterrupt:
        say(f"interrupted: {done}")
        raise typer.Exit(INTERRUPTED) from None
    except ShopstreamError:
        if done.batches:
            say(str(done))
        raise
    if not quiet or done.failed:
        say(str(done))
    if to is None:
        settle(found, direct=done.direct, write=alert)
    if done.failed:
        raise typer.Exit(1)


@app.command()
def load(
    files: Files,
    mapping: Mapping,
    live: Live = False,
    data_dir: DataDir = None,
    engine: EngineName = None,
) -> None:
    """Load files of history. Loading twice adds nothing; an interrupted load goes on.

    Bundled mappings: rees46, uci_online_retail, northwind_products, carts_csv, orders_csv;
    clicks, orders, carts and stock for NDJSON of our own events.

    \b
    Examples:
      $ shopstream load 2019-Oct.csv.gz --mapping rees46
      $ shopstream load export.parquet --mapping mine.toml --live
      $ shopstream load 2019-Oct.csv.gz --mapping rees46 --engine aws
    """
    from shopstream.loader import load_files
    from shopstream.stages import ensure_configured, settle

    found = logged(data_dir, engine=engine)
    ensure_configured(found)
    with progress_bar("loading") as told:
        report = load_files(found, files, mapping, live=live, on_progress=told)
    say(str(report))
    settle(found, direct=report.direct, write=alert)


@app.command()
def replay(
    where: Where = None,
    set_fields: SetFields = None,
    dry_run: DryRun = False,
    live: Live = False,
    data_dir: DataDir = None,
    engine: EngineName = None,
    format: Format = None,
) -> None:
    """Send quarantined events again, mended or as they were. Twice is as good as once.

    --set takes a field by the path that its failure names. Exits 1 when some could
    not be sent again, or were rejected again. A dry run tells what would be, but for
    duplicates and conflicts, which only the tables know.

    \b
    Examples:
      $ shopstream replay --where reason=currency --set currency=EUR --dry-run
      $ shopstream replay --where topic=orders --where reason=total
      $ shopstream replay --where id=ID --set 'lines[0].unit_price=2.50'
    """
    from shopstream.quarantine import replay as replay_rejections

    done = replay_rejections(
        logged(data_dir, engine=engine),
        pairs(where, "--where"),
        pairs(set_fields, "--set"),
        dry_run=dry_run,
        live=live,
    )
    show(done, format, replay_rows)
    if done.not_replayable or done.rejected_again:
        raise typer.Exit(1)
