"""Readers in a loop see whole builds only: whatever they ask, the answer is that of one build."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.faults.kills import append
from tests.faults.lake_kills import build, land, process
from tests.faults.shop import entries
from tests.faults.stages import make_shop, run, shopstream

import shopstream as api

pytestmark = pytest.mark.slow

BUILDS = 5
TOTALS = {
    "silver_clicks": "count(*), sum(position), count(DISTINCT session_id)",
    "silver_order_lines": "count(*), sum(position), sum(amount)",
    "gold_daily_sales": "count(*), sum(amount), sum(units)",
    "gold_product_performance": "count(*), sum(views), sum(revenue)",
}
Totals = dict[str, tuple[Any, ...]]


def totals(data_dir: Path) -> Totals:
    """All totals, asked of one connection."""
    con = api.connect(data_dir)
    try:
        return {
            table: con.execute(f"SELECT {what} FROM {table}").fetchone() or ()
            for table, what in TOTALS.items()
        }
    finally:
        con.close()


class Readers:
    """Ask for all totals again and again while something else goes on."""

    def __init__(self, data_dir: Path, count: int = 2) -> None:
        self.seen: list[Totals] = []
        self.errors: list[Exception] = []
        self._data_dir = data_dir
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(count)]

    def _read(self) -> None:
        while not self._enough.is_set():
            try:
                self.seen.append(totals(self._data_dir))
            except Exception as e:  # noqa: BLE001  # told to the test, which fails
                self.errors.append(e)
                return

    def during(self, work: Callable[[], object]) -> None:
        for thread in self._threads:
            thread.start()
        try:
            work()
        finally:
            self._enough.set()
            for thread in self._threads:
                thread.join()


def news(data_dir: Path, n: int) -> None:
    append(data_dir, list(entries(20))[n :: BUILDS + 1])
    process(data_dir)
    land(data_dir)


def test_readers_see_whole_builds_and_maintenance_changes_nothing_for_them(tmp_path: Path) -> None:
    data_dir = make_shop(tmp_path / "data")
    with (data_dir / "shopstream.toml").open("a") as file:
        file.write('snapshots_ttl = "1m"\n')
    news(data_dir, 0)
    build(data_dir)
    published = [totals(data_dir)]
    readers = Readers(data_dir)

    def builds_and_maintenance() -> None:
        for n in range(1, BUILDS + 1):
            news(data_dir, n)
            build(data_dir)
            published.append(totals(data_dir))
            maintained = run(shopstream("lake", "maintain", "--data-dir", str(data_dir)))
            assert maintained.returncode == 0, maintained.stderr
            assert totals(data_dir) == published[-1]

    readers.during(builds_and_maintenance)
    assert readers.errors == []
    assert len(published) == len({str(p) for p in published}), "every build brought something new"
    torn = [seen for seen in readers.seen if seen not in published]
    assert torn == []
    assert len({str(seen) for seen in readers.seen}) >= BUILDS, "they saw nearly every build"


def test_two_builds_and_maintenance_at_once_end_as_one(tmp_path: Path) -> None:
    data_dir = make_shop(tmp_path / "data")
    news(data_dir, 0)
    build(data_dir)
    news(data_dir, 1)
    commands = [("build",), ("build",), ("lake", "maintain")]
    running = [
        subprocess.Popen(
            shopstream(*words, "--data-dir", str(data_dir)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for words in commands
    ]
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    # 3: another is at it; its work is done by that other, or by whoever asks next.
    assert {code for _, code in ended} <= {0, 3}, ended
    assert any(code == 0 for _, code in ended), ended
    assert not any("Traceback" in said for said, _ in ended), ended
    build(data_dir)
    whole = make_shop(tmp_path / "whole")
    news(whole, 0)
    news(whole, 1)
    build(whole)
    assert totals(data_dir) == totals(whole)
