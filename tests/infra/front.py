"""An HTTP server for one WSGI application that keeps connections open, for the emulator.

The one that comes with it closes the connection after every answer, so that each call of an AWS SDK
costs a connection and a thread: half of its time.
"""

import io
import socketserver
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import IO, Any
from urllib.parse import unquote

from moto.core.request import (
    PRESERVED_HEADER_NAMES_ENVIRON_KEY,
    environ_key_for_header,
    should_preserve_original_header_name,
)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_END_OF_HEAD = (b"\r\n", b"\n", b"")


def serve(host: str, port: int, application: Application) -> None:
    """Serve until the process ends."""

    class Connection(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            while (environ := _read(self.rfile, self.wfile, host, port)) is not None:
                self.wfile.write(_answer(application, environ))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(*_)

    with Server((host, port), Connection) as server:
        server.serve_forever()


def _read(incoming: Any, outgoing: Any, host: str, port: int) -> dict[str, Any] | None:
    """The next request, None when the client has gone."""
    try:
        first = incoming.readline()
    except ConnectionError:
        return None
    if not first.strip():
        return None
    method, target, protocol = first.decode("latin-1").split()
    headers: list[tuple[str, str]] = []
    while (line := incoming.readline()) not in _END_OF_HEAD:
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    known = {name.lower(): value for name, value in headers}
    if known.get("expect", "").lower() == "100-continue":
        outgoing.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in known.get("transfer-encoding", ""):
        body = b"".join(_chunks(incoming))
    else:
        body = incoming.read(int(known.get("content-length") or 0))
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": target,
        "RAW_URI": target,
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": 0,
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": protocol,
    }
    preserved: dict[str, str] = {}
    for name, value in headers:
        key = environ_key_for_header(name)
        if should_preserve_original_header_name(name):
            preserved.setdefault(key, name)
        elif "_" in name:
            continue
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = preserved
    return environ


def _chunks(incoming: IO[bytes]) -> Iterable[bytes]:
    while size := int(incoming.readline().partition(b";")[0], 16):
        yield incoming.read(size)
        incoming.readline()
    while incoming.readline() not in _END_OF_HEAD:
        pass


def _answer(application: Application, environ: dict[str, Any]) -> bytes:
    said: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        said[:] = [status, headers]

    try:
        result = application(environ, start)
        body = b"".join(result)
        if close := getattr(result, "close", None):
            close()
    except Exception:  # noqa: BLE001  # what the emulator lacks: the caller is told
        traceback.print_exc()
        said[:], body = ["500 Internal Server Error", []], b"the emulator failed"
    status, headers = said
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    head = [f"HTTP/1.1 {status}"]
    head += [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
    # The answer to HEAD tells the length of what it leaves out.
    length = lengths[0] if environ["REQUEST_METHOD"] == "HEAD" and lengths else len(body)
    head.append(f"Content-Length: {length}")
    text = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
    return text if environ["REQUEST_METHOD"] == "HEAD" else text + body
