"""The notifier stage: alerts from the processors through the outbox to where `notify` says."""

import threading
from collections.abc import Callable

import structlog
from msgspec import Struct

from shopstream.domain.receivers import redact
from shopstream.engine import open_engine
from shopstream.settings import Settings

_log = structlog.get_logger("shopstream.notifier")


def _log_line(line: str) -> None:
    _log.warning("alert", line=line)


def run_notifier(
    settings: Settings,
    *,
    until_idle: bool = False,
    write: Callable[[str], None] = _log_line,
    stop: threading.Event | None = None,
) -> None:
    """Take and deliver alerts until SIGTERM, SIGINT or `stop`, then end within 2 seconds.

    Into the outbox and into files exactly once; to all other receivers at least once, with the
    alert id as the idempotency key. With `until_idle` it ends when all alerts are in the outbox
    and each has been tried that could be; what a receiver that is down didn't take waits in the
    outbox. `write` gets each line for `console://`; without it they are logged.

    Raises Busy when another notifier runs on the data directory, ConfigError when a receiver
    isn't usable, DataDirError when the disk fails.
    """
    open_engine(settings).run_notifier(until_idle=until_idle, write=write, stop=stop)


class AlertStatus(Struct):
    """An alert and what became of it at one receiver; passwords and tokens are not shown."""

    alert_id: str
    kind: str
    subject: str
    body: str
    at: str
    receiver: str
    state: str
    tries: int
    error: str


def list_alerts(settings: Settings, state: str | None, *, limit: int) -> list[AlertStatus]:
    """Alerts in the outbox, the last changed first. Raises DataDirError where nothing ever ran."""
    engine = open_engine(settings, create=False)
    return [
        AlertStatus(
            alert_id=row.alert.alert_id,
            kind=row.alert.kind,
            subject=row.alert.subject,
            body=row.alert.body,
            at=f"{row.alert.at:%Y-%m-%dT%H:%M:%SZ}",
            receiver=redact(row.receiver) if row.receiver else "",
            state=row.state,
            tries=row.tries,
            error=row.error,
        )
        for row in engine.alerts(state, limit)
    ]


def retry_dead(settings: Settings) -> int:
    """Put all dead letters back, to be tried from the beginning; returns how many.

    May be called while a notifier runs. Raises DataDirError when there is no outbox.
    """
    return open_engine(settings, create=False).retry_dead_alerts()
