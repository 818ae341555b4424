"""A catalog that is lost, or an older copy: it leads to what readers read again, and nothing that
they read is given up.
"""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable
from tests.lake.real_lake import RealLake, click, order

from shopstream.ask.tables import published
from shopstream.ask.travel import as_of, point_of
from shopstream.errors import ConfigError, DataDirError
from shopstream.lake.build import build
from shopstream.lake.catalog import open_catalog, path_of, pointers
from shopstream.lake.damage import TableFailed, blaming
from shopstream.lake.maintain import MANIFESTS_MAX, MaintenanceReport, maintain
from shopstream.lake.model import NAMESPACE
from shopstream.lake.plan import Wanted
from shopstream.lake.rebuild import rebuild
from shopstream.lake.repoint import astray
from shopstream.lake.verify import Processed, verify

pytestmark = pytest.mark.slow
LOST, WHOLE, OF_BOTH = "silver_clicks", "silver_order_lines", "gold_traffic"
FEW = (LOST, WHOLE, OF_BOTH)
LATER_US = 1 << 60


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory, with copies beside it: of the whole, and of its catalog after a first build
    (`catalog.db`) and a second.
    """
    folder = tmp_path_factory.mktemp("built") / "data"
    lake = RealLake(folder)
    for n in range(3):
        lake.put([(2 * n, "clicks", click(f"c{n}", 18 + n))])
        lake.put([(2 * n + 1, "orders", order(f"o{n}", 18 + n))])
        lake.build(select=FEW)
        shutil.copy(lake.folder / "catalog.db", folder.with_name(f"catalog-{n}.db"))
    shutil.copytree(folder, folder.with_name("copy"))
    return folder


@pytest.fixture
def lake(built: Path) -> RealLake:
    """The lake that was built, as it was then."""
    shutil.rmtree(built, ignore_errors=True)
    shutil.copytree(built.with_name("copy"), built)
    return RealLake(built)


def lose_catalog(lake: RealLake) -> None:
    (lake.folder / "catalog.db").unlink()


def put_back_older(lake: RealLake, n: int = 1) -> None:
    shutil.copy(lake.settings.data_dir.with_name(f"catalog-{n}.db"), lake.folder / "catalog.db")


def lose_metadata(lake: RealLake, name: str = LOST) -> None:
    path_of(lake.current.tables[name].metadata).unlink()


def make_anew(lake: RealLake) -> None:
    """Have a table take the place of one whose metadata is damaged."""
    head = StaticTable.from_metadata(lake.current.tables[LOST].metadata).current_snapshot()
    assert head is not None
    path_of(head.manifest_list).write_bytes(b"")
    rebuild(lake.settings, LOST)


def expire_bronze(lake: RealLake) -> None:
    with lake.engine.write_landed() as landed:
        landed.forget(landed.expire("2025-11-21T11"))
    shutil.rmtree(lake.settings.data_dir / "bronze")


def differences(lake: RealLake) -> list[str]:
    report = verify(lake.engine, Processed({}, []))
    assert report is not None
    return [said for said in report.differences if "catalog" in said or "metadata" in said]


def tend(lake: RealLake, now_us: int = LATER_US) -> MaintenanceReport:
    with lake.engine.write_builds() as builds:
        return maintain(lake.settings, builds, now_us=now_us)


def metadata_files(lake: RealLake, name: str = "*") -> set[Path]:
    return set((lake.folder / "warehouse").glob(f"{name}/metadata/*"))


def rows(lake: RealLake) -> dict[str, int]:
    return {name: len(lake.rows(name)) for name in FEW}


# --- what can be had again ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "emptied", "older"])
def test_a_build_goes_on_from_what_readers_read(lake: RealLake, how: str) -> None:
    """Bronze isn't read again: it may not have it any more."""
    before = lake.current.tables
    expire_bronze(lake)
    if how == "older":
        put_back_older(lake)
    else:
        lose_catalog(lake)
    if how == "emptied":
        (lake.folder / "catalog.db").touch()
    (said,) = differences(lake)
    assert "catalog.db does not lead to what readers read of gold_traffic, silver_clicks, " in said
    assert "`shopstream build`" in said
    with pytest.raises(DataDirError, match="`shopstream build` has it do so"):
        build(lake.settings, dry_run=True)
    assert build(lake.settings, Wanted(select=FEW)).tables == []
    assert lake.current.tables == before
    assert differences(lake) == []
    assert build(lake.settings, Wanted(select=FEW), dry_run=True).steps == []
    lake.put([(9, "clicks", click("d", 20))])
    lake.build(select=FEW)
    assert len(lake.rows(LOST)) == 4


