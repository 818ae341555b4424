"""A database or `current.json` of the lake is lost: it is told of, and made anew without a row lost
or there twice.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.lake.real_lake import RealLake, cart, click, entry, order, stock

from shopstream.domain.landing import Range
from shopstream.errors import DataDirError
from shopstream.events import TOPICS, Entry
from shopstream.lake.build import build
from shopstream.lake.keeping import RECENT
from shopstream.lake.lag import lag_of
from shopstream.lake.maintain import maintain
from shopstream.lake.plan import Wanted
from shopstream.lake.rebuild import rebuild
from shopstream.lake.verify import Processed, verify
from shopstream.local.landed import Landed

BUILT = (
    *("silver_clicks", "silver_order_lines", "silver_carts", "silver_stock", "silver_offers"),
    *("silver_orders", "gold_daily_sales", "gold_data_quality"),
)
"""What is looked at: a table of each kind."""
Whole: TypeAlias = list[dict[str, list[dict[str, Any]]]]
LINE_BY_LINE = {"on_bad_line": "quarantine_line", "source": "load:lines"}


def round_of(n: int) -> list[Entry]:
    """Events of all topics, good and bad, some of which came in the round before."""
    lines = [{"product_id": f"p{n}", "quantity": n, "unit_price": "2.5"} for _ in range(2)]
    lines.append({"product_id": "bad", "quantity": 0, "unit_price": "x"})
    return [
        entry("clicks", click(f"a{n}", 18), click(f"a{n - 1}", 18), click(f"b{n}", 17 + n)),
        entry("clicks", click(f"c{n}", 18, user_id=f"u{n}"), {"event_type": "view"}),
        entry("orders", order(f"o{n}", 18), order(f"o{n - 1}", 18)),
        entry("orders", order(f"l{n}", 18) | {"lines": lines}, **LINE_BY_LINE),
        entry("carts", cart("u", f"p{n}", 18), cart("u", f"p{n - 1}", 18)),
        entry("stock", stock(f"p{n}", n, 18)),
    ]


def lake_of(folder: Path, rounds: int = 2, **settings: Any) -> RealLake:
    """Some rounds, each landed in files of its own and built."""
    lake = RealLake(folder, **settings)
    for n in range(1, rounds + 1):
        another_round(lake, n)
        make(lake)
    return lake


def make(lake: RealLake, **wanted: Any) -> None:
    lake.build(select=BUILT, **wanted)


def rows_of(lake: RealLake, *without: str) -> dict[str, list[dict[str, Any]]]:
    return {name: lake.rows(name, *without) for name in BUILT}


def another_round(lake: RealLake, n: int) -> None:
    for one in round_of(n):
        lake.append(one)
        lake.land()


def lose(lake: RealLake, name: str) -> None:
    for path in lake.folder.glob(f"{name}*"):
        path.unlink()


def forget(lake: RealLake, events: int) -> int:
    """Have the log forget its first rows, up to so many events; returns where it begins now."""
    with closing(lake.engine.write_log()) as log:
        start = log.trim(events)
    assert start > 0
    return start


def differences(lake: RealLake) -> list[str]:
    report = verify(lake.engine, Processed({}, ()))
    assert report is not None
    return report.differences


def names(lake: RealLake) -> set[str]:
    root = lake.settings.data_dir
    return {str(path.relative_to(root)) for path in (root / "bronze").rglob("*.zst")}


def known(lake: RealLake) -> set[str]:
    with lake.landed() as landed:
        topics = ("clicks", "orders", "carts", "stock", "quarantine")
        return {file.name for topic in topics for file in landed.since(0, topic)}


@contextmanager
def rows_stay(lake: RealLake, *but: str) -> Iterator[None]:
    before = rows_of(lake)
    yield
    after = rows_of(lake)
    assert [name for name in before if before[name] != after[name] and name not in but] == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The rows of a lake that has lost nothing, after each round."""
    lake = lake_of(tmp_path_factory.mktemp("whole"), 0)
    found: Whole = [{}]
    for n in range(1, 5):
        another_round(lake, n)
        make(lake)
        found.append(rows_of(lake))
    return found


# --- landed.db ------------------------------------------------------------------------------------


def test_a_lost_landed_db_is_told_of_with_what_to_do(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "data", 1)
    assert differences(lake) == []
    lose(lake, "landed.db")
    (said,) = differences(lake)
    assert said.startswith("lake/landed.db is missing")
    assert "`shopstream build`" in said
    with pytest.raises(DataDirError, match="`shopstream build` makes it anew"):
        build(lake.settings, dry_run=True)
    (lake.folder / "landed.db").write_bytes(b"no database" * 500)
    for use in (lake.land, lambda: make(lake), lambda: differences(lake)):
        with pytest.raises(DataDirError, match=r"landed.db is damaged .* move it away"):
            use()


