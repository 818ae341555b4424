"""The notifier process: from the processors' tables to receivers, whatever happens to it."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shopstream.errors import Busy, ConfigError, DataDirError
from shopstream.events import Alert
from shopstream.heartbeats import alive, read_heartbeats
from shopstream.local.datadir import make_data_dir
from shopstream.local.delivery import Delivery
from shopstream.local.outbox import Outbox, retry_dead
from shopstream.local.tables import RocksTables
from shopstream.notify import run_notifier
from shopstream.settings import Settings

US = 1_000_000
NOW = 1_800_000_000 * US


class Receiver:
    """A webhook server that counts idempotency keys and fails as it is told."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.requests = 0
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hangs = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.requests += 1
                key = self.headers["Idempotency-Key"]
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.hangs.is_set():
                    time.sleep(3)
                if receiver.status == 200:
                    assert msgspec.json.decode(body)["alert_id"] == key
                    receiver.taken[key] += 1
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a notifier that is killed leaves its connections behind

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class Shard:
    """A processor's tables, one of two, with alerts numbered from 1."""

    def __init__(self, data_dir: Path, shard: int = 0) -> None:
        self.folder = make_data_dir(data_dir, 2).tables(shard)
        self.tables = RocksTables(self.folder)
        self.shard = shard
        self.last = 0

    def raise_alerts(self, count: int, **values: Any) -> list[str]:
        batch, ids = self.tables.batch(), []
        for _ in range(count):
            self.last += 1
            ids.append(f"s{self.shard}-{self.last}")
            self.put(batch, self.last, ids[-1], **values)
        self.tables.write(batch)
        return ids

    def put(self, batch: Any, number: int, alert_id: str, **values: Any) -> None:
        alert = Alert(
            alert_id=alert_id,
            kind="large_order",
            subject=f"Order {alert_id}",
            body="1,240.00 GBP",
            at=datetime.fromtimestamp(NOW / US, UTC),
            **values,
        )
        batch.put("alert_feed", str(self.shard), f"{number:020d}", msgspec.json.encode(alert))


@pytest.fixture
def shard(tmp_path: Path) -> Iterator[Shard]:
    made = Shard(tmp_path)
    yield made
    made.tables.close()


class Clock:
    """The time that the notifier goes by; waiting is moving it on."""

    def __init__(self) -> None:
        self.us = NOW

    def __call__(self) -> int:
        return self.us


def settings_for(data_dir: Path, *notify: str, **values: Any) -> Settings:
    return Settings(data_dir=data_dir, notify=list(notify), notify_private_addresses=True, **values)


def until(true: Callable[[], bool], step: Callable[[], Any] = lambda: time.sleep(0.02)) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it did not happen within 20 seconds"
        step()


def settle(delivery: Delivery) -> None:
    while delivery.step(0.005):
        pass


def delivery_for(settings: Settings, clock: Clock | None = None) -> Delivery:
    return Delivery(settings, print, now_us=clock or Clock(), chance=lambda: 0.5, poll_s=0)


def counts(data_dir: Path) -> dict[str, int]:
    outbox = Outbox.reader(data_dir)
    found = outbox.counts()
    outbox.close()
    return found


def ids_in(path: Path) -> list[str]:
    return [msgspec.json.decode(line)["alert_id"] for line in path.read_bytes().splitlines()]


def test_alerts_of_all_shards_reach_all_receivers(
    tmp_path: Path, shard: Shard, receiver: Receiver
) -> None:
    other = Shard(tmp_path, 1)
    ids = shard.raise_alerts(3) + other.raise_alerts(2)
    old = shard.raise_alerts(4, historical=True)
    lines: list[str] = []
    urls = ("console://", "file://alerts.ndjson", receiver.url)
    run_notifier(settings_for(tmp_path, *urls), until_idle=True, write=lines.append)
    assert sorted(receiver.taken) == sorted(ids_in(tmp_path / "alerts.ndjson")) == sorted(ids)
    assert len(lines) == 5
    assert not set(old) & set(receiver.taken)
    assert counts(tmp_path) == {"pending": 0, "delivered": 15, "dead": 0, "historical": 12}
    run_notifier(settings_for(tmp_path, *urls), until_idle=True, write=lines.append)
    assert set(receiver.taken.values()) == {1}
    other.tables.close()


