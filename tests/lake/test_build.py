"""What a build does to the tables: only what is new, all or nothing, and healed by the next."""

import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from pyiceberg.types import StringType
from tests.lake.real_lake import RealLake, cart, click, entry, offer, order, stock

import shopstream.lake.model as model_files
from shopstream.errors import Busy, ConfigError, DataDirError
from shopstream.events import Alert
from shopstream.lake import state
from shopstream.lake.build import build
from shopstream.lake.catalog import open_catalog
from shopstream.lake.current import Current, TableNow, view_sql, write_current
from shopstream.lake.model import NAMESPACE, load_models
from shopstream.lake.plan import Step, Wanted, descendants, grown
from shopstream.lake.rebuild import rebuild
from shopstream.lake.staging import Staging
from shopstream.local.delivery import run_notifier

pytestmark = pytest.mark.slow

OF_CLICKS = {"silver_clicks", *descendants(load_models(), "silver_clicks")}
OF_ORDERS = {"silver_order_lines", *descendants(load_models(), "silver_order_lines")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name, and beside it a copy of it with a lake: clicks and orders
    of the 18th and 19th.

    Iceberg writes whole paths into its metadata, so each test has the lake in the one place.
    """
    folder = tmp_path_factory.mktemp("built") / "a shop's data"
    lake = RealLake(folder)
    lake.append(
        entry("clicks", click("a", 18), click("b", 19), click("c", 19, minute=615)),
        entry("orders", order("o1", 18), order("o2", 19, "placed")),
    )
    lake.land()
    lake.build()
    shutil.copytree(folder, folder.with_name("copy"))
    return folder


@pytest.fixture
def lake(built: Path) -> RealLake:
    """The lake that was built, as it was then."""
    shutil.rmtree(built)
    shutil.copytree(built.with_name("copy"), built)
    return RealLake(built, notify=["file://alerts.ndjson"])


def same_as_at_once(lake: RealLake, folder: Path) -> bool:
    """Whether the tables are those that one build of the whole log makes."""
    once = RealLake(folder)
    for kind in ("log", "archive"):
        if (lake.settings.data_dir / kind).exists():
            shutil.copytree(lake.settings.data_dir / kind, folder / kind, dirs_exist_ok=True)
    once.land()
    once.build()
    for name, rows in once.all_rows().items():
        assert lake.rows(name) == rows, name
    return True


def state_of(folder: Path) -> dict[Path, tuple[int, int]]:
    """All files but SQLite's own beside its databases, which reading makes too."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


# --- only what is new -------------------------------------------------------------------------


def test_a_late_event_changes_its_day_and_those_it_reaches_of_what_is_made_of_its_topic_alone(
    lake: RealLake, tmp_path: Path
) -> None:
    before = {name: lake.files(name) for name in load_models()}
    snapshots = lake.snapshots()
    lake.arrive("clicks", click("late", 18, minute=610))
    report = lake.build()
    assert {built.table for built in report.tables} == OF_CLICKS | {"gold_data_quality"}
    for name, model in load_models().items():
        after = lake.files(name)
        if name not in OF_CLICKS | {"gold_data_quality"}:
            assert after == before[name], name
            assert lake.snapshots()[name] == snapshots[name]
        elif model.partition:
            assert after["2025-11-18"] != before[name]["2025-11-18"], name
            kept = after["2025-11-19"] == before[name]["2025-11-19"]
            assert kept == ("silver_clicks" not in model.reach), name
    assert same_as_at_once(lake, tmp_path / "once")


def test_a_click_that_is_sent_again_across_midnight_is_there_once(
    lake: RealLake, tmp_path: Path
) -> None:
    """The first that arrived stays, also after another table was made of its day."""
    again = click("a", 19, event_type="purchase", product_id="p")
    lake.arrive("clicks", again, click("d", 20), click("a", 10))
    lake.build()
    found = [(str(row["day"]), row["event_id"]) for row in lake.rows("silver_clicks")]
    days = {"a": "2025-11-18", "b": "2025-11-19", "c": "2025-11-19", "d": "2025-11-20"}
    assert sorted(found) == sorted([(day, id) for id, day in days.items()] + [("2025-11-10", "a")])
    assert same_as_at_once(lake, tmp_path / "once")


@pytest.mark.parametrize("full", [False, True])
def test_a_copy_that_is_newer_than_all_else_holds_nothing_up(lake: RealLake, *, full: bool) -> None:
    lake.arrive("clicks", click("a", 22))
    lake.build(full=full)
    assert [str(r["day"]) for r in lake.rows("silver_clicks") if r["event_id"] == "a"] == [
        "2025-11-18"
    ]


def test_a_copy_whose_first_is_read_later_goes_and_what_was_made_of_its_day_is_made_anew(
    lake: RealLake, tmp_path: Path
) -> None:
    """As where files of a partition are late: the place in the log says who came first."""
    first = 10, "clicks", click("x", 17, event_type="purchase", product_id="p")
    copy = 11, "clicks", click("x", 18, event_type="purchase", product_id="p")
    lake.put([copy])
    lake.build()
    lake.put([first])
    lake.build()
    bought = {
        str(row["day"]): row["purchases"]
        for row in lake.rows("gold_product_performance")
        if row["units"] == 1
    }
    assert bought == {"2025-11-17": 1}
    days = [str(row["day"]) for row in lake.rows("silver_clicks") if row["event_id"] == "x"]
    assert days == ["2025-11-17"]


def test_an_order_across_midnight_takes_the_place_of_its_purchase_click(lake: RealLake) -> None:
    """Whichever comes first; more than a day away it stands beside it."""
    for n, day in enumerate((12, 13)):
        bought = click(f"p{n}", day, event_type="purchase", product_id="q", order_id="o3")
        lake.arrive("clicks", bought | {"price": "1.5", "quantity": 2, "currency": "EUR"})
    lake.build()
    assert purchases_of(lake, "q") == {"2025-11-12": 1, "2025-11-13": 1}
    line = {"product_id": "q", "quantity": 2, "unit_price": "1.5"}
    lake.arrive("orders", order("o3", 14, lines=[line]))
    lake.build()
    assert purchases_of(lake, "q") == {"2025-11-12": 1, "2025-11-13": 0, "2025-11-14": 1}
    late = click("p2", 15, event_type="purchase", product_id="q", order_id="o3")
    lake.arrive("clicks", late)
    lake.build()
    assert purchases_of(lake, "q")["2025-11-15"] == 0
    lake.build(full=True)
    assert sum(purchases_of(lake, "q").values()) == 2


def purchases_of(lake: RealLake, product: str) -> dict[str, int]:
    rows = lake.rows("gold_product_performance")
    return {str(row["day"]): row["purchases"] for row in rows if row["product_id"] == product}


def test_nothing_new_makes_no_snapshot_and_no_build(lake: RealLake) -> None:
    before = state_of(lake.folder)
    report = lake.build()
    assert (report.build, report.steps, report.tables) == (0, [], [])
    assert state_of(lake.folder) == before


def test_an_order_paid_later_is_counted_on_the_day_it_was_placed(lake: RealLake) -> None:
    lake.arrive("orders", order("o2", 20), order("o1", 17, "placed"))
    lake.build()
    counted = {
        (row["order_id"], row["status"]): (str(row["day"]), row["counts_as"])
        for row in lake.rows("silver_order_lines")
    }
    assert counted == {
        ("o1", "placed"): ("2025-11-17", "sold"),
        ("o1", "paid"): ("2025-11-18", "none"),
        ("o2", "placed"): ("2025-11-19", "sold"),
        ("o2", "paid"): ("2025-11-20", "none"),
    }
    # The 18th had no news: what it had sold is now sold on the 17th.
    sold = {str(row["day"]): row["units"] for row in lake.rows("gold_daily_sales") if row["units"]}
    assert sold == {"2025-11-17": 2, "2025-11-19": 2}


def test_one_table_can_be_built_and_then_all_that_is_made_of_it(lake: RealLake) -> None:
    lake.arrive("clicks", click("d", 20))
    report = lake.build(select=("silver_clicks",))
    assert [built.table for built in report.tables] == ["silver_clicks"]
    assert len(lake.rows("silver_clicks")) == 4
    assert {str(row["day"]) for row in lake.rows("gold_funnel")} == {"2025-11-18", "2025-11-19"}
    report = lake.build(select=("silver_clicks+",))
    assert {built.table for built in report.tables} == OF_CLICKS - {"silver_clicks"}
    assert "2025-11-20" in {str(row["day"]) for row in lake.rows("gold_funnel")}
    assert [b.table for b in lake.build().tables] == ["gold_data_quality"]


def test_a_table_nobody_knows_is_refused(lake: RealLake) -> None:
    with pytest.raises(ConfigError, match="--select silver_cliks: there is no such table"):
        build(lake.settings, Wanted(select=("silver_cliks",)))


def test_a_range_is_built_again_and_no_day_beside_it(lake: RealLake, tmp_path: Path) -> None:
    lake.arrive("clicks", click("d", 20))
    lake.build()
    before = {name: lake.files(name) for name in load_models()}
    rows = lake.all_rows()
    lake.build(since="2025-11-19", until="2025-11-19")
    for name, model in load_models().items():
        if model.partition and before[name]:
            changed = {day for day, at in lake.files(name).items() if at != before[name][day]}
            reach = max(model.reach.values(), default=0)
            assert changed <= (grown(frozenset({"2025-11-19"}), reach) or set()), name
    assert lake.files("silver_clicks")["2025-11-19"] != before["silver_clicks"]["2025-11-19"]
    assert lake.files("gold_funnel")["2025-11-19"] != before["gold_funnel"]["2025-11-19"]
    assert lake.all_rows() == rows
    assert lake.build().build == 0
    assert same_as_at_once(lake, tmp_path / "once")


def test_a_range_takes_nothing_new_along_which_the_next_build_then_finds(lake: RealLake) -> None:
    lake.arrive("clicks", click("d", 19, minute=700), click("e", 17))
    lake.build(since="2025-11-19")
    assert len(lake.rows("silver_clicks")) == 3
    lake.build()
    assert len(lake.rows("silver_clicks")) == 5


def test_tables_of_the_last_days_have_the_rows_that_all_days_would_give(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    first = datetime(2025, 9, 25, 10, tzinfo=UTC)
    for n in range(45):
        at = {"timestamp": (first + timedelta(days=n)).isoformat()}
        lake.append(
            entry("clicks", click(f"c{n}", 1, f"u{n}", product_id="p0", event_type="add_to_cart")
                  | at),
            entry("carts", cart(f"v{n}", "p1", 1) | at),
            entry("orders", order(f"o{n}", 1, customer_id=f"u{n + 2}") | at),
            entry("stock", stock("p", 10 * n, 1) | at),
        )  # fmt: skip
    lake.land()
    lake.build()
    models = load_models()
    of_last_days = [model for model in models.values() if model.last_days is not None]
    assert {model.name for model in of_last_days} == {
        "gold_abandoned_items",
        "gold_inventory_health",
    }
    for model in of_last_days:
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            for name in model.reads:
                files = [str(lake.folder / file) for file in lake.current.tables[name].files]
                con.execute(f"CREATE VIEW {name} AS {view_sql(models[name], files)}")
            columns = ", ".join(f'CAST("{n}" AS {kind})' for n, kind in model.types.items())
            of_all = con.execute(f"SELECT {columns} FROM ({model.sql})").fetchall()
        found = [tuple(row.values()) for row in lake.rows(model.name)]
        assert found
        assert sorted(map(repr, found)) == sorted(map(repr, of_all))
    # 31 days, the first of which only just belongs to them, and the last of each kind.
    assert len(lake.rows("gold_abandoned_items")) == 2 * 31 - 2


def test_a_full_build_makes_all_again_and_the_same(lake: RealLake) -> None:
    rows, files = lake.all_rows(), set(lake.files("silver_clicks")["2025-11-18"])
    report = lake.build(full=True)
    assert {(b.table, b.mode) for b in report.tables} == {(name, "full") for name in load_models()}
    assert lake.all_rows() == rows
    assert not files & set(lake.files("silver_clicks")["2025-11-18"])


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(lake: RealLake) -> None:
    lake.arrive("clicks", click("d", 20))
    before = state_of(lake.settings.data_dir)
    steps = build(lake.settings, dry_run=True).steps
    assert steps[0].table == "gold_data_quality"
    told = {step.table: step for step in steps}
    assert told.keys() == OF_CLICKS | {"gold_data_quality"}
    assert told["silver_clicks"] == Step("silver_clicks", "days", ["2025-11-20"], 1, "1 new file")
    assert state_of(lake.settings.data_dir) == before
    assert [step.table for step in lake.build().steps] == [step.table for step in steps]


def test_the_first_build_of_nothing_makes_empty_tables(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    assert build(lake.settings, dry_run=True).steps
    assert not lake.folder.exists()
    lake.build()
    assert {name for name, rows in lake.all_rows().items() if rows} == set()
    assert lake.build().build == 0


# --- tables whose tests fail ------------------------------------------------------------------


def alerts(lake: RealLake) -> list[str]:
    """What the notifier has delivered, after a look for more."""
    run_notifier(lake.settings, until_idle=True, write=print)
    path = lake.settings.data_dir / "alerts.ndjson"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Alert).subject for line in lines]


def test_a_table_that_fails_its_tests_keeps_what_it_had_and_so_does_what_is_made_of_it(
    lake: RealLake, tmp_path: Path
) -> None:
    before, rows = lake.snapshots(), lake.all_rows()
    lake.put([(90, "orders", order("o3", 19, "paid") | {"status": "lost"})])
    for _ in range(3):
        report = build(lake.settings)
        assert report.failed == ["silver_order_lines"]
        results = {built.table: built for built in report.tables}
        assert "accepted_values" in results["silver_order_lines"].failures[0]
        assert {t for t, built in results.items() if built.kept_back} == OF_ORDERS - {
            "silver_order_lines"
        }
        assert {name: lake.snapshots()[name] for name in OF_ORDERS} == {
            name: before[name] for name in OF_ORDERS
        }
        assert {name: lake.rows(name) for name in OF_ORDERS} == {n: rows[n] for n in OF_ORDERS}
        assert alerts(lake) == ["Table silver_order_lines failed its tests: accepted_values"]


def taking_lost(yml: str) -> str:
    return yml.replace("accepted_values: [placed,", "accepted_values: [lost, placed,")


def test_days_missed_while_a_table_failed_are_made_up_for(
    lake: RealLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.put([(90, "orders", order("o3", 19, "lost"))])
    assert build(lake.settings).failed == ["silver_order_lines"]
    # Clicks go on meanwhile, and what is made of both waits.
    for day, event_id in ((17, "x"), (18, "y"), (20, "z")):
        lake.put([(100 + day, "clicks", click(event_id, day, product_id="p9"))])
        assert build(lake.settings).failed == ["silver_order_lines"]
    assert len(lake.rows("silver_clicks")) == 6
    assert "p9" not in {row["product_id"] for row in lake.rows("gold_product_performance")}
    mended = models_with(
        tmp_path / "models", silver_order_lines_yml=taking_lost, silver_orders_yml=taking_lost
    )
    use(monkeypatch, mended)
    report = lake.build()
    assert {built.table for built in report.tables} == OF_ORDERS
    seen = {str(r["day"]): r["views"] for r in lake.rows("gold_product_performance") if r["views"]}
    assert seen == {"2025-11-17": 1, "2025-11-18": 1, "2025-11-20": 1}
    assert "o3" in {row["order_id"] for row in lake.rows("silver_orders")}
    # It was good again: the next time it fails is worth another alert.
    monkeypatch.undo()
    lake.put([(200, "orders", order("o4", 19, "lost"))])
    assert build(lake.settings).failed == ["silver_order_lines"]
    assert alerts(lake) == ["Table silver_order_lines failed its tests: accepted_values"] * 2


def test_what_is_made_of_a_table_that_fails_first_of_all_is_not_there(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.put([(0, "offers", offer("a", 18) | {"reason": None})])
    report = build(lake.settings)
    assert report.failed == ["silver_offers"]
    assert lake.snapshots().keys() == load_models().keys() - {
        "silver_offers",
        "gold_offer_performance",
    }


def cut_short(body: bytes) -> bytes:
    return body[:-20]


def flipped(body: bytes) -> bytes:
    return body[:40] + bytes([body[40] ^ 0xFF]) + body[41:]


@pytest.mark.parametrize("spoil", [cut_short, flipped])
def test_a_damaged_file_of_bronze_holds_up_its_table_alone(
    lake: RealLake, spoil: Callable[[bytes], bytes]
) -> None:
    lake.arrive("clicks", click("d", 19))
    lake.arrive("stock", stock("q", 3, 18))
    (path,) = (lake.settings.data_dir / "bronze" / "stock").rglob("*.zst")
    body = path.read_bytes()
    path.write_bytes(spoil(body))
    report = build(lake.settings)
    assert report.failed == ["silver_stock"]
    assert len(lake.rows("silver_clicks")) == 4
    assert alerts(lake) == ["Table silver_stock failed its tests: build"]
    path.write_bytes(body)
    lake.build()
    assert [row["product_id"] for row in lake.rows("silver_stock")] == ["q"]


def test_a_damaged_file_of_a_table_holds_up_that_table_until_it_is_built_anew(
    lake: RealLake,
) -> None:
    rows = lake.rows("silver_order_lines")
    (name,) = lake.files("silver_order_lines")["2025-11-18"]
    (lake.folder / name).unlink()
    lake.arrive("orders", order("o9", 18))
    lake.arrive("clicks", click("d", 19))
    assert build(lake.settings).failed == ["silver_order_lines"]
    assert len(lake.rows("silver_clicks")) == 4
    rebuild(lake.settings, "silver_order_lines")
    lake.build()
    assert [row for row in lake.rows("silver_order_lines") if row["order_id"] != "o9"] == rows


# --- builds that come to no end ---------------------------------------------------------------


class _Cut(Exception):
    pass


def cut_at(step: int) -> Callable[[Step, int, int], None]:
    def on_step(_: Step, number: int, __: int) -> None:
        if number == step:
            raise _Cut

    return on_step


def test_a_build_cut_off_between_any_two_tables_is_healed_by_the_next(
    lake: RealLake, tmp_path: Path
) -> None:
    seen = lake.current
    for n, step in enumerate((2, 4, 7, 11, 15)):
        lake.append(
            entry("clicks", click(f"late{n}", 17 + n % 4, minute=300 + 20 * n)),
            entry("orders", order("o2", 17 + n % 3, ("paid", "refunded")[n % 2])),
            entry("stock", stock("p", 4, 18 + n % 2, minute=n)),
        )
        lake.land()
        with pytest.raises(_Cut):
            build(lake.settings, on_step=cut_at(step))
        assert lake.current == seen
        if n % 2:
            lake.build()
            seen = lake.current
    lake.build()
    assert lake.build().build == 0
    assert same_as_at_once(lake, tmp_path / "once")
    assert list(lake.folder.glob("tmp/*")) == []


def but_for_time(current: Current) -> dict[str, TableNow]:
    """The tables without when each was built, which the catalog knows as the snapshot's time, some
    milliseconds before the build noted it.
    """
    return {n: msgspec.structs.replace(t, built_at=None) for n, t in current.tables.items()}


def test_what_readers_see_is_healed_where_it_is_behind_the_catalog(lake: RealLake) -> None:
    old = lake.current
    lake.arrive("clicks", click("d", 20))
    lake.build()
    new = lake.current
    path = lake.folder / "current.json"
    for spoil in (
        lambda: write_current(lake.settings.data_dir, old),
        path.unlink,
        lambda: path.write_bytes(b'{"build":'),
    ):
        spoil()
        lake.build()
        assert lake.snapshots() == {name: now.snapshot for name, now in new.tables.items()}
        assert but_for_time(lake.current) == but_for_time(new)
        assert lake.build().build == 0


def test_of_two_builds_at_once_one_waits_or_says_that_it_is_busy(lake: RealLake) -> None:
    lake.arrive("clicks", click("d", 20))
    other = lake.engine.write_builds()
    with pytest.raises(Busy):
        build(lake.settings, wait_s=0.2)
    timer = threading.Timer(1.0, other.close)
    timer.start()
    report = build(lake.settings, wait_s=30.0)
    timer.join()
    assert report.build
    assert len(lake.rows("silver_clicks")) == 4


def test_a_build_that_waited_takes_what_landed_meanwhile(lake: RealLake) -> None:
    lake.arrive("clicks", click("d", 20))
    rows: list[Any] = []
    gate = threading.Event()

    def second() -> None:
        gate.wait()
        rows.append(build(lake.settings))

    thread = threading.Thread(target=second)
    thread.start()
    first = build(lake.settings, on_step=lambda *_: gate.set())
    thread.join()
    assert first.failed == rows[0].failed == []
    assert rows[0].build in (0, first.build + 1)
    assert len(lake.rows("silver_clicks")) == 4


# --- models that change -----------------------------------------------------------------------


def models_with(folder: Path, **changes: Callable[[str], str]) -> Path:
    """A copy of the models in which these files' texts are changed: `silver_clicks_sql=…`."""
    source = Path(model_files.__file__).parent / "models"
    shutil.copytree(source, folder)
    for name, change in changes.items():
        stem, _, ending = name.rpartition("_")
        path = folder / stem.partition("_")[0] / f"{stem}.{ending}"
        before = path.read_text("utf-8")
        path.write_text(change(before), "utf-8")
        assert path.read_text("utf-8") != before
    return folder


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Build with the models in that folder from now on."""
    monkeypatch.setattr(state, "load_models", lambda: load_models(folder))


def upper_browser(sql: str) -> str:
    return sql.replace("    clicks.browser,", "    UPPER(clicks.browser) AS browser,")


def forget_bronze(lake: RealLake) -> None:
    """As `bronze_ttl` does to all that is there, and someone to the archive."""
    with lake.engine.write_landed() as landed:
        names = landed.expire("2025-11-21T11")
        for name in names:
            (lake.settings.data_dir / name).unlink()
        landed.forget(names)
    assert names
    shutil.rmtree(lake.settings.data_dir / "archive" / "offers")


def test_a_changed_model_is_built_in_full_with_all_that_is_made_of_it(
    lake: RealLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.arrive("clicks", click("d", 20, browser="Firefox"))
    lake.build()
    use(monkeypatch, models_with(tmp_path / "models", silver_clicks_sql=upper_browser))
    report = lake.build()
    modes = {built.table: built.mode for built in report.tables}
    assert modes.keys() == OF_CLICKS
    assert modes["silver_clicks"] == modes["gold_funnel"] == "full"
    assert {row["browser"] for row in lake.rows("silver_clicks")} == {None, "FIREFOX"}
    assert "FIREFOX" in {row["browser"] for row in lake.rows("gold_traffic")}
    assert lake.build().build == 0


def test_a_table_built_in_full_says_how_many_days_it_has(lake: RealLake) -> None:
    built = {table.table: table for table in lake.build(full=True).tables}
    assert built["silver_clicks"].days == len(lake.files("silver_clicks")) > 1
    assert built["silver_products"].days == 0


def test_what_bronze_has_forgotten_is_kept_in_all_kinds_of_builds(
    lake: RealLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.put([(50, "offers", offer("f", 18)), (51, "stock", stock("p", 3, 18))])
    lake.build()
    rows = lake.all_rows()
    forget_bronze(lake)
    assert lake.build().build == 0
    lake.build(since="2025-11-18")
    assert lake.all_rows() == rows
    lake.build(full=True)
    assert lake.all_rows() == rows
    use(monkeypatch, models_with(tmp_path / "models", silver_clicks_sql=upper_browser))
    lake.build()
    assert lake.all_rows() == rows
    # And new rows find their place among the old.
    lake.put([(60, "clicks", click("d", 18, minute=610)), (61, "orders", order("o2", 20))])
    lake.build()
    sessions = {row["event_id"]: row["session_id"] for row in lake.rows("silver_clicks")}
    assert sessions["d"] == sessions["a"]
    counted = {
        (row["order_id"], row["status"]): row["counts_as"]
        for row in lake.rows("silver_order_lines")
    }
    assert counted == {("o1", "paid"): "sold", ("o2", "placed"): "sold", ("o2", "paid"): "none"}


def with_loud(sql: str) -> str:
    return sql.replace("    clicks.browser,", "    UPPER(clicks.event_id) AS loud, clicks.browser,")


def with_loud_column(yml: str) -> str:
    column = "  - {name: loud, type: VARCHAR, description: The id aloud.}\n"
    return yml.replace("columns:\n", f"columns:\n{column}", 1)


def test_a_column_that_a_model_gains_or_loses_is_gained_or_lost_by_all_rows(
    lake: RealLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = lake.all_rows()
    changed = models_with(
        tmp_path / "models", silver_clicks_sql=with_loud, silver_clicks_yml=with_loud_column
    )
    use(monkeypatch, changed)
    lake.build()
    files = [str(lake.folder / name) for name in lake.current.tables["silver_clicks"].files]
    assert read_parquet("loud", files) == ["A", "B", "C"]
    assert lake.all_rows() == rows
    lake.arrive("clicks", click("d", 19))
    lake.build()
    files = [str(lake.folder / name) for name in lake.current.tables["silver_clicks"].files]
    assert read_parquet("loud", files) == ["A", "B", "C", "D"]
    monkeypatch.undo()
    lake.build()
    files = [str(lake.folder / name) for name in lake.current.tables["silver_clicks"].files]
    assert read_parquet("event_id", files) == ["a", "b", "c", "d"]


def columns_of_table(lake: RealLake, name: str) -> list[str]:
    table = open_catalog(lake.settings.data_dir).load_table(f"{NAMESPACE}.{name}")
    return [field.name for field in table.schema().fields]


def test_a_version_whose_build_was_cut_off_leaves_tables_that_the_older_one_builds(
    lake: RealLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = columns_of_table(lake, "silver_clicks")
    changed = models_with(
        tmp_path / "models", silver_clicks_sql=with_loud, silver_clicks_yml=with_loud_column
    )

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as newer:
        use(newer, changed)
        newer.setattr(Staging, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            lake.build()
    assert columns_of_table(lake, "silver_clicks") == columns
    lake.arrive("clicks", click("d", 19))
    lake.build()
    assert [row["event_id"] for row in lake.rows("silver_clicks")] == ["a", "b", "c", "d"]


def test_a_table_with_other_columns_than_its_model_is_built_whole(
    lake: RealLake, tmp_path: Path
) -> None:
    """As an earlier version left it, which was cut off before it replaced the rows."""
    columns = columns_of_table(lake, "silver_clicks")
    table = open_catalog(lake.settings.data_dir).load_table(f"{NAMESPACE}.silver_clicks")
    with table.update_schema() as update:
        update.add_column("loud", StringType())
    with table.update_schema() as update:
        update.delete_column("browser")
    lake.arrive("clicks", click("d", 19))
    lake.build()
    assert sorted(columns_of_table(lake, "silver_clicks")) == sorted(columns)
    assert same_as_at_once(lake, tmp_path / "once")


def next_day(sql: str) -> str:
    first = "    clicks.day, clicks.user_id"
    return sql.replace(
        first, "    CAST(clicks.day + INTERVAL '1' DAY AS DATE) AS day, clicks.user_id"
    )


def test_rows_of_another_day_than_what_landed_are_written_to_that_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, models_with(tmp_path / "models", silver_clicks_sql=next_day))
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18), click("b", 18))
    lake.build(select=("silver_clicks",))
    assert list(lake.files("silver_clicks")) == ["2025-11-19"]
    assert [str(row["day"]) for row in lake.rows("silver_clicks")] == ["2025-11-19"] * 2


def test_a_table_of_one_day_gains_and_loses_columns_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = models_with(
        tmp_path / "models", silver_clicks_sql=with_loud, silver_clicks_yml=with_loud_column
    )
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18), click("b", 18))
    only = ("silver_clicks",)
    lake.build(select=only)
    with monkeypatch.context() as patched:
        use(patched, changed)
        lake.build(select=only)
        (name,) = lake.current.tables["silver_clicks"].files
        assert read_parquet("loud", [str(lake.folder / name)]) == ["A", "B"]
    lake.build(select=only)
    with open_catalog(lake.settings.data_dir) as catalog:
        table = catalog.load_table((NAMESPACE, "silver_clicks"))
        assert "loud" not in {field.name for field in table.schema().fields}
        assert sorted(table.scan().to_arrow()["event_id"].to_pylist()) == ["a", "b"]


def no_view(yml: str) -> str:
    return yml.replace("accepted_values: [view, click,", "accepted_values: [click,")


def test_what_was_written_of_a_table_that_fails_its_tests_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, models_with(tmp_path / "models", silver_clicks_yml=no_view))
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18))
    assert build(lake.settings, Wanted(select=("silver_clicks",))).failed == ["silver_clicks"]
    assert list((lake.folder / "warehouse").rglob("*.parquet")) == []


def with_loud_number(yml: str) -> str:
    """A column of another type, and a test that fails."""
    yml = yml.replace("{name: browser, type: VARCHAR,", "{name: browser, type: BIGINT,")
    return yml.replace("accepted_values: [view, click,", "accepted_values: [click,")


def no_browser(sql: str) -> str:
    return sql.replace("    clicks.browser,", "    0 AS browser,")


def test_a_changed_model_that_fails_its_tests_changes_nothing(
    lake: RealLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, snapshots = lake.all_rows(), lake.snapshots()
    changed = models_with(
        tmp_path / "models", silver_clicks_sql=no_browser, silver_clicks_yml=with_loud_number
    )
    use(monkeypatch, changed)
    assert build(lake.settings).failed == ["silver_clicks"]
    assert (lake.all_rows(), lake.snapshots()) == (rows, snapshots)
    monkeypatch.undo()
    assert lake.build().build == 0
    lake.arrive("clicks", click("d", 19, browser="Firefox"))
    lake.build()
    assert {row["browser"] for row in lake.rows("silver_clicks")} == {None, "Firefox"}


def test_what_changed_longer_ago_than_snapshots_are_kept_is_built_in_full(
    lake: RealLake, tmp_path: Path
) -> None:
    for event_id in "xyz":
        lake.arrive("clicks", click(event_id, 17, minute=ord(event_id)))
        lake.build(select=("silver_clicks",))
    name = f"{NAMESPACE}.silver_clicks"
    table = open_catalog(lake.settings.data_dir).load_table(name)
    old = [snapshot.snapshot_id for snapshot in table.snapshots()[:-1]]
    table.maintenance.expire_snapshots().by_ids(old).commit()
    modes = {built.table: built.mode for built in lake.build().tables}
    assert modes["gold_funnel"] == "full"
    assert same_as_at_once(lake, tmp_path / "once")


def read_parquet(column: str, files: list[str]) -> list[Any]:
    with duckdb.connect() as con:
        found = con.execute(f"SELECT {column} FROM read_parquet($1) ORDER BY ALL", [files])
        return [value for (value,) in found.fetchall()]


# --- where it lies ----------------------------------------------------------------------------


def test_tables_of_a_data_directory_that_was_moved_are_read_and_not_built(lake: RealLake) -> None:
    rows = lake.all_rows()
    there = lake.settings.data_dir
    moved = RealLake(there.rename(there.with_name("moved")))
    assert moved.all_rows() == rows
    moved.arrive("clicks", click("d", 20))
    with pytest.raises(DataDirError, match="moved"):
        moved.build()
    assert not there.exists()
    assert moved.all_rows() == rows
    moved.settings.data_dir.rename(there)
    lake.build()
    assert len(lake.rows("silver_clicks")) == 4


def test_a_copy_of_a_data_directory_never_writes_into_the_first(
    lake: RealLake, tmp_path: Path
) -> None:
    shutil.copytree(lake.settings.data_dir, tmp_path / "copy")
    before = state_of(lake.settings.data_dir)
    copy = RealLake(tmp_path / "copy")
    copy.arrive("clicks", click("d", 20))
    with pytest.raises(DataDirError, match="moved"):
        copy.build()
    assert state_of(lake.settings.data_dir) == before
