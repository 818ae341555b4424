"""Metadata of one table that is damaged: it is told of, holds up no other table, and is mended."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import read_manifest_list
from pyiceberg.table import StaticTable, Transaction
from tests.lake.real_lake import ARRIVAL, RealLake, click, order

import shopstream.lake.staging as staging_module
from shopstream.errors import ConfigError, DataDirError
from shopstream.events import Alert
from shopstream.lake.build import build
from shopstream.lake.catalog import open_catalog, path_of, pointers
from shopstream.lake.current import Current, write_current
from shopstream.lake.maintain import maintain
from shopstream.lake.model import NAMESPACE, load_models
from shopstream.lake.plan import Wanted, descendants
from shopstream.lake.rebuild import rebuild
from shopstream.lake.verify import Processed, verify

pytestmark = pytest.mark.slow
HURT, WHOLE = "silver_clicks", "silver_order_lines"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory, with a copy beside it: clicks and orders of the 18th and 19th, built twice.

    Iceberg writes whole paths into its metadata, so each test has the lake in the one place.
    """
    folder = tmp_path_factory.mktemp("built") / "data"
    lake = RealLake(folder)
    lake.arrive("clicks", click("a", 18), click("b", 19))
    lake.arrive("orders", order("o1", 18), order("o2", 19))
    lake.build()
    lake.arrive("clicks", click("c", 19))
    lake.build()
    shutil.copytree(folder, folder.with_name("copy"))
    return folder


@pytest.fixture
def lake(built: Path) -> RealLake:
    """The lake that was built, as it was then."""
    shutil.rmtree(built, ignore_errors=True)
    shutil.copytree(built.with_name("copy"), built)
    return RealLake(built)


def metadata(lake: RealLake) -> Path:
    return path_of(pointers(lake.settings.data_dir)[HURT])


def manifest_list(lake: RealLake) -> Path:
    head = StaticTable.from_metadata(f"file://{metadata(lake)}").current_snapshot()
    assert head is not None
    return path_of(head.manifest_list)


def manifest(lake: RealLake) -> Path:
    found = PyArrowFileIO().new_input(f"file://{manifest_list(lake)}")
    return path_of(min(m.manifest_path for m in read_manifest_list(found)))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


Damaging = tuple[Callable[[RealLake], Path], Callable[[Path], None]]
DAMAGES: dict[str, Damaging] = {
    "metadata emptied": (metadata, emptied),
    "metadata cut off": (metadata, cut_off),
    "metadata gone": (metadata, Path.unlink),
    "manifest list emptied": (manifest_list, emptied),
    "manifest list gone": (manifest_list, Path.unlink),
    "manifest cut off": (manifest, cut_off),
    "manifest gone": (manifest, Path.unlink),
}


@pytest.fixture(params=DAMAGES)
def hurt(request: pytest.FixtureRequest, lake: RealLake) -> str:
    """The damaged file, as it is called in the lake."""
    which, damage = DAMAGES[request.param]
    path = which(lake)
    damage(path)
    return path.relative_to(lake.folder.resolve()).as_posix()


def differences(lake: RealLake) -> list[str]:
    report = verify(lake.engine, Processed({}, []))
    assert report is not None
    return [said for said in report.differences if "lake/warehouse" in said]


def alerts(lake: RealLake) -> list[Alert]:
    with lake.engine.read_builds() as builds:
        return [msgspec.json.decode(body, type=Alert) for _, body in builds.alerts()]


def test_damaged_metadata_is_found_and_its_table_made_anew(lake: RealLake, hurt: str) -> None:
    rows = lake.rows(HURT)
    (said,) = differences(lake)
    assert hurt in said
    assert f"shopstream lake rebuild {HURT}" in said
    with lake.engine.write_builds() as builds:
        tended = maintain(lake.settings, builds).tables
    assert tended[HURT].damaged == [hurt]
    assert not any(table.damaged for name, table in tended.items() if name != HURT)
    there = (lake.folder / hurt).exists()
    done = rebuild(lake.settings, HURT)
    assert done.build.failed == []
    assert done.isolated == [f"damaged/{hurt}"] * there
    assert differences(lake) == []
    assert lake.rows(HURT) == rows


@pytest.mark.parametrize(
    ("kind", "all_wanted"),
    [
        ("metadata emptied", [Wanted(), Wanted(), Wanted(full=True)]),
        # Builds of other days don't read it.
        ("manifest gone", [Wanted(full=True)]),
    ],
)
def test_damaged_metadata_of_a_table_holds_up_no_other_table(
    lake: RealLake, kind: str, all_wanted: list[Wanted], tmp_path: Path
) -> None:
    which, damage = DAMAGES[kind]
    hurt = which(lake).name
    damage(which(lake))
    rows = lake.rows(HURT)
    lake.arrive("clicks", click("d", 20))
    lake.arrive("orders", order("o3", 20))
    for wanted in all_wanted:
        report = build(lake.settings, wanted)
        assert report.failed == [HURT]
        (why,) = next(built.failures for built in report.tables if built.failures)
        assert hurt in why
        assert f"shopstream lake rebuild {HURT}" in why
    assert lake.rows(HURT) == rows
    assert len(lake.rows(WHOLE)) == 3
    (alert,) = alerts(lake)
    assert alert.kind == "model_failed"
    assert hurt in json.dumps(msgspec.to_builtins(alert))

    rebuild(lake.settings, HURT)
    lake.arrive("clicks", click("e", 20))
    lake.build()
    with lake.engine.write_builds() as builds:
        assert maintain(lake.settings, builds).tables.keys() == load_models().keys()
    once = RealLake(tmp_path / "once")
    days = {"a": 18, "b": 19, "c": 19, "d": 20, "e": 20}
    once.arrive("clicks", *(click(id, day) for id, day in days.items()))
    once.arrive("orders", order("o1", 18), order("o2", 19), order("o3", 20))
    once.build()
    without = {*ARRIVAL}
    assert lake.all_rows(*without).keys() == once.all_rows(*without).keys()
    for name, found in once.all_rows(*without).items():
        if name != "gold_data_quality":
            assert lake.rows(name, *without) == found, name


