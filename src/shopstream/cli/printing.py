"""What every command prints with: results on standard output, all else on standard error."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from shopstream.cli.layout import Rows, as_table
from shopstream.cli.options import Shown
from shopstream.cli.tables import as_json, as_rows
from shopstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from structlog.typing import EventDict

CLEARED = "\r\x1b[2K"
"""Takes away the status line that `shopstream up` keeps on a terminal's last line."""


def settings_of(data_dir: Path | None, **overrides: Any) -> Settings:
    """The settings in force with the options given."""
    return load_settings({"data_dir": data_dir, **overrides})


def logged(data_dir: Path | None, **overrides: Any) -> Settings:
    """The same for a command that runs stages: what they log goes to standard error. Notices are
    for whoever started it, and come plain also where the log is JSON.
    """
    import structlog

    from shopstream.logs import log_to

    found = settings_of(data_dir, **overrides)
    log_to(sys.stderr, found.log_level, before=CLEARED if sys.stderr.isatty() else "")
    structlog.configure(processors=[_say_notice, *structlog.get_config()["processors"]])
    return found


def _say_notice(_logger: Any, _method: str, event: "EventDict") -> "EventDict":
    from structlog import DropEvent

    if "notice" not in event:
        return event
    notice(event["notice"])
    raise DropEvent


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def notice(text: str) -> None:
    """A line in place of the status line, which comes again below it."""
    print(f"{CLEARED}{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def alert(text: str) -> None:
    """The same on standard output."""
    print(f"{CLEARED}{text}" if sys.stdout.isatty() else text, flush=True)


def keep_below(text: str) -> None:
    """Have `text` as the status line of a terminal; in a pipe there is none."""
    if sys.stderr.isatty():
        width = get_terminal_size().columns - 1
        print(f"{CLEARED}{text[:width]}", end="", file=sys.stderr, flush=True)


def show(
    value: Any,
    format: Shown | None,
    rows: Callable[[Any], Rows] = as_rows,
    columns: Sequence[str] = (),
) -> None:
    """Print a result as JSON, or as a table of what `rows` makes of it."""
    if format == "json" or (format is None and not sys.stdout.isatty()):
        print(as_json(value))
        return
    from rich.console import Console

    found, console = rows(value), Console()
    console.print(as_table(found, columns, console.width) if found else "none")
