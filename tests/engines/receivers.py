"""Somebody who gets alerts, on each engine, as the contract of `ports.Notifier` asks about them."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiosmtpd.controller import Controller
from tests.engines.aws_resources import ACCOUNT, REGION, Deployment

from shopstream.aws.clients import Clients
from shopstream.aws.notifier import SnsNotifier
from shopstream.domain.receivers import read_receivers
from shopstream.local.notifier import AppriseNotifier, ConsoleNotifier, FileNotifier
from shopstream.local.webhook import WebhookNotifier
from shopstream.ports import Notifier


class Receiver(Protocol):
    """Gets alerts whose subject begins with `Order ID`, ID being the alert's id."""

    def notifier(self) -> Notifier:
        """A new one, as after a start."""
        ...

    def ids(self) -> list[str]:
        """What the alerts are known by that have come, in any order; asked once."""
        ...

    def refusing(self) -> AbstractContextManager[None]:
        """While it takes nothing."""
        ...


@contextmanager
def http_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Refusing:
    """What most receivers have in common: a switch."""

    def __init__(self) -> None:
        self.refuses = False

    @contextmanager
    def refusing(self) -> Iterator[None]:
        self.refuses = True
        yield
        self.refuses = False


class Console(_Refusing):
    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def notifier(self) -> Notifier:
        return ConsoleNotifier(self._write)

    def _write(self, line: str) -> None:
        if self.refuses:
            raise BrokenPipeError
        self._lines.append(line)

    def ids(self) -> list[str]:
        assert not any(re.search(r"[\r\n]", line) for line in self._lines)
        return [line.split(" ")[3] for line in self._lines]


class File:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "alerts.ndjson"

    def notifier(self) -> Notifier:
        return FileNotifier(self._path)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        self._path.mkdir()
        yield
        self._path.rmdir()

    def ids(self) -> list[str]:
        with suppress(FileNotFoundError):
            return [json.loads(line)["alert_id"] for line in self._path.read_bytes().splitlines()]
        return []


class Webhook(_Refusing):
    def __init__(self) -> None:
        super().__init__()
        self._ids: list[str] = []
        self.url = ""

    def notifier(self) -> Notifier:
        receiver = read_receivers([self.url])[0]
        return WebhookNotifier(receiver, timeout_s=5.0, private_addresses=True)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        if not self.refuses and handler.headers["Idempotency-Key"] == body["alert_id"]:
            self._ids.append(body["alert_id"])
        handler.send_response(500 if self.refuses else 204)
        handler.end_headers()

    def ids(self) -> list[str]:
        return self._ids


class Mail(_Refusing):
    def __init__(self) -> None:
        super().__init__()
        self._mails: list[bytes] = []
        self.port = 0

    def notifier(self) -> Notifier:
        url = f"mailto://127.0.0.1:{self.port}?from=shop@example.com&to=joe@example.com"
        return AppriseNotifier(read_receivers([f"{url}&mode=insecure"])[0], timeout_s=5)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        if self.refuses:
            return "451 not now"
        self._mails.append(envelope.content)
        return "250 OK"

    def ids(self) -> list[str]:
        return [_id_in(message_from_bytes(mail)) for mail in self._mails]


def _id_in(mail: Any) -> str:
    """The body ends with it; and nothing in the texts made a header."""
    assert mail["Bcc"] is None
    return str(mail.get_payload(decode=True).decode().splitlines()[-1].removeprefix("alert "))


class Sns:
    """A queue that is subscribed to both topics, which aren't there while nothing is taken."""

    def __init__(self, clients: Clients, folder: Path) -> None:
        self._clients, self._names = clients, Deployment(clients, folder).names
        self._queue = f"{self._names.prefix}-mine"
        self._url = clients.sqs.create_queue(QueueName=self._queue)["QueueUrl"]
        self._topics = [
            self._topic(name) for name in (self._names.alerts, self._names.invalid_orders)
        ]

    def notifier(self) -> Notifier:
        return SnsNotifier(self._clients, self._names)

    def _topic(self, name: str) -> str:
        topic = self._clients.sns.create_topic(Name=name)["TopicArn"]
        queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self._queue}"
        self._clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
        return topic

    @contextmanager
    def refusing(self) -> Iterator[None]:
        for topic in self._topics:
            self._clients.sns.delete_topic(TopicArn=topic)
        yield
        for topic in self._topics:
            self._topic(topic.rpartition(":")[2])

    def ids(self) -> list[str]:
        found = self._clients.sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
        messages = [json.loads(message["Body"]) for message in found.get("Messages", [])]
        ids = [message["MessageAttributes"]["alert_id"]["Value"] for message in messages]
        assert ids == [json.loads(message["Message"])["alert_id"] for message in messages]
        return ids


@contextmanager
def open_console(_clients: Clients | None, _folder: Path) -> Iterator[Receiver]:
    yield Console()


@contextmanager
def open_file(_clients: Clients | None, folder: Path) -> Iterator[Receiver]:
    yield File(folder)


@contextmanager
def open_webhook(_clients: Clients | None, _folder: Path) -> Iterator[Receiver]:
    webhook = Webhook()
    with http_server(webhook.answer) as webhook.url:
        yield webhook


@contextmanager
def open_mail(_clients: Clients | None, _folder: Path) -> Iterator[Receiver]:
    import apprise

    mail = Mail()
    with socket.create_server(("127.0.0.1", 0)) as free:
        mail.port = free.getsockname()[1]
    server = Controller(mail, hostname="127.0.0.1", port=mail.port)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        # Apprise waits for seconds between two mails.
        patch.setattr(apprise.NotifyBase, "request_rate_per_sec", 0)
        try:
            yield mail
        finally:
            server.stop()


@contextmanager
def open_sns(clients: Clients | None, folder: Path) -> Iterator[Receiver]:
    assert clients is not None
    yield Sns(clients, folder)
