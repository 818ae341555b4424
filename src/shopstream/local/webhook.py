"""Alerts to a web address: one POST of JSON each, over a connection of its own.

The host is resolved once, every address it has is checked, and the connection goes to a checked
address, so a name that changes in between (DNS rebinding) leads nowhere else. No redirect is
followed, no proxy used, and answer and waiting are bounded. The socket is spoken to directly
because an HTTP library would resolve the name itself.
"""

import base64
import socket
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httptools
import msgspec

from shopstream.domain.receivers import Receiver, one_line, refusal
from shopstream.errors import NotDelivered
from shopstream.events import Alert

ANSWER_BYTES_MAX = 64 * 1024
RETRY_AFTER_S_MAX = 3_600.0
_GRACE_S = 1.0


class WebhookNotifier:
    """`ports.Notifier` for one web address. Any 2xx answer means that the alert was taken.

    At least once: after a crash the same alert comes again, with the same `Idempotency-Key`
    header and `alert_id` in the body. May be used by several threads.
    """

    def __init__(
        self, receiver: Receiver, *, timeout_s: float, private_addresses: bool = False
    ) -> None:
        parts = urlsplit(receiver.url)
        self._tls = ssl.create_default_context() if parts.scheme.lower() == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._timeout_s = timeout_s
        self._private_addresses = private_addresses
        self._head = _head(parts)

    def deliver(self, alert: Alert) -> None:
        deadline = time.monotonic() + self._timeout_s
        answer = _Answer()
        try:
            with self._connect(deadline) as sock:
                sock.settimeout(_left(deadline))
                sock.sendall(self._request(alert))
                answer.read(sock, deadline)
        except (OSError, UnicodeError, httptools.HttpParserError) as e:
            if not answer.status:
                raise NotDelivered(_reason(e)) from None
        answer.judge()

    def _request(self, alert: Alert) -> bytes:
        body = msgspec.json.encode(alert)
        key = quote(alert.alert_id, safe="!#$&'()*+,/:;=?@[]~", errors="backslashreplace")
        return (
            f"{self._head}Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode("ascii") + body

    def _connect(self, deadline: float) -> socket.socket:
        failed: OSError | None = None
        for address in self._addresses():
            sock = None
            try:
                sock = socket.create_connection((address, self._port), _left(deadline))
                sock.settimeout(_left(deadline))
                return (
                    self._tls.wrap_socket(sock, server_hostname=self._host) if self._tls else sock
                )
            except OSError as e:
                failed = e
                if sock is not None:
                    sock.close()
        raise failed or OSError("the host has no address")

    def _addresses(self) -> list[str]:
        """Every address of the host, all checked. One refused address refuses the host."""
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        if not self._private_addresses:
            for address in addresses:
                if why := refusal(address):
                    raise NotDelivered(
                        f"refused: {why}; set notify_private_addresses to let webhooks go there"
                    )
        return addresses


class _Answer:
    """The parts of an HTTP answer that matter; its body is read only to be polite."""

    def __init__(self) -> None:
        self.status = 0
        self._done = False
        self._retry_after = ""
        self._parser: Any = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if (status := self._parser.get_status_code()) >= 200:
            self.status = status

    def on_message_complete(self) -> None:
        self._done = self.status > 0

    def read(self, sock: socket.socket, deadline: float) -> None:
        """Read until the answer is whole, too long or late; raises OSError."""
        size = 0
        while not self._done and size < ANSWER_BYTES_MAX:
            if self.status:
                deadline = min(deadline, time.monotonic() + _GRACE_S)
            sock.settimeout(_left(deadline))
            chunk = sock.recv(16 * 1024)
            if not chunk:
                break
            size += len(chunk)
            self._parser.feed_data(chunk)

    def judge(self) -> None:
        """Raise NotDelivered unless the status is 2xx."""
        if 200 <= self.status < 300:
            return
        if not self.status:
            raise NotDelivered("the connection ended without an answer")
        hint = ", and redirects are not followed" if 300 <= self.status < 400 else ""
        raise NotDelivered(
            f"the answer was {self.status}{hint}",
            retry_after_s=read_retry_after(self._retry_after, datetime.now(UTC)),
            receiver_down=self.status >= 500 or self.status in (408, 429),
        )


def read_retry_after(value: str, now: datetime) -> float:
    """Seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3: seconds or a date).

    At most an hour; 0 when it is absent, past or unreadable.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(RETRY_AFTER_S_MAX, float(value[:9]))
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return min(RETRY_AFTER_S_MAX, max(0.0, (then - now).total_seconds()))


def _head(parts: Any) -> str:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}"]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    lines += ["User-Agent: shopstream", "Content-Type: application/json", "Accept: */*"]
    return "\r\n".join([*lines, "Connection: close", ""])


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return one_line(f"its certificate is not valid: {error.verify_message}")
    if isinstance(error, OSError):
        return one_line(error.strerror or type(error).__name__)
    return f"its answer is no HTTP ({type(error).__name__})"
