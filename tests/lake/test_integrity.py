"""What was damaged isn't built upon, and nothing that arrived is passed over."""

import os
import shutil
import time
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import zstandard
from msgspec import structs
from tests.lake.real_lake import ARRIVAL, RealLake, click, offer, order

import shopstream.lake.build as build_module
from shopstream.errors import ConfigError
from shopstream.lake.build import build
from shopstream.lake.fingerprint import fingerprint
from shopstream.lake.lag import lag_of
from shopstream.lake.model import load_models, load_sources
from shopstream.lake.plan import Wanted
from shopstream.lake.rebuild import rebuild
from shopstream.lake.reland import reland
from shopstream.lake.report import BuildReport
from shopstream.lake.staging import Staging
from shopstream.lake.verify import Processed, verify

pytestmark = pytest.mark.slow
DAY_S = 86_400.0


@pytest.fixture
def lake(tmp_path: Path) -> RealLake:
    """Clicks and orders of the 18th and 19th, built."""
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18), click("b", 19))
    lake.arrive("orders", order("o1", 18), order("o2", 19))
    lake.build()
    return lake


def launder(lake: RealLake, name: str, change: str) -> None:
    """Have a data file say something else and be a whole Parquet file nonetheless."""
    path = lake.folder / name
    other = path.with_suffix(".other")
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT * REPLACE ({change}) FROM '{path}') TO '{other}' (FORMAT parquet)"
        )
    other.replace(path)


@pytest.mark.parametrize(
    ("table", "topic", "event", "change"),
    [
        ("silver_clicks", "clicks", click("c", 18), "'w' AS event_type"),
        ("silver_order_lines", "orders", order("o3", 18), "9 AS quantity"),
    ],
)
def test_a_build_makes_nothing_of_a_damaged_file_of_a_table(
    lake: RealLake, table: str, topic: str, event: dict[str, object], change: str
) -> None:
    (name,) = lake.files(table)["2025-11-18"]
    launder(lake, name, change)
    lake.arrive(topic, event)
    for _ in range(2):
        report = build(lake.settings)
        assert report.failed == [table]
        (said,) = next(built.failures for built in report.tables if built.failures)
        assert name in said
        assert f"shopstream lake rebuild {table}" in said
    rebuild(lake.settings, table)
    whole = RealLake(lake.settings.data_dir.with_name("whole"))
    whole.arrive("clicks", click("a", 18), click("b", 19))
    whole.arrive("orders", order("o1", 18), order("o2", 19))
    whole.arrive(topic, event)
    whole.build()
    assert lake.rows(table, *ARRIVAL) == whole.rows(table, *ARRIVAL)


def test_a_damaged_file_of_another_day_holds_nothing_up(lake: RealLake) -> None:
    (name,) = lake.files("silver_clicks")["2025-11-19"]
    launder(lake, name, "'w' AS event_type")
    lake.arrive("clicks", click("c", 18))
    assert "silver_clicks" not in build(lake.settings).failed


def test_a_build_makes_nothing_of_bronze_that_is_not_what_was_landed(lake: RealLake) -> None:
    rows = lake.rows("silver_clicks")
    lake.arrive("clicks", click("c", 18))
    path = max((lake.settings.data_dir / "bronze" / "clicks").rglob("*.zst"))
    body = path.read_bytes()
    said = zstandard.decompress(body, max_output_size=1 << 20)
    other = zstandard.compress(said.replace(b'"view"', b'"cart"'))
    path.write_bytes(other)
    report = build(lake.settings)
    assert report.failed == ["silver_clicks"]
    (why,) = next(built.failures for built in report.tables if built.failures)
    assert str(path.name) in why
    assert "shopstream lake reland" in why
    assert lake.rows("silver_clicks") == rows
    path.write_bytes(body)
    lake.build()
    assert len(lake.rows("silver_clicks")) == 3


def forget_log(lake: RealLake) -> None:
    """Have the log forget all but what came last."""
    with closing(lake.engine.write_log()) as log:
        assert log.trim(99) > 0


def spoil(lake: RealLake, *, gone: bool = False, newest: bool = False) -> Path:
    """Have one bronze file of clicks be damaged, or gone."""
    pick = max if newest else min
    path: Path = pick((lake.settings.data_dir / "bronze" / "clicks").rglob("*.zst"))
    if gone:
        path.unlink()
    else:
        path.write_bytes(b"damaged")
    return path


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("wanted", [Wanted(full=True), Wanted(since="2025-11-18")])
def test_a_table_keeps_what_it_has_of_bronze_that_nothing_can_make_anew(
    lake: RealLake, wanted: Wanted, *, gone: bool
) -> None:
    rows = lake.rows("silver_clicks", *ARRIVAL)
    forget_log(lake)
    path = spoil(lake, gone=gone)
    lake.arrive("clicks", click("c", 20))
    lake.build()
    assert build(lake.settings, wanted).failed == []
    assert [r for r in lake.rows("silver_clicks", *ARRIVAL) if r["event_id"] != "c"] == rows
    assert any(path.name in said for said in differences(lake))


