"""Commands that show what was not accepted."""

from typing import Annotated

import typer

from shopstream.cli.app import quarantine_app
from shopstream.cli.options import DataDir, EngineName, Format, Limit, Where, pairs
from shopstream.cli.printing import settings_of, show
from shopstream.cli.tables import rejection_fields, rejection_rows


@quarantine_app.callback()
def quarantine(
    context: typer.Context,
    data_dir: DataDir = None,
    engine: EngineName = None,
    format: Format = None,
) -> None:
    """Show what was not accepted and why, by topic and reason.

    \b
    Examples:
      $ shopstream quarantine
      $ shopstream quarantine list --where reason=price
      $ shopstream quarantine show ID
      $ shopstream quarantine export --where topic=orders > rejected.ndjson
      $ shopstream quarantine --engine aws
    """
    if context.invoked_subcommand is None:
        from shopstream.quarantine import summary

        show(summary(settings_of(data_dir, engine=engine)), format)


@quarantine_app.command("list")
def quarantine_list(
    where: Where = None,
    limit: Limit = 20,
    data_dir: DataDir = None,
    engine: EngineName = None,
    format: Format = None,
) -> None:
    """List rejections, newest first.

    \b
    Examples:
      $ shopstream quarantine list --where topic=orders --limit 5
    """
    from shopstream.quarantine import list_rejections

    found = list_rejections(
        settings_of(data_dir, engine=engine), pairs(where, "--where"), limit=limit
    )
    show(found, format, rejection_rows)


@quarantine_app.command("show")
def quarantineshow(
    id: Annotated[str, typer.Argument(help="The rejection's id, from `quarantine list`.")],
    data_dir: DataDir = None,
    engine: EngineName = None,
    format: Format = None,
) -> None:
    """Show one rejection: all its failures and the raw bytes.

    \b
    Examples:
      $ shopstream quarantine show 0-1234
    """
    from shopstream.quarantine import show_rejection

    show(show_rejection(settings_of(data_dir, engine=engine), id), format, rejection_fields)


@quarantine_app.command("export")
def quarantine_export(
    where: Where = None, data_dir: DataDir = None, engine: EngineName = None
) -> None:
    """Write rejections as NDJSON, one a line, raw bytes in base64.

    \b
    Examples:
      $ shopstream quarantine export --where reason=json > rejected.ndjson
    """
    from shopstream.quarantine import export_rejections

    for line in export_rejections(settings_of(data_dir, engine=engine), pairs(where, "--where")):
        print(line)
