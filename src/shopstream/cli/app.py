"""The command `shopstream` and its groups; errors become one line and an exit code."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shopstream.cli.printing import say
from shopstream.errors import AwsError, Busy, LogError, ShopstreamError


class _Commands(TyperGroup):
    """All commands. A wrong value is told without a word of the library that found it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as e:
            e.message = e.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    name="shopstream",
    cls=_Commands,
    help="A shop's events in; offers, alerts and tables you can trust out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
quarantine_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
rules_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
alerts_app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
keys_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
lake_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
package_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(rules_app, name="rules")
app.add_typer(alerts_app, name="alerts")
app.add_typer(keys_app, name="keys")
app.add_typer(lake_app, name="lake")
app.add_typer(package_app, name="package")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"shopstream {version('shopstream')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Print the version."),
    ] = False,
) -> None:
    """A shop's events in; offers, alerts and tables you can trust out."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 doesn't add up, 2 can't as things are, 3 can't
    now (the disk fails, another process is at it, AWS is busy): trying again may do; 130
    interrupted.
    """
    try:
        app()
    except (LogError, Busy) as e:
        say(f"error: {e}")
        sys.exit(3)
    except OSError as e:
        say(f"error: {e.strerror or e}" + (f": {e.filename}" if e.filename else ""))
        sys.exit(3)
    except ShopstreamError as e:
        say(f"error: {e}")
        sys.exit(3 if isinstance(e, AwsError) and e.busy else 2)
