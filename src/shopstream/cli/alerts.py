"""Commands for alerts and their delivery."""

from typing import Annotated, Literal

import typer

from shopstream.cli.app import alerts_app
from shopstream.cli.options import DataDir, Format, Limit
from shopstream.cli.printing import say, settings_of, show
from shopstream.domain.plurals import counted

State = Annotated[
    Literal["pending", "delivered", "dead", "historical"] | None,
    typer.Option("--state", help="Only alerts in this state; by default all."),
]


@alerts_app.callback()
def alerts(
    context: typer.Context,
    state: State = None,
    limit: Limit = 20,
    data_dir: DataDir = None,
    format: Format = None,
) -> None:
    """List alerts and what became of them, newest first.

    \b
    Examples:
      $ shopstream alerts
      $ shopstream alerts --state dead
      $ shopstream alerts retry
    """
    if context.invoked_subcommand is None:
        from shopstream.notify import list_alerts

        found = list_alerts(settings_of(data_dir), state, limit=limit)
        show(found, format, columns=("at", "subject", "receiver", "state", "tries", "error"))


@alerts_app.command("retry")
def alerts_retry(data_dir: DataDir = None) -> None:
    """Try dead letters again from the beginning, with the same idempotency keys.

    \b
    Examples:
      $ shopstream alerts retry
    """
    from shopstream.notify import retry_dead

    say(f"{counted(retry_dead(settings_of(data_dir)), 'dead letters')} will be tried again")
