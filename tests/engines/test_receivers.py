"""Receivers against real files, a real HTTP server and a real mail server."""

import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest
from aiosmtpd.controller import Controller
from tests.engines.receivers import http_server

from shopstream.domain.receivers import read_receivers
from shopstream.errors import ConfigError, NotDelivered
from shopstream.events import Alert
from shopstream.local.notifier import (
    AppriseNotifier,
    ConsoleNotifier,
    FileNotifier,
    open_notifier,
)
from shopstream.local.webhook import WebhookNotifier, read_retry_after
from shopstream.ports import Notifier
from shopstream.settings import Settings

# Apprise loads all its services, and one of them loads a module that Python 3.13 is without.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def alert(alert_id: str = "order:1", **values: Any) -> Alert:
    given: dict[str, Any] = {
        "kind": "large_order",
        "subject": "Order 1 is above 1000",
        "body": "1,240.00 GBP",
        "at": datetime(2026, 1, 1, 12, tzinfo=UTC),
    }
    return Alert(alert_id=alert_id, **(given | values))


def say(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def webhook(url: str, *, timeout_s: float = 2.0, private: bool = True) -> Notifier:
    return WebhookNotifier(read_receivers([url])[0], timeout_s=timeout_s, private_addresses=private)


def test_a_webhook_gets_the_alert_as_json_with_a_stable_idempotency_key() -> None:
    got: list[tuple[str, dict[str, str], Alert]] = []

    def keep(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        got.append((handler.path, dict(handler.headers), msgspec.json.decode(body, type=Alert)))
        handler.send_response(204)
        handler.end_headers()

    with http_server(keep) as url:
        notifier = webhook(url.replace("//", "//joe:p%40ss@") + "/hook?shop=1")
        notifier.deliver(alert())
        notifier.deliver(alert())
        webhook(url).deliver(alert("ключ\r\nX-Evil: 1"))
    (path, headers, body), again, other = got
    assert path == "/hook?shop=1"
    assert body == alert()
    assert headers["Idempotency-Key"] == again[1]["Idempotency-Key"] == "order:1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Basic am9lOnBAc3M="
    assert headers["Host"] == url.removeprefix("http://")
    assert "X-Evil" not in other[1]
    assert other[2].alert_id == "ключ\r\nX-Evil: 1"


@pytest.mark.parametrize(
    ("status", "headers", "retry_after_s", "down"),
    [
        (500, {}, 0, True),
        (429, {"Retry_After": "7"}, 7, True),
        (503, {"Retry_After": "999999"}, 3_600, True),
        (400, {}, 0, False),
        (302, {"Location": "http://169.254.169.254/"}, 0, False),
    ],
)
def test_answers_other_than_2xx_are_no_delivery(
    status: int, headers: dict[str, str], retry_after_s: float, down: bool
) -> None:
    with (
        http_server(say(status, **headers)) as url,
        pytest.raises(NotDelivered, match=f"the answer was {status}") as caught,
    ):
        webhook(url).deliver(alert())
    assert caught.value.retry_after_s == retry_after_s
    assert caught.value.receiver_down is down


def test_a_server_that_hangs_is_left_after_the_time_out() -> None:
    done = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000:
            if done.wait(0.05):
                return
            handler.wfile.write(bytes([byte]))

    def say_nothing(_handler: BaseHTTPRequestHandler) -> None:
        done.wait(5)

    for hang in (say_nothing, drip):
        with http_server(hang) as url:
            started = monotonic()
            with pytest.raises(NotDelivered, match="did not answer in time"):
                webhook(url, timeout_s=0.3).deliver(alert())
            assert monotonic() - started < 1.5
    done.set()


def test_a_server_that_resets_closes_or_babbles_has_not_taken_the_alert() -> None:
    def reset(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        handler.connection.close()

    def babble(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.wfile.write(b"220 mail.example.com ESMTP\r\n")

    def endless_head(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 10_000_000)

    for fault in (reset, babble, endless_head):
        with http_server(fault) as url, pytest.raises(NotDelivered) as caught:
            webhook(url).deliver(alert())
        assert caught.value.receiver_down


def test_a_body_that_never_ends_does_not_undo_the_answer_200() -> None:
    def endless_body(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65_536)
        except OSError:
            return

    with http_server(endless_body) as url:
        webhook(url).deliver(alert())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0x7f.1"])
def test_a_webhook_to_a_private_address_is_refused_before_connecting(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        port = server.getsockname()[1]
        with pytest.raises(NotDelivered, match="notify_private_addresses"):
            webhook(f"http://{host}:{port}/", private=False).deliver(alert())
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_refused_connection_says_so_without_the_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotDelivered, match="Connection refused") as caught:
        webhook(f"http://127.0.0.1:{port}/secret").deliver(alert())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("120", 120),
        ("-1", 0),
        ("9" * 400, 3_600),
        ("soon", 0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30),
        ("Thu, 01 Jan 2015 00:00:30 GMT", 0),
        ("Thu, 01 Jan 2099 00:00:30 GMT", 3_600),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(value: str, seconds: float) -> None:
    assert read_retry_after(value, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def ids_in(path: Path) -> list[str]:
    return [msgspec.json.decode(line)["alert_id"] for line in path.read_bytes().splitlines()]


def test_a_file_gets_one_line_an_alert_also_across_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "alerts.ndjson"
    first = FileNotifier(path)
    for n in range(3):
        first.deliver(alert(f"a{n}", subject="two\nlines"))
    after_a_crash = FileNotifier(path)
    for n in range(5):
        after_a_crash.deliver(alert(f"a{n}"))
    assert ids_in(path) == ["a0", "a1", "a2", "a3", "a4"]


def test_a_torn_last_line_of_ours_is_cut_off_and_foreign_text_is_not(tmp_path: Path) -> None:
    path = tmp_path / "alerts.ndjson"
    path.write_text('{"alert_id":"a0"}\n{"alert_id":"a1","ki')
    FileNotifier(path).deliver(alert("a1"))
    assert ids_in(path) == ["a0", "a1"]
    path.write_text("a note")
    FileNotifier(path).deliver(alert("a1"))
    assert path.read_text().splitlines()[0] == "a note"
    assert len(path.read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_no_delivery(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null"), Path("/proc/nothing/alerts")):
        with pytest.raises(NotDelivered):
            FileNotifier(path).deliver(alert())


def test_the_console_gets_one_line_that_cannot_move_the_cursor() -> None:
    lines: list[str] = []
    for body in ("a\r\n\r\nb\x07", ""):
        ConsoleNotifier(lines.append).deliver(alert(subject="Low\x1b[2J", body=body))
    assert lines == [
        r"2026-01-01T12:00:00Z large_order a · b\x07",
        r"2026-01-01T12:00:00Z large_order Low\x1b[2J",
    ]


def test_mail_is_plain_text_with_a_clean_subject_and_the_alert_id() -> None:
    mails: list[bytes] = []

    class Keep:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
            mails.append(envelope.content)
            return "250 OK"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Controller(Keep(), hostname="127.0.0.1", port=port)
    server.start()
    try:
        url = f"mailto://127.0.0.1:{port}?from=shop@example.com&to=joe@example.com&mode=insecure"
        notifier = AppriseNotifier(read_receivers([url])[0], timeout_s=5)
        subject = "Order\r\nBcc: all@example.com"
        notifier.deliver(alert("order:7", subject=subject, body="<b>1,240</b>\n:smile:"))
    finally:
        server.stop()
    [mail] = [message_from_bytes(content) for content in mails]
    assert str(make_header(decode_header(mail["Subject"]))) == "Order Bcc: all@example.com"
    assert mail["Bcc"] is None
    assert mail.get_content_type() == "text/plain"
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert body.decode().splitlines() == ["<b>1,240</b>", ":smile:", "", "alert order:7"]


def test_a_mail_server_that_is_down_is_no_delivery_and_logs_no_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"mailto://joe:hunter2@127.0.0.1:{port}?from=s@example.com&to=a@example.com"
    with pytest.raises(NotDelivered) as caught:
        AppriseNotifier(read_receivers([url])[0], timeout_s=1).deliver(alert())
    assert "hunter2" not in str(caught.value) + caplog.text


def test_a_service_that_apprise_does_not_know_is_a_config_error() -> None:
    receiver = read_receivers(["nosuchservice://secret"])[0]
    with pytest.raises(ConfigError, match="nosuchservice://…") as caught:
        open_notifier(receiver, Settings(), print)
    assert "secret" not in str(caught.value)