def test_a_dead_receiver_slows_no_other_and_costs_few_tries(
    tmp_path: Path, shard: Shard, receiver: Receiver
) -> None:
    receiver.status = 500
    shard.raise_alerts(300)
    started = time.monotonic()
    run_notifier(settings_for(tmp_path, receiver.url, "file://alerts.ndjson"), until_idle=True)
    assert time.monotonic() - started < 10
    assert len(ids_in(tmp_path / "alerts.ndjson")) == 300
    assert receiver.requests <= 20
    assert counts(tmp_path)["pending"] == 300


def test_what_a_receiver_missed_in_an_outage_comes_when_it_is_back(
    tmp_path: Path, shard: Shard, receiver: Receiver
) -> None:
    clock = Clock()
    receiver.status = 503
    ids = shard.raise_alerts(40)
    delivery = delivery_for(settings_for(tmp_path, receiver.url), clock)
    for _ in range(60):
        settle(delivery)
        clock.us += 60 * US
    assert not receiver.taken
    assert delivery.outbox.counts()["pending"] + delivery.outbox.counts()["dead"] == 40
    receiver.status = 200
    delivery.close()
    retry_dead(tmp_path, clock.us)
    delivery = delivery_for(settings_for(tmp_path, receiver.url), clock)
    clock.us += 3_600 * US
    until(lambda: len(receiver.taken) == 40, lambda: delivery.step(0.02))
    assert receiver.taken == Counter(ids)
    delivery.close()


def test_after_the_last_try_an_alert_is_a_dead_letter_until_it_is_put_back(
    tmp_path: Path, shard: Shard, receiver: Receiver
) -> None:
    clock = Clock()
    receiver.status = 400
    [alert_id] = shard.raise_alerts(1)
    delivery = delivery_for(settings_for(tmp_path, receiver.url, notify_tries_max=4), clock)
    for waits in (1, 2, 4, 8):
        settle(delivery)
        clock.us += waits * US - 1
        settle(delivery)
        clock.us += 1
    settle(delivery)
    assert receiver.requests == 4
    [dead] = delivery.outbox.rows("dead")
    assert (dead.alert.alert_id, dead.tries, dead.error) == (alert_id, 4, "the answer was 400")
    receiver.status = 200
    retry_dead(tmp_path, clock.us)
    settle(delivery)
    assert receiver.taken == Counter([alert_id])
    delivery.close()


def test_retry_after_is_honoured_for_the_whole_receiver(
    tmp_path: Path, shard: Shard, receiver: Receiver
) -> None:
    clock = Clock()
    receiver.status, receiver.headers = 429, {"Retry-After": "120"}
    shard.raise_alerts(1)
    delivery = delivery_for(settings_for(tmp_path, receiver.url), clock)
    settle(delivery)
    receiver.status = 200
    shard.raise_alerts(2)
    clock.us += 119 * US
    settle(delivery)
    assert receiver.requests == 1
    clock.us += 2 * US
    settle(delivery)
    assert len(receiver.taken) == 3
    delivery.close()


def test_a_feed_rewritten_after_a_power_cut_loses_and_doubles_nothing(
    tmp_path: Path, shard: Shard, receiver: Receiver
) -> None:
    delivery = delivery_for(settings_for(tmp_path, receiver.url))
    shard.raise_alerts(5)
    until(lambda: len(receiver.taken) == 5, lambda: delivery.step(0.02))
    batch = shard.tables.batch()
    for number, alert_id in ((4, "s0-5"), (5, "new-1"), (6, "s0-4")):
        shard.put(batch, number, alert_id)
    shard.tables.write(batch)
    until(lambda: "new-1" in receiver.taken, lambda: delivery.step(0.02))
    settle(delivery)
    assert receiver.taken == Counter(["s0-1", "s0-2", "s0-3", "s0-4", "s0-5", "new-1"])
    delivery.close()


def test_an_alert_that_cannot_be_read_does_not_hold_up_the_next(
    tmp_path: Path, shard: Shard, receiver: Receiver
) -> None:
    batch = shard.tables.batch()
    for number in (1, 3):
        batch.put("alert_feed", "0", f"{number:020d}", b"\xff not an alert")
    shard.put(batch, 2, "good")
    shard.tables.write(batch)
    run_notifier(settings_for(tmp_path, receiver.url), until_idle=True)
    assert receiver.taken == Counter(["good"])


