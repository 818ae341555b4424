"""`--at`: tables as they were at a snapshot or a time."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as parquet  # type: ignore[import-untyped]  # it ships no types
import pytest
from tests.ask.published import box_of, publish, rows, settings_of
from tests.ask.test_command import shopstream
from tests.lake.real_lake import RealLake, click, stock

from shopstream.ask.box import Box
from shopstream.ask.tables import Published, describe, list_tables, published
from shopstream.ask.travel import as_of, point_of
from shopstream.errors import DataDirError, SqlError
from shopstream.lake.build import build
from shopstream.lake.catalog import open_catalog, open_table, pointers
from shopstream.lake.maintain import maintain
from shopstream.lake.model import load_models


class History(NamedTuple):
    """A table that was published with 1 and then with 2 rows: its snapshots, a time between."""

    data_dir: Path
    first: int
    second: int
    between: str


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    data_dir = tmp_path_factory.mktemp("travel") / "data"
    sold = [
        {"day": "2026-11-20", "product_id": f"p{n}", "category": "a", "amount": n} for n in (1, 2)
    ]
    publish(data_dir, {"gold_daily_sales": sold})
    (file,) = published(settings_of(data_dir)).files["gold_daily_sales"]
    both = parquet.read_table(data_dir / "lake" / file)
    model = load_models()["gold_daily_sales"]
    table = open_table(open_catalog(data_dir), model, data_dir)
    ids, times = [], []
    for row in (both[:1], both[1:]):
        table.append(row)
        snapshot = table.current_snapshot()
        assert snapshot
        ids.append(snapshot.snapshot_id)
        time.sleep(0.01)
        times.append(datetime.now(UTC))
        time.sleep(0.01)
    return History(data_dir, ids[0], ids[1], times[0].isoformat())


def at(history: History, point: str) -> list[tuple[int]]:
    settings = settings_of(history.data_dir)
    was: Published = as_of(published(settings), point_of(point), ["gold_daily_sales"])
    return rows(Box(settings, was), "SELECT count(*) FROM gold_daily_sales")


def test_a_snapshot_and_a_time_give_what_was_published_then(history: History) -> None:
    assert rows(box_of(history.data_dir), "SELECT count(*) FROM gold_daily_sales") == [(2,)]
    assert at(history, str(history.first)) == [(1,)]
    assert at(history, str(history.second)) == [(2,)]
    assert at(history, history.between) == [(1,)]
    assert at(history, "2999-01-01T00:00:00+01:00") == [(2,)]


def test_a_snapshot_that_is_not_there_has_those_named_that_are(history: History) -> None:
    with pytest.raises(SqlError, match="has no snapshot 7") as unknown:
        at(history, "7")
    assert str(history.first) in str(unknown.value)
    with pytest.raises(SqlError, match="no snapshot from 2020-01-01T00:00:00Z or before"):
        at(history, "2020-01-01")


@pytest.mark.parametrize("damage", [b"", b"{", b'{"format-version": 2}'])
def test_damaged_metadata_is_told_in_one_line(history: History, damage: bytes) -> None:
    newest = Path(pointers(history.data_dir)["gold_daily_sales"].removeprefix("file://"))
    whole = newest.read_bytes()
    newest.write_bytes(damage)
    try:
        with pytest.raises(DataDirError, match="metadata can't be read") as told:
            at(history, str(history.first))
    finally:
        newest.write_bytes(whole)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["yesterday", "2026-11-21T12:00:00", "-5", "", "2026-13-01"])
def test_what_is_no_point_in_time_is_refused(text: str) -> None:
    with pytest.raises(SqlError, match="2026-11-21T12:00:00Z"):
        point_of(text)


def test_a_time_within_a_build_gives_what_readers_saw_then(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18))
    lake.build()
    lake.arrive("clicks", click("b", 18))
    report = build(lake.settings, on_step=lambda *_: time.sleep(0.02))
    assert report.failed == []
    silver = lake.current.tables["silver_clicks"].built_at
    gold = lake.current.tables["gold_traffic"].built_at
    assert silver
    assert gold
    assert silver < gold
    names = ["silver_clicks", "gold_traffic"]
    query = "SELECT (SELECT count(*) FROM silver_clicks), (SELECT sum(events) FROM gold_traffic)"

    def seen(at: datetime) -> list[tuple[int, ...]]:
        was = as_of(published(lake.settings), at, names)
        return rows(Box(lake.settings, was), query)

    assert seen(silver + (gold - silver) / 2) == [(1, 1)]
    assert seen(datetime.now(UTC)) == [(2, 2)]


KILLED = """
import os, sys
from pathlib import Path
from shopstream.lake.build import build
from shopstream.local.builds import Builds
from shopstream.settings import Settings
Builds.end = lambda *_: os._exit(9)
build(Settings(data_dir=Path(sys.argv[1])))
"""


def test_a_build_that_was_killed_when_it_had_published_is_known_at_its_time(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18))
    lake.build()
    lake.arrive("clicks", click("b", 18))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(lake.settings.data_dir)], check=False, timeout=120
    )
    assert (killed.returncode, lake.current.tables["silver_clicks"].rows) == (9, 2)
    shown_at, between = lake.current.built_at, datetime.now(UTC)

    def seen(at: datetime) -> list[tuple[int, ...]]:
        was = as_of(published(lake.settings), at, ["silver_clicks"])
        return rows(Box(lake.settings, was), "SELECT count(*) FROM silver_clicks")

    with lake.engine.write_builds() as builds:
        maintain(lake.settings, builds)
    lake.arrive("clicks", click("c", 18))
    lake.build()
    just_before = shown_at - timedelta(microseconds=1)
    found = [seen(at) for at in (just_before, shown_at, between, datetime.now(UTC))]
    assert found == [[(1,)], [(2,)], [(2,)], [(3,)]]


def test_a_table_that_was_not_published_keeps_the_time_of_its_rows(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18))
    lake.build()
    before = {table.table: table.built_at for table in list_tables(lake.settings)}
    lake.arrive("stock", stock("p", 3, 18))
    lake.build()
    after = {table.table: table.built_at for table in list_tables(lake.settings)}
    assert (
        after["silver_clicks"]
        == before["silver_clicks"]
        == describe(lake.settings, "silver_clicks").built_at
    )
    was, now = before["silver_stock"], after["silver_stock"]
    assert was
    assert now
    assert was < now


def test_the_command_asks_the_tables_of_then(history: History) -> None:
    query = "SELECT count(*) AS n FROM gold_daily_sales"
    at = ("--at", str(history.first))
    assert json.loads(shopstream(history.data_dir, "sql", query, *at).stdout) == [{"n": 1}]
    exported = shopstream(history.data_dir, "export", "gold_daily_sales", "--at", history.between)
    assert len(exported.stdout.splitlines()) == 2
    other = shopstream(history.data_dir, "sql", "FROM gold_funnel", *at, code=2)
    assert "gold_funnel was never published" in other.stderr
