"""Sends shoppers' events at a steady rate, and looks how soon offers are there.

A program of its own. Sends only to loopback and stops after the seconds it is given. Prints a
`Seen` as JSON.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import uvloop

from benchmarks.events import batches
from benchmarks.load import request
from shopstream.local.tables import RocksTables

PATH = "/v1/events/clicks"
WARM_UP_S = 2.0
LAST_WAIT_S = 5.0
CONNECTIONS = 8
TICK_S = 0.01
PROBE_S = 0.025
LOOK_S = 0.002
_STAMP = b'"timestamp":"'
_VIEW = (
    '{"event_id":"%s-%d","user_id":"%s","event_type":"view","page":"/product/p1",'
    '"product_id":"p1","timestamp":"%s","user_type":"new"}'
)


class Seen(msgspec.Struct):
    """How long each offer took, how many never came, and how many events/s were acknowledged."""

    took_ms: list[float]
    missing: int
    rate: float
    refusal: str = ""


class Probing:
    """One run: senders, probes and the look at the tables share an event loop."""

    def __init__(self, input: Path, tables: Path, rate: int, port: int) -> None:
        self._events = _stamped(input)
        self._tables = RocksTables.reader(tables)
        self._rate = rate
        self._port = port
        self._waiting: dict[str, float] = {}
        self._took: list[tuple[float, float]] = []
        self._requests: asyncio.Queue[tuple[bytes, str, int]] = asyncio.Queue(maxsize=1_000)
        self._taken = 0
        self._refusal = ""

    async def run(self, seconds: float) -> Seen:
        started = time.perf_counter()
        until = started + WARM_UP_S + seconds
        senders = [asyncio.create_task(self._send()) for _ in range(CONNECTIONS)]
        look = asyncio.create_task(self._look(until))
        await asyncio.gather(self._shop(until), self._probe(until))
        rate = self._taken / (time.perf_counter() - started)
        await look
        for sender in senders:
            sender.cancel()
        self._tables.close()
        took = [after * 1e3 for at, after in self._took if at >= started + WARM_UP_S]
        return Seen(took, len(self._waiting), rate, self._refusal)

    async def _shop(self, until: float) -> None:
        """A hundredth of a second's events at a time."""
        per_tick = max(1, int(self._rate * TICK_S))
        due = time.perf_counter()
        while due < until:
            stamp = _now().encode()
            events = [a + stamp + b for a, b in itertools.islice(self._events, per_tick)]
            await self._requests.put((request(PATH, b"\n".join(events)), "", len(events)))
            due += TICK_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _probe(self, until: float) -> None:
        for n in itertools.count():
            if time.perf_counter() > until:
                return
            user = f"probe-{n}"
            views = [_VIEW % (user, i, user, _now(i - 3)) for i in range(3)]
            await self._requests.put((request(PATH, "\n".join(views).encode()), user, 3))
            await asyncio.sleep(PROBE_S)

    async def _send(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while True:
            wire, user, events = await self._requests.get()
            if user:
                self._waiting[user] = time.perf_counter()
            writer.write(wire)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_body_bytes(head))
            if head.startswith(b"HTTP/1.1 200"):
                self._taken += events
            else:
                self._refusal = head.decode(errors="replace")[:200]

    async def _look(self, until: float) -> None:
        while time.perf_counter() < until or self._waiting:
            if time.perf_counter() > until + LAST_WAIT_S:
                return
            self._tables.refresh()
            for user, sent_at in list(self._waiting.items()):
                if next(self._tables.query("offers", user, limit=1), None):
                    self._took.append((sent_at, time.perf_counter() - sent_at))
                    del self._waiting[user]
            await asyncio.sleep(LOOK_S)


def _body_bytes(head: bytes) -> int:
    return int(head.lower().split(b"content-length:")[1].split(b"\r\n", 1)[0])


def _stamped(input: Path) -> Iterator[tuple[bytes, bytes]]:
    """The valid events of a file as what stands before and after their time."""
    for batch in batches(input):
        for raw in batch:
            before, found, after = raw.partition(_STAMP)
            if found and raw.endswith(b"}"):
                yield before + found, after[after.index(b'"') :]


def _now(ms: int = 0) -> str:
    return (datetime.now(UTC) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


def main() -> None:
    parser = argparse.ArgumentParser(description="time offers of a shopstream on this machine")
    parser.add_argument("input", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    probing = Probing(given.input, given.tables, given.rate, given.port)
    print(msgspec.json.encode(uvloop.run(probing.run(given.seconds))).decode())


if __name__ == "__main__":
    main()
