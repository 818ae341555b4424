"""`simulate` sends batches, at a pace, to a URL, a file, standard output or a data directory."""

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
import zstandard

from shopstream.engine import open_engine
from shopstream.errors import ConfigError, SourceError
from shopstream.settings import Settings
from shopstream.simulator import run_simulation
from shopstream.simulator.destinations import HTTP_BYTES_MAX, HttpDestination
from shopstream.simulator.shop import KINDS, Kind


class Server:
    """A web server that answers as it is told, then 200."""

    def __init__(self, answers: list[tuple[int, dict[str, str]]]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""


@contextmanager
def serving(*answers: tuple[int, dict[str, str]]) -> Iterator[Server]:
    server = Server(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.requests.append((self.path, dict(self.headers), body))
            status, headers = server.answers.pop(0) if server.answers else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept.append(seconds)


@pytest.mark.parametrize(
    ("name", "unpacked"),
    [
        ("x.ndjson", lambda body: body),
        ("x.ndjson.gz", gzip.decompress),
        (
            "x.ndjson.zst",
            lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
        ),
    ],
)
def test_a_file_gets_a_line_for_each_event(
    tmp_path: Path, name: str, unpacked: Callable[[bytes], bytes]
) -> None:
    bodies = []
    for _ in range(2):
        report = run_simulation(Settings(), "clicks", count=1_234, to=str(tmp_path / name))
        bodies.append((tmp_path / name).read_bytes())
    lines = unpacked(bodies[0]).splitlines()
    assert report.sent == {"clicks": 1_234}
    assert report.batches == 3
    assert len(lines) == 1_234
    assert "topic" not in msgspec.json.decode(lines[0])
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    "to", ["arn:aws:sqs:eu-central-1:123456789012:q", "kafka://x", "s3:/b", "localhost:8080"]
)
def test_what_looks_like_an_address_but_is_none_is_refused_and_makes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=r"wanted http://HOST:PORT, kinesis://STREAM, .*a file"):
        run_simulation(Settings(), "clicks", count=1, to=to)
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_have_a_colon_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_simulation(Settings(), "clicks", count=1, to="./day:1.ndjson")
    run_simulation(Settings(), "clicks", count=1, to="C:day.ndjson")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["C:day.ndjson", "day:1.ndjson"]


def test_lines_of_a_whole_shop_name_their_topic(capfdbinary: Any) -> None:
    report = run_simulation(Settings(), "shop", count=2_000, to="-")
    lines = capfdbinary.readouterr().out.splitlines()
    topics = Counter(msgspec.json.decode(line)["topic"] for line in lines)
    assert topics == report.sent
    assert len(topics) == 4


def test_a_data_directory_gets_entries_in_its_log(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    report = run_simulation(settings, "shop", count=2_000)
    assert report.direct
    received = open_engine(settings).read_log().received()
    assert received == {(topic, "simulate"): n for topic, n in report.sent.items()}


def test_a_url_gets_batches_by_topic_with_the_write_key() -> None:
    with serving() as server:
        run_simulation(
            Settings(), "shop", count=1_000, batch_size=300, to=server.url, write_key="secret"
        )
    paths = Counter(path for path, _, _ in server.requests)
    assert set(paths) == {f"/v1/events/{topic}" for topic in ("clicks", "orders", "carts", "stock")}
    assert sum(len(body.splitlines()) for _, _, body in server.requests) == 1_000
    assert all(len(body.splitlines()) <= 300 for _, _, body in server.requests)
    assert server.requests[0][1]["Authorization"] == "Basic c2VjcmV0Og=="


def test_large_events_make_batches_of_as_many_bytes_as_the_collector_takes() -> None:
    with serving() as server:
        run_simulation(Settings(), "orders", count=50, target_kb=200, to=server.url)
    sizes = [len(body) for _, _, body in server.requests]
    assert len(sizes) == 3
    assert max(sizes) <= HTTP_BYTES_MAX


def test_a_busy_collector_is_asked_again_when_it_says() -> None:
    clock = Clock()
    with serving((503, {"Retry-After": "7"}), (500, {})) as server:
        HttpDestination(server.url, sleep=clock.sleep).send("clicks", [b"{}"])
    assert len(server.requests) == 3
    assert 7 <= clock.slept[0] <= 7.7
    assert clock.slept[1] <= 0.4


def test_tries_are_bounded_and_the_error_says_what_to_do() -> None:
    clock = Clock()
    with serving() as server:
        gone = server.url
    destination = HttpDestination(gone, tries_max=3, sleep=clock.sleep)
    with pytest.raises(SourceError, match=r"not taken in 3 tries: .*see that a collector runs"):
        destination.send("clicks", [b"{}"])
    assert len(clock.slept) == 2
    destination.close()


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "--write-key"), (404, "is that a collector"), (413, "smaller batches")],
)
def test_a_refusal_is_not_tried_again(status: int, advice: str) -> None:
    with serving((status, {})) as server, pytest.raises(SourceError, match=advice):
        run_simulation(Settings(), "clicks", count=10, to=server.url)
    assert len(server.requests) == 1