def test_it_does_so_from_a_copy_so_old_that_its_metadata_is_gone(lake: RealLake) -> None:
    before = lake.current.tables
    put_back_older(lake, 0)
    path_of(pointers(lake.settings.data_dir)[LOST]).unlink()
    assert "catalog.db does not lead to what readers read" in differences(lake)[0]
    assert build(lake.settings, Wanted(select=FEW)).tables == []
    assert lake.current.tables == before


def test_what_was_built_and_not_published_is_gone_on_from(lake: RealLake) -> None:
    """There the catalog is ahead of what readers read."""
    path = lake.folder / "current.json"
    shown = path.read_bytes()
    lake.put([(9, "clicks", click("d", 20))])
    lake.build(select=FEW)
    path.write_bytes(shown)
    assert astray(lake.settings.data_dir) == {}
    assert build(lake.settings, Wanted(select=FEW)).tables == []
    assert len(lake.rows(LOST)) == 4


def test_a_table_made_anew_and_not_published_is_gone_on_from(lake: RealLake) -> None:
    path = lake.folder / "current.json"
    shown = path.read_bytes()
    make_anew(lake)
    made = pointers(lake.settings.data_dir)
    path.write_bytes(shown)
    assert astray(lake.settings.data_dir) == {}
    assert any("does not know what readers read" in said for said in differences(lake))
    build(lake.settings, Wanted(select=FEW))
    assert lake.current.tables[LOST].metadata == made[LOST]
    assert differences(lake) == []


def test_a_copy_of_before_a_table_was_made_anew_is_an_older_one(lake: RealLake) -> None:
    make_anew(lake)
    before = lake.current.tables
    put_back_older(lake, 2)
    assert build(lake.settings, Wanted(select=FEW)).tables == []
    assert lake.current.tables == before
    assert differences(lake) == []


# --- what can't -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "older", "made, and no more"])
def test_a_table_that_is_lost_is_not_made_of_what_bronze_has_left(lake: RealLake, how: str) -> None:
    before, held = lake.current.tables, rows(lake)
    expire_bronze(lake)
    lose_metadata(lake)
    if how == "older":
        put_back_older(lake)
    else:
        lose_catalog(lake)
    if how == "made, and no more":
        schema = StaticTable.from_metadata(before[WHOLE].metadata).schema()
        open_catalog(lake.settings.data_dir).create_table(f"{NAMESPACE}.{LOST}", schema)
    for wanted in (Wanted(), Wanted(full=True), Wanted(select=(WHOLE,))):
        report = build(lake.settings, wanted)
        assert lake.current.tables[LOST] == before[LOST]
        if not wanted.select:
            assert LOST in report.failed
            (said,) = next(built.failures for built in report.tables if built.table == LOST)
            assert f"`shopstream lake rebuild {LOST}`" in said
    assert any(LOST in said for said in differences(lake))
    tend(lake)
    assert rows(lake) == held
    with pytest.raises(ConfigError, match="--anyway"):
        rebuild(lake.settings, LOST)
    assert rows(lake) == held


def test_a_table_that_is_lost_is_made_anew_of_bronze_that_has_it_all(lake: RealLake) -> None:
    held = rows(lake)
    lose_catalog(lake)
    lose_metadata(lake)
    others, lost = differences(lake)
    assert f"{OF_BOTH}, {WHOLE}: `shopstream build`" in others
    assert f"of {LOST}, and" in lost
    assert "`shopstream lake rebuild`" in lost
    assert LOST in build(lake.settings, Wanted(select=FEW)).failed
    assert rebuild(lake.settings, LOST).build.failed == []
    assert differences(lake) == []
    assert rows(lake) == held
    assert build(lake.settings).failed == []


