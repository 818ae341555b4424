"""Commands that tend the lake."""

from typing import Annotated

import typer

from shopstream.cli.app import lake_app
from shopstream.cli.options import DataDir
from shopstream.cli.printing import say, settings_of
from shopstream.stopping import killed_by_ctrl_c


@lake_app.command("maintain")
def lake_maintain(data_dir: DataDir = None) -> None:
    """Merge small files, forget old snapshots, delete what nobody needs.

    The builder does it by itself every few builds. Readers are not disturbed: a
    file goes an hour after the last table that needs it. Waits half a minute for a
    build that is going on; exits 3 when that takes longer.

    \b
    Examples:
      $ shopstream lake maintain
    """
    from shopstream.engine import open_engine
    from shopstream.lake.maintain import LOCK_WAIT_S, maintain

    found = settings_of(data_dir)
    engine = open_engine(found, create=False)
    with killed_by_ctrl_c(), engine.write_builds(LOCK_WAIT_S) as builds:
        report = maintain(found, builds)
    say(str(report))
    damaged = [file for table in report.tables.values() for file in table.damaged]
    for name in damaged:
        say(f"damaged: lake/{name}; see `shopstream check`")
    if damaged:
        raise typer.Exit(1)


@lake_app.command("rebuild")
def lake_rebuild(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table's name.")],
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway",
            help="Also where its source expired or is damaged: what only the table has is lost"
            " then.",
        ),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Build a table, and all that is made of it, anew from bronze.

    Files that were damaged are put aside below lake/damaged. What bronze or the
    archive of offers doesn't have any more is not given up without --anyway. Exits 1 when a table
    failed its tests: readers still see what was there before.

    \b
    Examples:
      $ shopstream lake rebuild silver_clicks
    """
    from shopstream.lake.plan import Step
    from shopstream.lake.rebuild import rebuild

    def tell(step: Step, n: int, count: int) -> None:
        say(f"{n} of {count}: {step.table}")

    found = settings_of(data_dir)
    with killed_by_ctrl_c():
        done = rebuild(found, table, anyway=anyway, on_step=tell)
    for name in done.isolated:
        say(f"put aside: lake/{name}")
    for built in done.build.tables:
        for failure in built.failures:
            say(f"failed: {failure}")
    if done.build.failed:
        raise typer.Exit(1)
    say(f"{len(done.build.tables)} tables were built anew")


@lake_app.command("reland")
def lake_reland(data_dir: DataDir = None) -> None:
    """Make damaged or missing files of bronze anew from the log.

    Works as long as the log has their events (log_ttl); a file is written only if
    it is to the byte what was landed. Exits 1 when some could not be made.

    \b
    Examples:
      $ shopstream lake reland
    """
    from shopstream.lake.reland import reland

    found = settings_of(data_dir)
    with killed_by_ctrl_c():
        done = reland(found)
    for name in done.restored:
        say(f"made anew: {name}")
    for name, why in done.lost.items():
        say(f"lost: {name}: {why}; put it back from a backup")
    if done.lost:
        raise typer.Exit(1)
    say(f"{len(done.restored):,} files were made anew" if done.restored else "bronze is whole")
