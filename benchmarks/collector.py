"""The collector on one core, its client on the other: events a second that are on disk when the
answer comes, against a bare ASGI app on the same server that does no more than commit or decode.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.figures import Bench, Figure
from benchmarks.load import WARM_UP_S, Sent
from benchmarks.processes import (
    SHOPSTREAM,
    RunFailed,
    cpu_s,
    free_port,
    rss_peak_mib,
    running,
    start,
    wait,
    wait_for_port,
)

JOB = "collector"
SECONDS, SECONDS_QUICK = 6.0, 2.0


class Shape(NamedTuple):
    """How events are sent."""

    name: str
    per_request: int
    connections: int
    array: bool
    events: int
    target: int


class Served(NamedTuple):
    """What was sent, the server's processor time for a request, and its peak memory."""

    sent: Sent
    request_us: float
    rss_mib: float


SHAPES = (
    Shape("1 a request", 1, 64, False, 100_000, 25_000),
    Shape("100 a request, NDJSON", 100, 32, False, 200_000, 350_000),
    Shape("100 a request, JSON array", 100, 32, True, 200_000, 350_000),
)
_COMMIT, _DECODE, _OURS = "bare ASGI, commit only", "bare ASGI, decode only", "shopstream collector"


def measure(bench: Bench) -> list[Figure]:
    found = []
    for shape in SHAPES:
        for server in (_COMMIT, _DECODE, _OURS):
            if server == _DECODE and shape.array:
                continue  # it takes NDJSON only, and the limit is the same
            served = _serve(bench, server, shape)
            found.append(_figure(server, shape, served))
            if server == _OURS:
                name = f"{_OURS}, {shape.name}: peak memory"
                memory = Figure(job=JOB, name=name, value=served.rss_mib, unit="MiB", less=True)
                found.append(memory)
    return found


def _serve(bench: Bench, server: str, shape: Shape) -> Served:
    """Start a server, send to it for some seconds, end it."""
    folder = bench.folder / "collector"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cores = sorted(os.sched_getaffinity(0))
    port = free_port()
    if server == _OURS:
        command = [SHOPSTREAM, "collector", "--data-dir", str(folder / "data"), "--port", str(port)]
    else:
        what = "commit" if server == _COMMIT else "decode"
        command = [
            sys.executable, "-m", "benchmarks.peers.bare_asgi", what, str(port), str(folder),
        ]  # fmt: skip
    log = folder / "server.txt"
    with running(command, log, on=cores[:1]) as process:
        wait_for_port(port, process, log)
        before_s = cpu_s(process.pid)
        sent = _send(bench, shape, port, folder, cores[-1])
        used_s = cpu_s(process.pid) - before_s
        rss_mib = rss_peak_mib(process.pid)
    shutil.rmtree(folder)
    requests = sent.requests / sent.seconds * (sent.seconds + WARM_UP_S)
    return Served(sent, used_s / requests * 1e6, rss_mib)


def _send(bench: Bench, shape: Shape, port: int, folder: Path, core: int) -> Sent:
    command = [
        sys.executable, "-m", "benchmarks.load", str(bench.input),
        "--port", str(port),
        "--per-request", str(shape.per_request),
        "--connections", str(shape.connections),
        "--events", str(min(shape.events, bench.events)),
        "--seconds", str(SECONDS_QUICK if bench.quick else SECONDS),
        *(["--array"] if shape.array else []),
    ]  # fmt: skip
    output = folder / "load.txt"
    wait(start(command, output, on=[core]), output, timeout_s=120)
    sent = msgspec.json.decode(output.read_bytes(), type=Sent)
    if sent.failed or not sent.requests:
        raise RunFailed(f"{sent.failed} of {sent.requests} requests failed: {sent.refusal}")
    return sent


def _figure(server: str, shape: Shape, served: Served) -> Figure:
    ours, sent = server == _OURS, served.sent
    return Figure(
        job=JOB,
        name=f"{server}, {shape.name}",
        value=sent.requests * shape.per_request / sent.seconds,
        unit="events/s",
        kind="ours" if ours else "limit",
        against=f"{_COMMIT}, {shape.name}" if ours else "",
        target=shape.target if ours else 0,
        note=(
            f"p50 {sent.p50_ms:.1f} ms, p99 {sent.p99_ms:.1f} ms;"
            f" about {served.request_us:,.0f} µs of processor time a request;"
            f" client {sent.busy:.0%} busy"
        ),
    )