def test_an_error_of_the_machine_ends_the_build_and_gives_nothing_up(
    lake: RealLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lake.current.tables
    expire_bronze(lake)
    lose_catalog(lake)
    register = SqlCatalog.register_table
    failing = [OSError(24, "Too many open files"), ValueError("whatever")]

    def failing_first(catalog: SqlCatalog, name: str, metadata: str) -> object:
        if LOST in name and failing:
            raise failing.pop(0)
        return register(catalog, name, metadata)

    monkeypatch.setattr(SqlCatalog, "register_table", failing_first)
    with pytest.raises(DataDirError, match="Too many open files"):
        build(lake.settings)
    assert lake.current.tables == before
    assert LOST in build(lake.settings, Wanted(select=FEW)).failed
    assert lake.current.tables == before
    lake.build(select=FEW)
    assert lake.current.tables == before
    assert differences(lake) == []


# --- maintenance ----------------------------------------------------------------------------------


def test_maintenance_has_a_lost_catalog_again_and_deletes_no_metadata(lake: RealLake) -> None:
    lake = RealLake(lake.settings.data_dir, snapshots_ttl=timedelta(days=100_000_000))
    before = metadata_files(lake)
    lose_catalog(lake)
    for now_us in (1, LATER_US):
        tend(lake, now_us)
    assert pointers(lake.settings.data_dir).keys() == set(FEW)
    assert before <= metadata_files(lake)
    assert differences(lake) == []


def test_maintenance_keeps_all_files_of_a_table_that_is_lost(lake: RealLake) -> None:
    lose_catalog(lake)
    lose_metadata(lake)
    before = metadata_files(lake, LOST)
    for now_us in (1, LATER_US):
        assert tend(lake, now_us).tables[LOST].damaged
    assert metadata_files(lake, LOST) == before


def test_maintenance_makes_no_newer_version_of_a_copy_that_is_older(lake: RealLake) -> None:
    """One that has so many manifests and old snapshots that it would be tended."""
    for n in range(MANIFESTS_MAX):
        lake.put([(20 + n, "clicks", click(f"d{n}", 1 + n))])
        lake.build(select=(LOST,))
    older = (lake.folder / "catalog.db").read_bytes()
    lake.put([(90, "clicks", click("e", 25))])
    lake.build(select=(LOST,))
    before, held = lake.current.tables, rows(lake)
    expire_bronze(lake)
    (lake.folder / "catalog.db").write_bytes(older)
    lose_metadata(lake)
    files = metadata_files(lake, LOST)
    for now_us in (1, LATER_US):
        assert tend(lake, now_us).tables[LOST].damaged
    assert metadata_files(lake, LOST) == files
    assert build(lake.settings, Wanted(select=(LOST,))).failed == [LOST]
    assert lake.current.tables[LOST] == before[LOST]
    assert rows(lake) == held


# --- what is no catalog ---------------------------------------------------------------------------


def test_what_is_no_catalog_is_to_be_moved_away(lake: RealLake) -> None:
    before = lake.current.tables
    (lake.folder / "catalog.db").write_bytes(b"no database" * 500)
    tables = published(lake.settings)
    for use in (
        lambda: build(lake.settings),
        lambda: build(lake.settings, dry_run=True),
        lambda: rebuild(lake.settings, LOST),
        lambda: as_of(tables, point_of("2025-11-21"), [LOST]),
        lambda: tend(lake),
    ):
        with pytest.raises(DataDirError, match=r"catalog.db is damaged .*: move it away") as raised:
            use()
        assert "\n" not in str(raised.value)
    (said,) = differences(lake)
    assert "move it away" in said
    lose_catalog(lake)
    lake.build(select=FEW)
    assert lake.current.tables == before


def test_check_looks_at_all_else_though_the_catalog_is_none(lake: RealLake) -> None:
    for n in range(MANIFESTS_MAX):
        lake.put([(20 + n, "clicks", click(f"d{n}", 1 + n))])
        lake.build(select=FEW)
    assert tend(lake, 1).tables[LOST].manifests_merged  # so gold was made of an older snapshot
    whole = verify(lake.engine, Processed({}, []))
    assert whole is not None
    (lake.folder / "catalog.db").write_bytes(b"no database" * 500)
    (lake.folder / lake.files(WHOLE)["2025-11-18"][0]).write_bytes(b"damaged")
    report = verify(lake.engine, Processed({}, []))
    assert report is not None
    assert ["move it away" in said for said in report.differences] == [True, False]
    assert WHOLE in report.differences[1]
    (said,) = (said for said in report.uncompared if OF_BOTH in said)
    assert not any(OF_BOTH in said for said in whole.uncompared)
    assert "move it away" in said


def test_a_damaged_catalog_hides_no_other_error(lake: RealLake) -> None:
    (lake.folder / "catalog.db").write_bytes(b"no database" * 500)
    with (
        pytest.raises(TableFailed, match="KeyError: 'what it is'"),
        blaming(LOST, lake.settings.data_dir),
    ):
        raise KeyError("what it is")


# --- a link ---------------------------------------------------------------------------------------


def test_the_lake_may_be_a_link_to_a_folder_of_another_name(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    lake = RealLake(tmp_path / "data")
    lake.folder.symlink_to(tmp_path / "elsewhere")
    lake.arrive("clicks", click("a", 18))
    lake.build(select=FEW)
    metadata = path_of(pointers(lake.settings.data_dir)[LOST])
    metadata.write_bytes(b"")
    assert tend(lake).tables[LOST].damaged == [str(metadata.relative_to(tmp_path / "elsewhere"))]
    lake.arrive("clicks", click("b", 18))
    (failed,) = (b for b in build(lake.settings, Wanted(select=FEW)).tables if b.table == LOST)
    assert f"`shopstream lake rebuild {LOST}`" in failed.failures[0]
    rebuild(lake.settings, LOST)
    assert len(lake.rows(LOST)) == 2
    assert differences(lake) == []