def test_events_spoiled_on_purpose_go_on_after_a_refusal() -> None:
    with serving((400, {})) as server:
        run_simulation(
            Settings(), "clicks", count=20, batch_size=10, invalid_percent=50, to=server.url
        )
    assert len(server.requests) == 2
    with serving((400, {})) as server, pytest.raises(SourceError, match="refuses these events"):
        run_simulation(Settings(), "clicks", count=20, batch_size=10, to=server.url)


def test_events_come_at_the_rate(tmp_path: Path) -> None:
    clock = Clock()
    run_simulation(
        *(Settings(), "clicks"),
        count=100,
        rate=20,
        to=str(tmp_path / "x.ndjson"),
        clock=clock,
        sleep=clock.sleep,
    )
    assert sum(clock.slept) == pytest.approx(4.9)
    assert max(clock.slept) == pytest.approx(0.1, rel=1e-3)
    times = [
        msgspec.json.decode(line)["timestamp"]
        for line in (tmp_path / "x.ndjson").read_bytes().splitlines()
    ]
    assert times[0] == "2026-09-21T14:13:20.000000Z"
    assert times[-1] == "2026-09-21T14:13:24.950000Z"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"count": -1}, "--count -1: wanted at least 0"),
        ({"count": 1, "invalid_percent": 101}, "--invalid-percent 101: wanted 0 to 100"),
        ({"count": 1, "batch_size": 0}, "--batch-size 0: wanted at least 1"),
    ],
)
def test_arguments_without_sense_are_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_simulation(Settings(), "clicks", **arguments)


def test_a_destination_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="can't be written"):
        run_simulation(Settings(), "clicks", count=1, to=str(tmp_path / "no" / "x.ndjson"))
    with pytest.raises(SourceError, match="is not a collector's URL"):
        run_simulation(Settings(), "clicks", count=1, to="http://")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3, 20, 300, 1_500])
def test_no_event_is_of_the_future(tmp_path: Path, kind: Kind, count: int) -> None:
    for hour in (0, 23):
        clock = Clock()
        clock.now_s = clock.now_s // 86_400 * 86_400 + hour * 3_600
        for seed in (1, 2, 3):
            to = tmp_path / f"{seed}.ndjson"
            run_simulation(Settings(), kind, count=count, seed=seed, to=str(to), clock=clock)
            times = [
                msgspec.json.decode(line)["timestamp"] for line in to.read_bytes().splitlines()
            ]
            assert len(times) == count
            assert max(times) <= f"{datetime.fromtimestamp(clock.now_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_seed_and_start_make_the_same_events_on_any_day(tmp_path: Path) -> None:
    start_us = 1_760_000_000_000_000
    bodies = []
    for day in range(2):
        clock = Clock()
        clock.now_s += day * 86_400
        to = tmp_path / f"{day}.ndjson"
        run_simulation(
            Settings(), "shop", count=500, seed=7, start_us=start_us, to=str(to), clock=clock
        )
        bodies.append(to.read_bytes())
    assert bodies[0] == bodies[1]
    assert b'"timestamp":"2025-10-09T0' in bodies[0]


@pytest.mark.parametrize(("rate", "why"), [(0, "a time that has been"), (5, "events happen now")])
def test_a_start_in_the_future_or_with_a_rate_is_refused(rate: float, why: str) -> None:
    clock = Clock()
    start_us = int((clock.now_s + 3_600) * 1e6)
    with pytest.raises(ConfigError, match=why):
        run_simulation(
            Settings(), "shop", count=1, rate=rate, start_us=start_us, to="-", clock=clock
        )
