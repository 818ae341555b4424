"""`shopstream up`: all stages, started again when they die, ended clean."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Set
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.e2e.command import COMMAND, Shop

from shopstream.engine import open_engine
from shopstream.errors import ConfigError
from shopstream.heartbeats import alive, read_heartbeats
from shopstream.local.datadir import prepare_tables, switch_to
from shopstream.monitoring import standing
from shopstream.settings import load_settings
from shopstream.supervisor import _keep_running, _Stage

pytestmark = pytest.mark.slow

STAGES = {"collector", "processor-0", "notifier", "intake", "lander", "builder"}


class Up:
    """A running `shopstream up`."""

    def __init__(self, data_dir: Path, settings: str = "", wanted: Set[str] = STAGES) -> None:
        self.shop = Shop(data_dir)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / "shopstream.toml").write_text(settings)
        self.said = data_dir.parent / "up.txt"
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--port", str(port), "--data-dir", str(data_dir)],
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10)
        until(lambda: self.running() >= wanted and (wanted < STAGES or self.healthy()))

    def healthy(self) -> bool:
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def beats(self) -> dict[str, dict[str, Any]]:
        return read_heartbeats(self.shop.data_dir / "run")

    def running(self) -> set[str]:
        now_us = time.time_ns() // 1000
        return {stage for stage, beat in self.beats().items() if alive(beat, now_us)}

    def restarted(self, stage: str, pid: int) -> bool:
        """Whether the stage runs again, after process `pid` of it was killed."""
        return stage in self.running() and self.pid(stage) != pid

    def pid(self, stage: str) -> int:
        return int(self.beats()[stage]["pid"])

    def send(self, *events: dict[str, Any]) -> None:
        answer = self.http.post("/v1/events/clicks", json=list(events))
        assert answer.status_code == 200, answer.text

    def offers(self, user: str) -> list[dict[str, Any]]:
        found = self.http.get(f"/v1/users/{user}/offers").json()
        offers: list[dict[str, Any]] = found["offers"] if isinstance(found, dict) else found
        return offers

    def stop(self, signum: int = signal.SIGINT) -> int:
        self.process.send_signal(signum)
        return self.process.wait(60)

    def close(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.stop(signal.SIGTERM)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path / "data")
    yield running
    running.close()


def until(condition: Callable[[], Any], within_s: float = 45.0) -> None:
    """Return once `condition` holds; fail when it does not in time."""
    ends_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends_at, "it did not come to this in time"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def views(user: str, count: int = 3) -> list[dict[str, Any]]:
    now = datetime.now(UTC).isoformat()
    return [
        {"event_id": f"{user}-{n}", "user_id": user, "event_type": "view", "product_id": "p1"}
        | {"timestamp": now}
        for n in range(count)
    ]


def test_an_event_becomes_an_offer_that_a_look_up_shows(up: Up) -> None:
    up.send(*views("u1"))
    until(lambda: up.offers("u1"))
    (offer,) = up.offers("u1")
    assert (offer["rule"], offer["product_id"]) == ("viewed-three-times", "p1")
    (told,) = up.shop.json("offers", "u1")
    assert told["offer_id"] == offer["offer_id"]


def test_stages_end_when_the_number_of_shards_is_no_longer_theirs(up: Up) -> None:
    """As where `up` was started while the tables were cut: it had too few or too many."""
    switch_to(prepare_tables(up.shop.data_dir, 2))
    assert up.process.wait(60) == 3
    assert "the number of shards" in up.said.read_text()
    assert "start again" in up.said.read_text()
    assert up.running() == set()


def test_a_stage_that_is_killed_is_started_again_and_nothing_is_lost(up: Up) -> None:
    sent = 0
    for stage in ("processor-0", "collector", "notifier"):
        pid = up.pid(stage)
        up.send(*views(f"before-{stage}"))
        os.kill(pid, signal.SIGKILL)
        until(partial(up.restarted, stage, pid))
        until(up.healthy)
        up.send(*views(f"after-{stage}"))
        sent += 6
        assert "started again" in up.said.read_text()
    until(
        lambda: all(
            up.offers(f"{when}-{stage}")
            for when in ("before", "after")
            for stage in ("processor-0", "collector", "notifier")
        )
    )
    assert up.shop.counts("clicks") == {"received": sent, "accepted": sent}


def test_ctrl_c_ends_all_stages_with_what_came_in_processed(up: Up) -> None:
    pids = [up.pid(stage) for stage in STAGES]
    up.send(*(event for n in range(200) for event in views(f"u{n}")))
    assert up.stop(signal.SIGINT) == 0
    assert all(gone(pid) for pid in pids)
    assert up.shop.counts("clicks") == {"received": 600, "accepted": 600}
    assert "Traceback" not in up.said.read_text()


def test_ctrl_c_leaves_every_offer_in_a_file_for_the_next_build(up: Up) -> None:
    archive = up.shop.data_dir / "archive" / "offers"
    up.send(*views("u1"))
    until(lambda: list(archive.rglob("*.json")))  # a file holds 10 seconds, so the next waits
    up.send(*views("u2"))
    until(lambda: up.offers("u2"))
    assert up.stop(signal.SIGINT) == 0
    lines = [line for path in archive.rglob("*.json") for line in path.read_text().splitlines()]
    assert sorted(json.loads(line)["user_id"] for line in lines) == ["u1", "u2"]
    up.shop.run("build")
    assert up.shop.json("sql", "SELECT count(*) AS n FROM silver_offers") == [{"n": 2}]


def test_what_up_shows_adds_up_after_a_restart_while_a_processor_stands_still(up: Up) -> None:
    up.send(*(event for n in range(10) for event in views(f"u{n}", 5)))
    until(lambda: up.offers("u9"))
    assert up.stop() == 0
    again = Up(up.shop.data_dir)
    engine = open_engine(load_settings({"data_dir": up.shop.data_dir}))
    pid = again.pid("processor-0")
    os.kill(pid, signal.SIGSTOP)
    try:
        shown = standing(engine)
        assert (shown.received, shown.lag, shown.offers) == (50, 0, 10)
        again.send(*views("late", 30))
        until(lambda: standing(engine).lag == 30)
        assert standing(engine).received == 80
        (stage,) = (s for s in again.shop.json("status") if s["stage"] == "processor-0")
        assert stage["lag"] == 30
    finally:
        os.kill(pid, signal.SIGCONT)
        again.close()


def test_stages_end_when_up_is_killed_so_that_it_can_be_started_again(up: Up) -> None:
    pids = [up.pid(stage) for stage in STAGES]
    up.send(*views("u1"))
    up.process.kill()
    up.process.wait(10)
    until(lambda: all(gone(pid) for pid in pids))
    again = Up(up.shop.data_dir)
    try:
        until(lambda: again.offers("u1"))
    finally:
        again.close()


def test_load_and_replay_append_through_the_running_collector_and_check_balances(up: Up) -> None:
    mapping = up.shop.data_dir.parent / "clicks.toml"
    mapping.write_text(
        'topic = "clicks"\n[format]\ntype = "ndjson"\n[fields]\nevent_id = "event_id"\n'
        'user_id = "user_id"\nevent_type = "event_type"\nproduct_id = "product_id"\n'
        'timestamp = "timestamp"\n',
        "utf-8",
    )
    file = up.shop.ndjson("c.ndjson", *views("loaded", 50), views("x")[0] | {"user_id": ""})
    up.shop.load(file, mapping)
    up.send(*views("sent"))
    until(lambda: up.offers("sent"))
    assert up.shop.counts("clicks") == {"received": 54, "accepted": 53, "quarantined": 1}
    assert [o["delivered"] for o in up.shop.json("offers", "loaded")] == [False]
    report = up.shop.json("replay", "--set", "user_id=mended")
    assert report["replayed"] == 1
    assert up.shop.counts("clicks") == {"received": 55, "accepted": 54, "quarantined": 1}
    up.shop.load(file, mapping)
    assert up.shop.counts("clicks") == {"received": 55, "accepted": 54, "quarantined": 1}


def test_a_dropped_file_goes_in_while_all_runs_and_after_the_intake_was_killed(up: Up) -> None:
    raw = up.shop.data_dir / "raw"
    for n in range(2):
        row = f"u{n},p1,1,2026-03-01T12:00:00Z"
        part = raw / "carts" / f"{n}.csv.part"
        part.write_text(f"user_id,product_id,quantity,timestamp\n{row}\n", "utf-8")
        part.rename(raw / "carts" / f"{n}.csv")
        if n == 0:
            os.kill(pid := up.pid("intake"), signal.SIGKILL)
            until(partial(up.restarted, "intake", pid))
        until((raw / "done" / "carts" / f"{n}.csv").exists)
    assert up.shop.counts("carts") == {"received": 2, "accepted": 2}


def test_check_balances_at_any_moment_while_events_come_in(up: Up) -> None:
    for n in range(8):
        up.send(*(event for m in range(100) for event in views(f"u{n}-{m}")))
        report = up.shop.json("check")
        counts = report["topics"]["clicks"]
        assert report["differences"] == []
        assert counts["received"] == (n + 1) * 300
    until(lambda: up.shop.json("check")["topics"]["clicks"]["waiting"] == 0)
    assert up.shop.counts("clicks") == {"received": 2_400, "accepted": 2_400}


def test_what_up_says_at_its_start_is_plain_and_warns_of_a_webhook_that_is_refused(
    tmp_path: Path,
) -> None:
    up = Up(tmp_path / "data", 'notify = ["http://localhost:9/hook?token=secret"]\n')
    try:
        until(lambda: "listening on" in up.said.read_text())
        said = up.said.read_text()
    finally:
        up.close()
    warning, notice, listening = said.splitlines()[:3]
    assert warning.startswith("warning: alerts can't go to http://localhost:9/…")
    assert "set notify_private_addresses" in warning
    assert "secret" not in said
    assert notice.startswith("No write key is configured: this collector takes events from anyone")
    assert listening.startswith("listening on http://")


def test_a_second_up_on_the_same_data_says_what_is_the_matter(up: Up) -> None:
    done = subprocess.run(
        [*COMMAND, "up", "--port", "0", "--data-dir", str(up.shop.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "a collector runs on" in done.stderr
    assert str(up.pid("collector")) in done.stderr
    assert "Traceback" not in done.stderr
    assert up.healthy()


def test_rules_that_will_not_do_are_told_before_anything_starts(shop: Shop) -> None:
    shop.data_dir.mkdir(parents=True)
    (shop.data_dir / "rules.toml").write_text('[[rule]]\nname = "x"\n', "utf-8")
    done = shop.run("up", code=2)
    assert "rules.toml: x: on: missing" in done.stderr
    assert not (shop.data_dir / "run" / "collector.json").exists()


@pytest.mark.parametrize("command", ["up", "load", "simulate"])
def test_receivers_that_will_not_do_are_told_before_anything_is_made(
    shop: Shop, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSTREAM_NOTIFY", "ftp://x")
    clicks = shop.ndjson("clicks.ndjson", views("u1")[0])
    words = {"up": ["up"], "simulate": ["simulate", "clicks", "--count", "3"]} | {
        "load": ["load", str(clicks), "--mapping", "carts_csv"]
    }
    done = shop.run(*words[command], code=2)
    assert "notify: ftp://…" in done.stderr
    assert not shop.data_dir.exists()


def test_an_address_that_others_reach_wants_a_write_key_before_anything_is_made(shop: Shop) -> None:
    for command in ("up", "collector"):
        done = shop.run(command, "--host", "0.0.0.0", "--port", "0", code=2)
        assert "there is no write key" in done.stderr
        assert not shop.data_dir.exists()


def test_a_stage_that_can_not_start_ends_up_however_long_it_took() -> None:
    stage = _Stage("notifier", [sys.executable, "-c", "raise SystemExit(2)"])
    stage.start()
    assert stage.process
    stage.process.wait(30)
    stage.hear({"pid": stage.process.pid + 1})
    stage.started_at -= 3_600
    with pytest.raises(ConfigError, match="notifier can't run"):
        _keep_running(stage, print)
    said: list[str] = []
    stage.hear({"pid": stage.process.pid})
    _keep_running(stage, said.append)
    assert said == ["notifier ended with code 2; started again (1)"]
    stage.stop()


def test_a_lake_that_can_not_be_used_keeps_no_event_out_and_goes_on_once_it_is_mended(
    tmp_path: Path,
) -> None:
    database = tmp_path / "data" / "lake" / "landed.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database" * 500)
    up = Up(tmp_path / "data", wanted={"collector", "processor-0"})
    try:
        until(lambda: "lander ended with code 2; started again (2)" in up.said.read_text())
        assert "landed.db is damaged" in up.said.read_text()
        up.send(*views("u1"))
        until(lambda: up.offers("u1"))
        database.unlink()
        # A build, too, lands what waits where no lander runs.
        until(lambda: up.running() >= STAGES and up.pid("lander") != up.pid("builder"))
        lander = up.pid("lander")
        for path in database.parent.glob("landed.db*"):
            path.unlink()
        until(partial(up.restarted, "lander", lander))
        assert "landed.db was taken away" in up.said.read_text()
        up.send(*views("u2"))
        up.shop.run("build")
        assert up.shop.counts("clicks") == {"received": 6, "accepted": 6}
    finally:
        up.close()


def test_status_tells_how_each_stage_stands(up: Up) -> None:
    up.send(*views("u1"))
    until(lambda: up.offers("u1"))
    found = {stage["stage"]: stage for stage in json.loads(up.shop.run("status").stdout)}
    assert set(found) == STAGES
    assert all(stage["running"] for stage in found.values())
    assert found["processor-0"]["pid"] == up.pid("processor-0")


def test_a_processor_that_hangs_is_ended_and_started_again(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", 'silent_max = "4s"\n')
    try:
        pid = up.pid("processor-0")
        os.kill(pid, signal.SIGSTOP)
        up.send(*views("u1"))
        until(lambda: up.restarted("processor-0", pid))
        until(lambda: up.offers("u1"))
        assert "processor-0 was silent for 4 s and is ended" in up.said.read_text()
    finally:
        up.close()
