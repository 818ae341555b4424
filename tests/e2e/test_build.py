"""`shopstream build` and the builder stage, as processes of their own."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.command import COMMAND, Shop
from tests.e2e.test_up import Up, until
from tests.lake.real_lake import RealLake, click, entry, order

from shopstream.heartbeats import read_heartbeats

pytestmark = pytest.mark.slow


@pytest.fixture
def lake(shop: Shop) -> RealLake:
    """Clicks and orders of two days in the log: nothing is landed."""
    lake = RealLake(shop.data_dir)
    send(lake, 0)
    return lake


def send(lake: RealLake, number: int) -> None:
    """One more click and order of each of two days."""
    lake.append(
        entry("clicks", click(f"a{number}", 18), click(f"b{number}", 19)),
        entry("orders", order(f"o{number}", 18), order(f"p{number}", 19, "placed")),
    )


@contextmanager
def running(shop: Shop, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *words, "--data-dir", str(shop.data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def at_work(lake: RealLake) -> bool:
    """Whether a build goes on: it has its folder for what is only for the time being."""
    folder = lake.folder / "tmp"
    return folder.is_dir() and any(folder.iterdir())


def clicks(shop: Shop) -> int:
    return len(RealLake(shop.data_dir).rows("silver_clicks"))


def test_build_lands_and_builds_and_says_what_it_did(shop: Shop, lake: RealLake) -> None:
    report = shop.json("build")
    told = {built["table"]: built for built in report["tables"]}
    assert told["silver_clicks"]["rows"] == 2
    assert told["gold_daily_sales"]["rows"] == 2
    assert clicks(shop) == 2
    again = shop.json("build")
    assert (again["build"], again["tables"]) == (0, [])
    send(lake, 1)
    table = shop.run("build", "--format", "table")
    assert "silver_clicks" in table.stdout
    assert "published" in table.stdout
    assert "Traceback" not in table.stderr
    assert clicks(shop) == 4


def test_a_dry_run_prints_the_plan_and_builds_nothing(shop: Shop, lake: RealLake) -> None:
    lake.land()
    steps = shop.json("build", "--dry-run", "--select", "silver_clicks+")
    assert steps[0] | {"why": ""} == {
        "table": "silver_clicks",
        "mode": "full",
        "days": [],
        "files": 1,
        "why": "",
    }
    assert "gold_funnel" in shop.run("build", "--dry-run", "--format", "table").stdout
    assert not (shop.data_dir / "lake" / "catalog.db").exists()


def test_what_cannot_be_built_is_refused_in_a_line(shop: Shop, lake: RealLake) -> None:
    assert lake
    assert "2026-13-01" in shop.run("build", "--since", "2026-13-01", code=2).stderr
    unknown = shop.run("build", "--select", "silver_cliks", code=2).stderr
    assert "--select silver_cliks: there is no such table" in unknown
    assert "Traceback" not in unknown


def test_a_table_that_fails_its_tests_makes_the_exit_code_1(shop: Shop, lake: RealLake) -> None:
    lake.land()
    lake.put([(900, "orders", order("x", 19, "lost"))])
    with pytest.raises(json.JSONDecodeError):
        json.loads(failed := shop.run("build", "--format", "table", code=1).stdout)
    assert "failed" in failed
    done = shop.run("build", code=1)
    assert "failed: silver_order_lines.status: accepted_values: 1 row" in done.stderr
    told = {built["table"]: built for built in json.loads(done.stdout)["tables"]}
    assert told["silver_orders"]["kept_back"] == "silver_order_lines"
    assert clicks(shop) == 2


@pytest.mark.parametrize("wait_s", [0.0, 0.5])
def test_ctrl_c_ends_a_build_and_publishes_nothing_by_half(
    shop: Shop, lake: RealLake, wait_s: float
) -> None:
    shop.run("build")
    before = lake.current
    send(lake, 1)
    with running(shop, "build", "--full") as build:
        until(lambda: at_work(lake) or build.poll() is not None)
        time.sleep(wait_s)
        build.send_signal(signal.SIGINT)
        _, said = build.communicate(timeout=60)
    assert "Traceback" not in said
    assert build.returncode in (130, 0)
    if build.returncode == 0 or lake.current != before:  # it had been done
        assert clicks(shop) == 4
    else:
        assert clicks(shop) == 2
    shop.run("build")
    assert clicks(shop) == 4
    assert shop.json("build")["build"] == 0


def test_a_build_that_is_killed_is_healed_by_the_next(shop: Shop, lake: RealLake) -> None:
    shop.run("build")
    for n, wait_s in enumerate((0.05, 0.7), 1):
        before = lake.current
        send(lake, n)
        with running(shop, "build") as build:
            until(lambda: at_work(lake) or build.poll() is not None)
            time.sleep(wait_s)
            build.kill()
            build.wait()
            if lake.current != before:
                assert clicks(shop) == 2 * n + 2
    shop.run("build")
    assert clicks(shop) == 6
    rows = lake.all_rows()
    shop.run("build", "--full")
    assert lake.all_rows() == rows


def beat(shop: Shop) -> dict[str, Any]:
    return read_heartbeats(shop.data_dir / "run").get("builder", {})


def test_the_builder_builds_what_there_is_and_ends_when_idle(shop: Shop, lake: RealLake) -> None:
    shop.run("builder", "--until-idle")
    assert clicks(shop) == 2
    assert beat(shop)["ended"] is True
    assert beat(shop)["build"] == lake.current.build
    assert beat(shop)["failed"] == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_builder_clean(
    shop: Shop, lake: RealLake, signum: signal.Signals
) -> None:
    (shop.data_dir / "shopstream.toml").write_text('build_every = "1s"\n')
    with running(shop, "builder") as builder:
        until(lambda: at_work(lake))
        builder.send_signal(signum)
        _, said = builder.communicate(timeout=60)
        assert builder.returncode == 0, said
    assert "Traceback" not in said
    assert beat(shop)["ended"] is True
    with running(shop, "builder") as builder:
        until(lambda: beat(shop).get("build", 0) > 0)
        assert clicks(shop) == 2
        send(lake, 1)
        until(lambda: clicks(shop) == 4)
        builder.send_signal(signum)
        _, said = builder.communicate(timeout=60)
        assert builder.returncode == 0, said
    assert not at_work(lake)


def test_build_and_the_builder_take_turns(shop: Shop, lake: RealLake) -> None:
    (shop.data_dir / "shopstream.toml").write_text('build_every = "1s"\n')
    with running(shop, "builder") as builder:
        for n in range(1, 4):
            send(lake, n)
            shop.run("build")
            assert clicks(shop) == 2 * n + 2
        assert builder.poll() is None
        builder.send_signal(signal.SIGTERM)
        _, said = builder.communicate(timeout=60)
        assert builder.returncode == 0, said


def total(lake: RealLake) -> int:
    if not (lake.folder / "current.json").exists():
        return 0
    return sum(row["views"] for row in lake.rows("gold_product_performance"))


def test_with_up_an_event_is_in_gold_within_build_every_and_a_build(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", 'build_every = "2s"\n')
    lake = RealLake(tmp_path / "data")
    try:
        for sent in (1, 2, 3):
            now = datetime.now(UTC).isoformat()
            view = {"user_id": "u", "event_type": "view", "product_id": "p", "timestamp": now}
            began = time.monotonic()
            up.send({"event_id": f"e{sent}"} | view)
            until(lambda: total(lake) == sent)  # noqa: B023  # called in this round
            took_s = time.monotonic() - began
            build_s = max(float(up.beats()["builder"].get("build_s", 0)), 1.0)
            # It may have come just after a build began; landing and starting take their time too.
            assert sent == 1 or took_s <= 2 * (2.0 + build_s) + 3.0, (took_s, build_s)
        assert up.shop.json("check")["balanced"]
        os.kill(pid := up.pid("builder"), signal.SIGKILL)
        until(lambda: up.restarted("builder", pid))
        assert up.stop() == 0
        assert "Traceback" not in (said := up.said.read_text()), said
    finally:
        up.close()
    assert up.shop.json("build")["tables"] == []