@pytest.mark.parametrize("forgotten", [0, 4, 1 << 40])
def test_rows_are_neither_missing_nor_there_twice(
    tmp_path: Path, forgotten: int, whole: Whole
) -> None:
    lake = lake_of(tmp_path / "lost")
    start = forget(lake, forgotten) if forgotten else 0
    before = names(lake)
    lose(lake, "landed.db")
    with rows_stay(lake):
        lake.land()
        assert any("have read what another lake/landed.db" in said for said in differences(lake))
        make(lake)
        assert differences(lake) == []
    assert names(lake) == known(lake) == before
    with lake.landed() as landed:
        assert landed.gaps() == ([Range(0, start)] if start else [])
    another_round(lake, 3)
    make(lake)
    assert rows_of(lake) == whole[3]
    assert differences(lake) == []
    if forgotten == 4:
        with rows_stay(lake):
            make(lake, full=True, alone=True)


def test_what_came_when_it_was_lost_already_is_built_too(tmp_path: Path, whole: Whole) -> None:
    lake = lake_of(tmp_path / "lost")
    lose(lake, "landed.db")
    another_round(lake, 3)
    make(lake, since="2025-11-18")
    lose(lake, "landed.db")
    lake.append(*round_of(4))
    lake.land()
    make(lake)
    assert rows_of(lake) == whole[4]
    assert differences(lake) == []


def test_an_older_copy_of_it_loses_nothing(tmp_path: Path, whole: Whole) -> None:
    lake = lake_of(tmp_path / "lost", 1)
    shutil.copy(lake.folder / "landed.db", tmp_path / "older.db")
    another_round(lake, 2)
    make(lake)
    lose(lake, "landed.db")
    shutil.copy(tmp_path / "older.db", lake.folder / "landed.db")
    another_round(lake, 3)
    make(lake)
    assert rows_of(lake) == whole[3]
    assert differences(lake) == []


def test_an_older_copy_loses_nothing_that_the_log_has_forgotten(
    tmp_path: Path, whole: Whole
) -> None:
    lake = lake_of(tmp_path / "lost", 1)
    older = (lake.folder / "landed.db").read_bytes()
    another_round(lake, 2)
    another_round(lake, 3)
    make(lake)
    forget(lake, 1 << 40)
    lose(lake, "landed.db")
    (lake.folder / "landed.db").write_bytes(older)
    another_round(lake, 4)
    make(lake)
    assert rows_of(lake) == whole[4]
    assert differences(lake) == []
    assert names(lake) == known(lake)
    with rows_stay(lake):
        make(lake, full=True, alone=True)


def test_one_that_says_less_than_was_read_is_read_whole(tmp_path: Path) -> None:
    """Where the builder comes before the lander."""
    lake = lake_of(tmp_path / "lost", 1)
    shutil.copy(lake.folder / "landed.db", tmp_path / "older.db")
    another_round(lake, 2)
    make(lake)
    shutil.copy(tmp_path / "older.db", lake.folder / "landed.db")
    with rows_stay(lake, "gold_data_quality"):  # which has what landed.db says
        steps = build(lake.settings, Wanted(select=BUILT)).steps
    assert "silver_clicks" in {step.table for step in steps}


def test_a_topic_of_which_nothing_came_is_none_that_was_read_elsewhere(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18))
    make(lake)
    lose(lake, "landed.db")
    lake.land()
    (said,) = differences(lake)
    assert said.startswith("lake: silver_clicks have read what another lake/landed.db said")
    make(lake)
    assert differences(lake) == []
    lake.arrive("orders", order("o", 18))
    make(lake)
    assert [row["order_id"] for row in lake.rows("silver_orders")] == ["o"]
    assert differences(lake) == []


def test_tables_of_topics_that_read_nothing_elsewhere_are_compared(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18))
    lake.arrive("stock", stock("p", 1, 18))
    make(lake)
    lose(lake, "landed.db")
    lake.land()
    lake.build(select=("silver_stock",))
    broken = "silver_clicks have read what another"
    assert [broken in said for said in differences(lake)] == [True]
    with lake.engine.write_landed() as landed:
        (file,) = landed.since(0, "stock")
        landed._db.execute("DELETE FROM files WHERE topic = 'stock'")
    (tmp_path / "data" / file.name).unlink()
    assert any("1 stock of silver_stock are not in bronze" in said for said in differences(lake))