def test_a_notifier_may_start_before_there_are_tables(tmp_path: Path, receiver: Receiver) -> None:
    make_data_dir(tmp_path, 2)
    clock = Clock()
    delivery = delivery_for(settings_for(tmp_path, receiver.url), clock)
    settle(delivery)
    late = Shard(tmp_path)
    late.raise_alerts(1)
    clock.us += 2 * US
    until(lambda: bool(receiver.taken), lambda: delivery.step(0.02))
    delivery.close()
    late.tables.close()


def test_a_data_directory_that_cannot_be_read_is_told(tmp_path: Path, shard: Shard) -> None:
    shard.raise_alerts(1)
    delivery = delivery_for(settings_for(tmp_path))
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(DataDirError, match=r"meta\.json can't be read"):
        settle(delivery)
    delivery.close()


def test_tables_that_cannot_be_read_are_told_once_and_hold_up_no_others(
    tmp_path: Path, shard: Shard, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    shard.raise_alerts(1)
    damaged = shard.folder.parent / "1"
    damaged.mkdir()
    (damaged / "CURRENT").write_text("nonsense")
    clock = Clock()
    delivery = delivery_for(settings_for(tmp_path, receiver.url), clock)
    for _ in range(3):
        settle(delivery)
        clock.us += 2 * US
    delivery.close()
    assert receiver.taken == Counter(["s0-1"])
    out, err = capfd.readouterr()
    assert (out + err).count("alerts can't be read") == 1


def test_a_bad_receiver_and_a_second_notifier_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no scheme"):
        Delivery(settings_for(tmp_path, "my-token"), print)
    first = Delivery(settings_for(tmp_path), print)
    with pytest.raises(Busy):
        Delivery(settings_for(tmp_path), print)
    first.close()


_NOTIFIER = """
import sys
from pathlib import Path
from shopstream.notify import run_notifier
from shopstream.settings import Settings

run_notifier(
    Settings(data_dir=Path(sys.argv[1]), notify=sys.argv[2:], notify_private_addresses=True)
)
"""


def start_notifier(data_dir: Path, *notify: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", _NOTIFIER, str(data_dir), *notify], stdout=subprocess.DEVNULL
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_notifier_within_two_seconds_though_a_receiver_hangs(
    tmp_path: Path, shard: Shard, receiver: Receiver, number: signal.Signals
) -> None:
    receiver.hangs.set()
    shard.raise_alerts(20)
    notifier = start_notifier(tmp_path, receiver.url)
    until(lambda: receiver.requests > 0)
    [(stage, beat)] = read_heartbeats(tmp_path / "run").items()
    assert stage == "notifier"
    assert alive(beat, time.time_ns() // 1_000)
    assert set(beat) >= {"stage", "pid", "at_us", "pending", "delivered", "dead"}
    started = time.monotonic()
    notifier.send_signal(number)
    assert notifier.wait(5) == 0
    assert time.monotonic() - started < 2
    assert read_heartbeats(tmp_path / "run") == {}
    assert counts(tmp_path)["pending"] == 20


def has_taken_more(receiver: Receiver, before: int) -> bool:
    return len(receiver.taken) > before


def test_kills_at_random_moments_lose_no_alert_and_double_no_line(
    tmp_path: Path, shard: Shard, receiver: Receiver
) -> None:
    path = tmp_path / "alerts.ndjson"
    rng = random.Random(20)
    ids = []
    for _ in range(12):
        ids += shard.raise_alerts(150)
        notifier = start_notifier(tmp_path, receiver.url, "file://alerts.ndjson")
        before = len(receiver.taken)
        until(partial(has_taken_more, receiver, before))
        time.sleep(rng.uniform(0, 0.15))
        notifier.kill()
        notifier.wait()
    run_notifier(settings_for(tmp_path, receiver.url, "file://alerts.ndjson"), until_idle=True)
    assert sorted(receiver.taken) == sorted(ids)
    assert Counter(ids_in(path)) == Counter(ids)
    assert counts(tmp_path) == {
        "pending": 0,
        "delivered": 2 * len(ids),
        "dead": 0,
        "historical": 0,
    }