def test_it_waits_for_bronze_that_the_log_can_make_anew(lake: RealLake) -> None:
    path = spoil(lake)
    report = build(lake.settings, Wanted(full=True))
    assert report.failed == ["silver_clicks"]
    (said,) = failures(report)
    assert path.name in said
    assert "`shopstream lake reland`" in said
    assert reland(lake.settings).lost == {}
    lake.build(full=True)


@pytest.mark.parametrize("gone", [False, True])
def test_bronze_that_is_lost_before_a_table_has_read_it_is_given_up_when_told_to(
    lake: RealLake, *, gone: bool
) -> None:
    lake.arrive("clicks", click("c", 18))
    lake.arrive("clicks", click("d", 19))
    forget_log(lake)
    path = spoil(lake, gone=gone, newest=True)
    for report in (build(lake.settings), rebuild(lake.settings, "silver_clicks").build):
        assert report.failed == ["silver_clicks"]
        assert "`shopstream lake rebuild silver_clicks --anyway`" in failures(report)[0]
        assert len(lake.rows("silver_clicks")) == 2
    assert rebuild(lake.settings, "silver_clicks", anyway=True).build.failed == []
    assert {row["event_id"] for row in lake.rows("silver_clicks")} == {"a", "b", "c"}
    assert any(path.name in said for said in differences(lake))
    lake.arrive("clicks", click("e", 19))
    lake.build()
    assert len(lake.rows("silver_clicks")) == 4


def test_a_table_is_made_anew_of_all_that_bronze_has_though_landed_db_is_an_older_copy(
    lake: RealLake, tmp_path: Path
) -> None:
    shutil.copy(lake.folder / "landed.db", tmp_path / "older.db")
    lake.arrive("clicks", click("c", 18))
    lake.build()
    rows = lake.rows("silver_clicks", *ARRIVAL)
    for path in lake.folder.glob("landed.db*"):
        path.unlink()
    shutil.copy(tmp_path / "older.db", lake.folder / "landed.db")
    (lake.folder / lake.files("silver_clicks")["2025-11-18"][0]).write_bytes(b"damaged")
    rebuild(lake.settings, "silver_clicks")
    assert lake.rows("silver_clicks", *ARRIVAL) == rows
    assert len(rows) == 3


def put_offer(lake: RealLake, number: int, at_s: float) -> Path:
    """An offer of the 18th, and the folder of its day as changed at `at_s`."""
    lake.put([(number, "offers", offer(f"o{number}", 18))])
    folder = lake.settings.data_dir / "archive" / "offers" / "dt=2025-11-18"
    os.utime(folder, (at_s, at_s))
    return folder


@pytest.mark.parametrize("first_s", [400 * DAY_S, 30 * DAY_S, 0.0])
def test_offers_are_read_though_the_clock_was_set_back(lake: RealLake, first_s: float) -> None:
    now_s = time.time()
    put_offer(lake, 0, now_s + first_s)
    lake.build()
    put_offer(lake, 1, now_s)
    lake.build()
    put_offer(lake, 2, now_s + 20 * DAY_S)
    lake.build()
    assert [row["offer_id"] for row in lake.rows("silver_offers")] == ["o0", "o1", "o2"]


