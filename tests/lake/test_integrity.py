"""What was damaged isn't built upon, and nothing that arrived is passed over."""

from pathlib import Path

import duckdb
import pytest
import zstandard
from tests.lake.real_lake import RealLake, click, order

from shopstream.lake.build import build
from shopstream.lake.rebuild import rebuild

pytestmark = pytest.mark.slow


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
    arrival = ("position", "n", "received_at")
    assert lake.rows(table, *arrival) == whole.rows(table, *arrival)


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
    assert "bronze itself is damaged" in why
    assert lake.rows("silver_clicks") == rows
    path.write_bytes(body)
    lake.build()
    assert len(lake.rows("silver_clicks")) == 3
