"""A lake of many small files is built and compared whole, in any folder and with little memory."""

from pathlib import Path

import duckdb
import pytest
from tests.lake.real_lake import RealLake, click, offer, order

import shopstream.lake.verify as verify_module
from shopstream.lake.compare import Compared, comparing
from shopstream.lake.duck import THREAD_BYTES, connect_duck
from shopstream.lake.verify import LakeReport, Processed, verify
from shopstream.settings import MIB

pytestmark = pytest.mark.slow
FILES = 40
"""More than DuckDB begins at once."""


def checked(lake: RealLake) -> LakeReport:
    report = verify(lake.engine, Processed({}, []))
    assert report is not None
    return report


def full(lake: RealLake) -> RealLake:
    """So many files of every topic and of the archive, each with a row."""
    for n in range(FILES):
        minute = n % 60
        lake.put(
            [
                (4 * n, "clicks", click(f"e{n}", 18, f"u{n}", minute)),
                (4 * n + 1, "orders", order(f"o{n}", 18, minute=minute)),
                (4 * n + 2, "offers", offer(f"f{n}", 18, minute)),
            ]
        )
    return lake


@pytest.mark.parametrize("memory", [64 * MIB, 1024 * MIB])
def test_many_small_files_need_no_more_memory_than_few(tmp_path: Path, memory: int) -> None:
    lake = full(RealLake(tmp_path / "data", build_memory=memory))
    lake.build()
    lake.build(full=True)
    assert len(lake.rows("silver_clicks")) == FILES
    assert len(lake.rows("silver_offers")) == FILES
    said = checked(lake)
    assert said.differences == []
    assert said.uncompared == ["bronze with the ledger: the processors are at work"]


def test_as_many_threads_work_as_there_is_memory_for(tmp_path: Path) -> None:
    def threads(memory: int) -> int:
        with connect_duck(memory, tmp_path) as con:
            return int(con.execute("SELECT current_setting('threads')").fetchall()[0][0])

    with duckdb.connect() as con:
        (machine,) = con.execute("SELECT current_setting('threads')").fetchone() or (0,)
    assert threads(64 * MIB) == 1
    assert threads(2 * THREAD_BYTES) == min(2, machine)
    assert threads(1_000 * THREAD_BYTES) == machine


def test_folders_named_as_columns_with_a_value_are_folders(tmp_path: Path) -> None:
    """DuckDB takes `name=value` in a path for a column unless it is told not to."""
    odd = "customer_id=7/user_id=bob/source=shop/status=live/day=old/offer_id=x"
    lakes = [RealLake(tmp_path / "plain"), RealLake(tmp_path / odd / "data")]
    for lake in lakes:
        lake.put([(0, "clicks", click("e0", 18, "u0")), (1, "orders", order("o0", 18))])
        lake.put([(2, "offers", offer("f0", 18))])
        lake.build()
        lake.put([(3, "clicks", click("late", 18, "u0")), (4, "orders", order("o1", 18))])
        lake.build()
    for table in ("silver_clicks", "silver_orders", "silver_order_lines", "silver_offers"):
        assert lakes[0].rows(table) == lakes[1].rows(table), table
    assert checked(lakes[1]).differences == []


def test_what_memory_does_not_suffice_for_is_no_proof_and_hinders_no_other_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = RealLake(tmp_path / "data")
    lake.put([(0, "clicks", click("e0", 18))])
    lake.build()

    def needs_more(*_: object) -> None:
        raise duckdb.OutOfMemoryException("Out of Memory Error: no\n\nPossible solutions:")

    monkeypatch.setattr(verify_module, "compare_gold", needs_more)
    (said,) = checked(lake).differences
    assert "gold with silver could not be compared" in said
    assert "build_memory" in said
    assert "\n" not in said


def test_a_file_that_went_meanwhile_is_no_difference(tmp_path: Path) -> None:
    found = Compared()
    with duckdb.connect() as con, comparing("a with b", found):
        con.execute(f"FROM read_parquet('{tmp_path}/gone.parquet')")
    assert found.differences == []
    (said,) = found.uncompared
    assert said.startswith("a with b: IO Error")
    assert "\n" not in said
