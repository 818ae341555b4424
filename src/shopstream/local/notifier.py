"""Receivers of alerts on one machine: console, file, webhook, and all that Apprise knows."""

import logging
import os
import stat
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec

from shopstream.domain.receivers import Receiver, header_line, one_line
from shopstream.errors import ConfigError, NotDelivered
from shopstream.events import Alert
from shopstream.local.datadir import sync_folder
from shopstream.local.webhook import WebhookNotifier
from shopstream.ports import Notifier
from shopstream.settings import Settings

RECHECKED_LINES = 256
_OUR_LINE = b'{"alert_id":'


def open_notifier(receiver: Receiver, settings: Settings, write: Callable[[str], None]) -> Notifier:
    """The notifier for a receiver; `write` prints a line for `console://`.

    Connects to nothing. Raises ConfigError when Apprise doesn't know the service.
    """
    timeout_s = settings.notify_timeout.total_seconds()
    match receiver.kind:
        case "console":
            return ConsoleNotifier(write)
        case "file":
            return FileNotifier(settings.data_dir / receiver.path)
        case "webhook":
            return WebhookNotifier(
                receiver,
                timeout_s=timeout_s,
                private_addresses=settings.notify_private_addresses,
            )
        case "apprise":
            return AppriseNotifier(receiver, timeout_s=timeout_s)


class _Written(msgspec.Struct):
    alert_id: str = ""


class ConsoleNotifier:
    """`ports.Notifier` that writes one line an alert; at least once.

    The line is the kind and the body, which say all that the subject does.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def deliver(self, alert: Alert) -> None:
        body = " · ".join(line.strip() for line in alert.body.splitlines() if line.strip())
        at = f"{alert.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        try:
            self._write(one_line(f"{at} {alert.kind} {body or alert.subject}"))
        except (OSError, ValueError) as e:
            raise NotDelivered(f"the console took nothing: {type(e).__name__}") from None


class FileNotifier:
    """`ports.Notifier` that appends one line of JSON an alert and syncs it: exactly once.

    A crash may come after the line is on disk and before the outbox knows. So the first delivery
    reads the last lines and passes over alerts that are among them (the outbox hands out the
    oldest first and never more than a fraction of RECHECKED_LINES at a time). A torn last line of
    ours is cut off. The file may be rotated, at the price of that check when it falls in between.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: set[str] | None = None

    def deliver(self, alert: Alert) -> None:
        try:
            if self._written is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._written = self._recover()
            if alert.alert_id in self._written:
                self._written.discard(alert.alert_id)
                return
            self._append(msgspec.json.encode(alert) + b"\n")
        except OSError as e:
            raise NotDelivered(f"{self._path.name}: {e.strerror}") from None

    def _append(self, line: bytes) -> None:
        created = not self._path.exists()
        fd = self._open()
        try:
            size = os.fstat(fd).st_size
            try:
                _write_all(fd, line)
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        if created:
            sync_folder(self._path.parent)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o640)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(0, "is not a regular file")
        return fd

    def _recover(self) -> set[str]:
        """Ids of the last alerts in the file, which afterwards ends with a whole, synced line."""
        if not self._path.exists():
            return set()
        fd = self._open()
        try:
            tail, start = _tail(fd, RECHECKED_LINES)
            whole, newline, torn = tail.rpartition(b"\n")
            if torn and _OUR_LINE.startswith(torn[: len(_OUR_LINE)]):
                os.ftruncate(fd, start + len(whole) + len(newline))
            elif torn:
                _write_all(fd, b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        return {found for line in whole.split(b"\n") if (found := _alert_id(line))}


class AppriseNotifier:
    """`ports.Notifier` for a service that Apprise knows; at least once.

    Text only. The alert id ends the body, for no service has a field for it. Apprise and the
    library below it log URLs, tokens included, so both are silenced.
    """

    def __init__(self, receiver: Receiver, *, timeout_s: float) -> None:
        for name in ("apprise", "urllib3", "requests"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 10)
        # Loaded here because it takes 0.2 s and most shops start without it.
        import apprise

        asset = apprise.AppriseAsset(
            app_id="shopstream", app_desc="shopstream alerts", async_mode=False
        )
        service = apprise.Apprise.instantiate(receiver.url, asset=asset)
        if service is None:
            raise ConfigError(
                f"notify: {receiver.name} is no service that Apprise knows, or its URL lacks"
                " something; see https://github.com/caronc/apprise/wiki"
            )
        service.socket_connect_timeout = timeout_s
        service.socket_read_timeout = timeout_s
        self._services = apprise.Apprise(asset=asset)
        self._services.add(service)
        self._options: dict[str, Any] = {
            "notify_type": apprise.NotifyType.WARNING,
            "body_format": apprise.NotifyFormat.TEXT,
        }

    def deliver(self, alert: Alert) -> None:
        body = "\n".join(one_line(line, 2_000) for line in alert.body.splitlines()[:200])
        taken = self._services.notify(
            title=header_line(alert.subject),
            body=f"{body}\n\nalert {one_line(alert.alert_id)}",
            **self._options,
        )
        if not taken:
            raise NotDelivered("the service did not take it")


def _tail(fd: int, lines: int) -> tuple[bytes, int]:
    """The end of a file with at least that many lines if it has them, and where it starts."""
    size = os.fstat(fd).st_size
    length = 256 * 1024
    while True:
        start = max(0, size - length)
        tail = os.pread(fd, size - start, start)
        if start == 0 or tail.count(b"\n") > lines:
            return tail, start
        length *= 2


def _alert_id(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=_Written).alert_id
    except msgspec.MsgspecError:
        return ""


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