def test_the_lag_counts_all_that_a_table_is_to_read_again(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lost", 1)
    shutil.copy(lake.folder / "landed.db", tmp_path / "older.db")
    another_round(lake, 2)
    make(lake)
    assert lag_of(lake.engine).events == 0
    shutil.copy(tmp_path / "older.db", lake.folder / "landed.db")
    with lake.landed() as landed:
        wanted = sum(file.rows for topic in TOPICS for file in landed.since(0, topic))
    assert lag_of(lake.engine).events == wanted > 0


def test_bronze_of_another_log_is_left_alone(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "data", 1)
    before = names(lake)
    lose(lake, "landed.db")
    shutil.rmtree(tmp_path / "data" / "log")
    with pytest.raises(DataDirError, match="move bronze/ and lake/ away"):
        lake.land()
    for n in range(30):
        lake.append(entry("clicks", *(click(f"{n}-{m}", 18) for m in range(5))))
    with pytest.raises(DataDirError, match="move bronze/ and lake/ away"):
        lake.land()
    assert names(lake) == before


def test_a_database_of_before_there_was_an_origin_goes_on(tmp_path: Path, whole: Whole) -> None:
    lake = lake_of(tmp_path / "data", 1)
    with lake.engine.write_landed() as landed:
        last = landed.last()
        landed._db.execute("DROP TABLE origin")
    with Landed.reader(tmp_path / "data") as reader:
        assert (reader.origin(), reader.last()) == (0, last)
    assert differences(lake) == []
    another_round(lake, 2)
    make(lake)
    assert rows_of(lake) == whole[2]
    with lake.landed() as landed:
        assert 0 < last < landed.last() < 100


# --- builds.db ------------------------------------------------------------------------------------


def test_a_lost_builds_db_is_told_of_and_made_of_what_readers_read(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "data", 1)
    with lake.engine.read_builds() as builds:
        recorded = builds.files()
    lose(lake, "builds.db")
    (said,) = differences(lake)
    assert said.startswith("lake/builds.db is missing")
    assert "`shopstream build`" in said
    make(lake)
    assert differences(lake) == []
    with lake.engine.read_builds() as builds:
        assert builds.files() == recorded
    (name,) = lake.files("silver_orders")["2025-11-18"]
    (lake.folder / name).write_bytes(b"damaged")
    assert any("lake rebuild silver_orders" in said for said in differences(lake))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def overwrite_first_page(path: Path) -> None:
    body = path.read_bytes()
    path.write_bytes(body[:4] + bytes(byte ^ 0xFF for byte in body[4:100]) + body[100:])


@pytest.mark.parametrize("damage", [cut_off, overwrite_first_page, Path.unlink])
def test_what_nobody_can_read_is_not_taken_for_what_was_written(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    lake = lake_of(tmp_path / "data", 1)
    rows = rows_of(lake)
    (name,) = lake.files("silver_orders")["2025-11-18"]
    damage(lake.folder / name)
    lose(lake, "builds.db")
    (said,) = differences(lake)
    assert said.startswith("lake/builds.db is missing")
    make(lake)
    found = differences(lake)
    assert any(name in said for said in found)
    assert all("`shopstream lake rebuild silver_orders`" in said for said in found)
    rebuild(lake.settings, "silver_orders")
    assert differences(lake) == []
    assert rows_of(lake) == rows


def test_what_is_no_builds_db_is_to_be_moved_away(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "data", 1)
    lose(lake, "builds.db")
    (lake.folder / "builds.db").write_bytes(b"no database" * 500)
    (said,) = differences(lake)
    assert "lake/builds.db is damaged" in said
    assert "move it away and run `shopstream build`" in said
    with pytest.raises(DataDirError, match="move it away"):
        make(lake)
    lose(lake, "builds.db")
    make(lake)
    assert differences(lake) == []


# --- current.json ---------------------------------------------------------------------------------


def test_a_lost_current_json_is_told_of_and_the_next_build_writes_it(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "data", 1)
    with rows_stay(lake):
        snapshots = lake.snapshots()
        (lake.folder / "current.json").unlink()
        (said,) = differences(lake)
        assert said.startswith("lake/current.json is missing")
        make(lake)
        assert lake.snapshots() == snapshots
    assert differences(lake) == []


def test_of_an_older_copy_whose_files_have_gone_the_next_build_is_the_remedy(
    tmp_path: Path,
) -> None:
    lake = RealLake(tmp_path / "data", snapshots_ttl=timedelta(hours=1))
    few = ("silver_clicks",)
    for n in range(2 * RECENT):
        lake.arrive("clicks", click(f"c{n}", 18))
        lake.build(select=few)
        if not n:
            older = (lake.folder / "current.json").read_bytes()
    newest, days_us = lake.current.tables, 86_400_000_000
    with lake.engine.write_builds() as builds:
        for day in (1, 2, 3):
            maintain(lake.settings, builds, now_us=time.time_ns() // 1_000 + day * days_us)
    (lake.folder / "current.json").write_bytes(older)
    assert not (lake.folder / lake.current.tables["silver_clicks"].files[0]).exists()
    (said,) = differences(lake)
    assert "does not know what readers read: `shopstream build` shows them" in said
    lake.build(select=few)
    assert lake.current.tables["silver_clicks"].files == newest["silver_clicks"].files
    assert differences(lake) == []