def test_offers_of_a_folder_that_seems_older_are_read_after_a_build_ahead_of_time(
    lake: RealLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.time()
    put_offer(lake, 0, now_s + 400 * DAY_S)
    with monkeypatch.context() as ahead:
        ahead.setattr(build_module, "_now_us", lambda: int((now_s + 400 * DAY_S) * 1e6))
        lake.build()
    put_offer(lake, 1, now_s)
    lake.build()
    assert len(lake.rows("silver_offers")) == 2


def test_the_lag_counts_offers_of_a_range_of_which_a_day_came_later(lake: RealLake) -> None:
    lake._put_offers([offer("a", 18)], 7)
    lake.build()
    before = lag_of(lake.engine).events
    lake._put_offers([offer("b", 19)], 7)
    assert lag_of(lake.engine).events == before + 1
    lake.build()
    assert lag_of(lake.engine).events == before
    assert len(lake.rows("silver_offers")) == 2


def test_check_names_archived_offers_that_were_passed_over(lake: RealLake) -> None:
    put_offer(lake, 0, time.time())
    lake.build()
    assert unread(lake) == []
    folder = put_offer(lake, 1, time.time() - 2 * DAY_S)
    path = max(folder.iterdir())
    os.utime(path, (time.time() - 2 * DAY_S,) * 2)
    (said,) = unread(lake)
    assert f"archive/offers/{folder.name}/{path.name}" in said
    rebuild(lake.settings, "silver_offers")
    assert unread(lake) == []


def differences(lake: RealLake) -> list[str]:
    report = verify(lake.engine, Processed({}, []))
    assert report is not None
    return report.differences


def unread(lake: RealLake) -> list[str]:
    return [found for found in differences(lake) if "archive" in found]


def test_offers_that_the_archive_has_no_more_are_not_given_up_unasked(lake: RealLake) -> None:
    folder = put_offer(lake, 0, time.time())
    put_offer(lake, 1, time.time())
    lake.build()
    min(folder.iterdir()).unlink()
    with pytest.raises(ConfigError, match=r"has 2 offers and the archive only 1 .*archive_ttl"):
        rebuild(lake.settings, "silver_offers")
    assert len(lake.rows("silver_offers")) == 2
    rebuild(lake.settings, "gold_offer_performance")
    assert len(lake.rows("silver_offers")) == 2
    rebuild(lake.settings, "silver_offers", anyway=True)
    assert [row["offer_id"] for row in lake.rows("silver_offers")] == ["o1"]


def test_days_that_bronze_has_no_more_are_not_given_up_unasked(lake: RealLake) -> None:
    lake.put([(50, "clicks", click("d", 17))])
    lake.build()
    rows = lake.rows("silver_clicks")
    with lake.engine.write_landed() as landed:
        names = landed.expire("2025-11-21T11")
        landed.forget(names)
    assert names
    lake.put([(51, "clicks", click("e", 18))])
    lake.build()
    with pytest.raises(ConfigError, match=r"has 2 days, the first 2025-11-17, of which bronze"):
        rebuild(lake.settings, "silver_clicks")
    assert len(lake.rows("silver_clicks")) == len(rows) + 1


def test_rows_that_bronze_has_no_more_are_not_given_up_though_it_has_others_of_their_days(
    lake: RealLake,
) -> None:
    lake.arrive("clicks", click("a", 18), click("c", 18))
    lake.arrive("orders", order("o3", 18))
    lake.build()
    with lake.engine.write_landed() as landed:
        for topic in ("clicks", "orders"):
            newest = landed.since(0, topic)[-1]
            landed._db.execute("UPDATE files SET expired = 1 WHERE id = ?", (newest.id,))
        landed.forget(landed.expire(""))
    for table, lost in (("silver_clicks", "1 clicks"), ("silver_order_lines", "1 orders")):
        rows = lake.rows(table)
        with pytest.raises(ConfigError, match=f"{table} has {lost} of which bronze has nothing"):
            rebuild(lake.settings, table)
        assert lake.rows(table) == rows
        (lake.folder / lake.current.tables[table].files[0]).write_bytes(b"?")
        rebuild(lake.settings, table, anyway=True)
        assert len(lake.rows(table)) == len(rows) - 1
        rebuild(lake.settings, table)


def test_a_build_clears_away_what_builds_left_and_nothing_of_a_check(lake: RealLake) -> None:
    for name in ("7-killed", "check-running"):
        (lake.folder / "tmp" / name).mkdir(parents=True)
    lake.build()
    assert [path.name for path in lake.folder.glob("tmp/*")] == ["check-running"]


@pytest.mark.parametrize("of", ["sql", "raw"])
def test_a_table_is_made_anew_when_its_source_is_read_in_another_way(of: str) -> None:
    model, sources = load_models()["silver_order_lines"], load_sources()
    (name,) = (name for name in model.reads if name in sources)
    source = sources[name]
    held = {**(getattr(source, of) or {})}
    held[next(iter(held))] += " "
    other = {**sources, name: structs.replace(source, **{of: held})}
    assert fingerprint(model, other) != fingerprint(model, sources)
    unread = {key: each for key, each in other.items() if key == name}
    assert fingerprint(model, unread) == fingerprint(model, other)


def failures(report: BuildReport) -> list[str]:
    return [said for built in report.tables for said in built.failures]


def test_a_file_that_no_reader_can_read_is_named_in_one_line(lake: RealLake) -> None:
    (name,) = lake.files("silver_order_lines")["2025-11-18"]
    path = lake.folder / name
    path.write_bytes(path.read_bytes()[:-20])
    lake.arrive("orders", order("o3", 19))
    (said,) = failures(build(lake.settings))
    assert name in said
    assert "shopstream lake rebuild silver_order_lines" in said
    assert "\n" not in said
    assert "LINE 1" not in said


def test_a_table_that_needs_too_much_memory_holds_up_no_other(
    lake: RealLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = Staging._bind

    def bind_too_much(staging: Staging) -> None:
        if staging._model.name == "silver_clicks":
            raise duckdb.OutOfMemoryException("Out of Memory Error: no\n\nPossible solutions:\n*")
        bind(staging)

    monkeypatch.setattr(Staging, "_bind", bind_too_much)
    lake.arrive("clicks", click("c", 18))
    lake.arrive("orders", order("o3", 19))
    report = build(lake.settings)
    assert report.failed == ["silver_clicks"]
    (said,) = failures(report)
    assert "build_memory" in said
    assert "\n" not in said
    assert len(lake.rows("silver_order_lines")) == 3
    monkeypatch.undo()
    lake.build()
    assert len(lake.rows("silver_clicks")) == 3
