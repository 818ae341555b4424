"""A load client for the collector: keep-alive connections, one request in flight on each.

A program of its own, so that it can be pinned to the core that the server doesn't use. It sends
only to loopback and stops after the seconds it is given. Prints a `Sent` as JSON.
"""

import argparse
import asyncio
import gc
import itertools
import socket
import time
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from benchmarks.events import batches

WARM_UP_S = 0.5


class Sent(msgspec.Struct):
    """Requests answered within `seconds`, how many were not 200, and their latencies.

    `busy` is the share of the time that this client itself was computing: near 1 it is the client
    that was measured.
    """

    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    busy: float
    refusal: str = ""


class Connection(asyncio.Protocol):
    """Sends the next request whenever the last was answered."""

    def __init__(self, requests: "itertools.cycle[bytes]") -> None:
        self._requests = requests
        self._sent_at = 0.0
        self._answer = b""
        self.took: list[float] = []
        self.failed = 0
        self.refusal = b""
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's isn't a subclass of it
        self._send()

    def data_received(self, data: bytes) -> None:
        answer = self._answer + data if self._answer else data
        if not _complete(answer):
            self._answer = answer
            return
        self._answer = b""
        self.took.append(time.perf_counter() - self._sent_at)
        if not answer.startswith(b"HTTP/1.1 200"):
            self.failed += 1
            self.refusal = answer
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.open:
            self.failed += 1
            self.refusal = f"connection lost: {exc}".encode()

    def close(self) -> None:
        self.open = False
        self._transport.close()

    def _send(self) -> None:
        if self.open:
            self._sent_at = time.perf_counter()
            self._transport.write(next(self._requests))


def _complete(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.find(b"content-length:")
    if at < 0:
        return answer.endswith(b"0\r\n\r\n")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0])
    return len(answer) >= end + 4 + length


def request(path: str, body: bytes) -> bytes:
    """An HTTP/1.1 request as it goes over the wire."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def requests(path: str, file: Path, *, per_request: int, array: bool, events: int) -> list[bytes]:
    """The first `events` of a file as requests of `per_request` events each.

    Without those cut short: alone in a request they would be answered 400, and nothing stored.
    """
    whole = (event for batch in batches(file) for event in batch if event.endswith(b"}"))
    made = []
    for _ in range(events // per_request):
        batch = list(itertools.islice(whole, per_request))
        if len(batch) < per_request:
            break
        body = b"[" + b",".join(batch) + b"]" if array else b"\n".join(batch)
        made.append(request(path, body))
    return made


async def send(made: list[bytes], port: int, connections: int, seconds: float) -> Sent:
    """Keep `connections` busy for `seconds`, after half a second that doesn't count."""
    loop = asyncio.get_running_loop()
    following = itertools.cycle(made)
    clients: list[Connection] = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: Connection(following), "127.0.0.1", port, family=socket.AF_INET
        )
        clients.append(client)
    await asyncio.sleep(WARM_UP_S)
    for client in clients:
        client.took.clear()
    started, cpu_started = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    took = sorted(itertools.chain.from_iterable(client.took for client in clients))
    for client in clients:
        client.close()
    return Sent(
        requests=len(took),
        failed=sum(client.failed for client in clients),
        seconds=took_s,
        p50_ms=_quantile(took, 0.50) * 1e3,
        p99_ms=_quantile(took, 0.99) * 1e3,
        busy=cpu_s / took_s,
        refusal=next((c.refusal for c in clients if c.refusal), b"").decode(errors="replace")[:400],
    )


def _quantile(ordered: list[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description="send events to a collector on this machine")
    parser.add_argument("input", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v1/events/clicks")
    parser.add_argument("--per-request", type=int, default=1)
    parser.add_argument("--array", action="store_true")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    made = requests(
        given.path,
        given.input,
        per_request=given.per_request,
        array=given.array,
        events=given.events,
    )
    gc.freeze()
    sent = uvloop.run(send(made, given.port, given.connections, given.seconds))
    print(msgspec.json.encode(sent).decode())


if __name__ == "__main__":
    main()