def test_a_table_that_moved_on_and_is_damaged_is_told_of_without_news(lake: RealLake) -> None:
    """A build was killed before it published, and then the manifest list was hurt."""
    before = lake.current
    lake.arrive("clicks", click("d", 20))
    lake.build()
    rows = lake.rows(HURT)[:-1]
    emptied(manifest_list(lake))
    write_current(lake.settings.data_dir, before)
    assert len(lake.rows(HURT)) == len(rows)
    for _ in range(2):
        assert build(lake.settings).failed == [HURT]
    assert len(lake.rows(HURT)) == len(rows)
    assert len(alerts(lake)) == 1
    rebuild(lake.settings, HURT)
    assert len(lake.rows(HURT)) == len(rows) + 1


def test_a_table_that_bronze_has_no_more_is_not_given_up_for_its_metadata(lake: RealLake) -> None:
    lake.put([(50, "clicks", click("d", 17))])
    lake.build()
    with lake.engine.write_landed() as landed:
        landed.forget(landed.expire("2025-11-21T11"))
    emptied(metadata(lake))
    with pytest.raises(ConfigError, match="--anyway"):
        rebuild(lake.settings, HURT)
    assert len(lake.rows(HURT)) == 4


def test_a_rebuild_killed_before_its_table_took_the_place_of_the_other_is_repeated(
    lake: RealLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = lake.rows(HURT)
    emptied(metadata(lake))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(staging_module, "take_place", killed)
        with pytest.raises(KeyboardInterrupt):
            rebuild(lake.settings, HURT)
    assert lake.rows(HURT) == rows
    with lake.engine.write_builds() as builds:
        maintain(lake.settings, builds)
    names = {name[-1] for name in open_catalog(lake.settings.data_dir).list_tables(NAMESPACE)}
    assert names == set(load_models())
    rebuild(lake.settings, HURT)
    assert lake.rows(HURT) == rows
    assert differences(lake) == []


# --- whatever goes wrong with one table -------------------------------------------------------


def failing_commits(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    commit = Transaction.commit_transaction

    def failing(change: Transaction) -> object:
        if change._table.name()[-1] == HURT:
            raise error
        return commit(change)

    monkeypatch.setattr(Transaction, "commit_transaction", failing)


def test_an_unforeseen_error_fails_its_table_alone_and_alerts_once(
    lake: RealLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.arrive("clicks", click("d", 20))
    lake.arrive("orders", order("o3", 20))
    with monkeypatch.context() as patched:
        failing_commits(patched, ValueError("Mismatch in fields:\n| id |"))
        for _ in range(2):
            report = build(lake.settings)
            assert report.failed == [HURT]
            (why,) = next(built.failures for built in report.tables if built.failures)
            assert why.endswith("ValueError: Mismatch in fields:")
            kept_back = {built.table for built in report.tables if built.kept_back}
            assert kept_back <= descendants(load_models(), HURT)
    assert len(lake.rows(WHOLE)) == 3
    assert len(alerts(lake)) == 1
    lake.build()
    assert len(lake.rows(HURT)) == 4
    with lake.engine.read_builds() as builds:
        assert builds.failing() == {}


@pytest.mark.parametrize("number", [28, 5, 13])
def test_an_error_of_the_machine_stops_the_build(
    lake: RealLake, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    lake.arrive("clicks", click("d", 20))
    with monkeypatch.context() as patched:
        failing_commits(patched, OSError(number, "no"))
        with pytest.raises(DataDirError, match=f"{HURT} can't be built: .*no"):
            build(lake.settings)
    assert alerts(lake) == []
    lake.build()
    assert len(lake.rows(HURT)) == 4


# --- moved ------------------------------------------------------------------------------------


def test_check_says_of_a_lake_that_was_moved_what_it_did_not_compare(lake: RealLake) -> None:
    moved = lake.settings.data_dir.with_name("moved")
    lake.settings.data_dir.rename(moved)
    report = verify(RealLake(moved).engine, Processed({}, []))
    assert report is not None
    assert [said for said in report.differences if "metadata" in said] == []
    assert any("moved" in said for said in report.uncompared)


def test_check_sees_metadata_that_leads_to_other_files_than_readers_read(lake: RealLake) -> None:
    current = lake.current
    now = current.tables[HURT]
    older = msgspec.structs.replace(now, files=now.files[:-1])
    tables = {**current.tables, HURT: older}
    write_current(
        lake.settings.data_dir,
        Current(build=current.build, built_at=current.built_at, tables=tables),
    )
    report = verify(lake.engine, Processed({}, []))
    assert report is not None
    assert any("leads to other data files" in said for said in report.differences)
