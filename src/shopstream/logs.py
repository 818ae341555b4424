"""What the stages log: for a person on a terminal, as JSON lines for anything else."""

from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger


def log_to(file: TextIO, level: str, *, before: str = "") -> None:
    """Have all loggers write to `file` from `level` (`debug`, `info`, `warning`, `error`) on.

    `before` is written before each line that a person will read.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _ForAPerson(before) if file.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file),
    )


class _ForAPerson:
    """One line without markup: the level, what happened, and the rest as name=value."""

    def __init__(self, before: str) -> None:
        self._before = before

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        level, what = event.pop("level"), event.pop("event")
        event.pop("timestamp", None)
        if "notice" in event:
            return f"{self._before}{event['notice']}"
        facts = "".join(f" {name}={_printable(str(value))}" for name, value in event.items())
        return f"{self._before}{level}: {what}{facts}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" for c in text)
