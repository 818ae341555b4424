"""Maintenance: bounded files and snapshots, readers undisturbed, nothing needed deleted."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from tests.lake.small_lake import DAY, SmallLake

from shopstream.errors import DataDirError
from shopstream.lake.current import read_current, write_current
from shopstream.lake.keeping import EVERY_BUILDS, RECENT
from shopstream.lake.maintain import MANIFESTS_MAX, maintain, maintain_if_due
from shopstream.local.builds import Builds
from shopstream.settings import Settings

HOUR_US = 3_600_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, snapshots_ttl=timedelta(days=1))


@pytest.fixture
def builds(tmp_path: Path) -> Iterator[Builds]:
    with Builds(tmp_path) as builds:
        yield builds


def now_us(lake: SmallLake) -> int:
    head = lake.table.current_snapshot()
    assert head is not None
    return head.timestamp_ms * 1_000


def test_small_files_of_a_day_become_one(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir)
    lake.build(builds, {n: f"e{n}" for n in range(9)}, files=3)
    lake.build(builds, {99: "other day"}, DAY + timedelta(days=1))
    before = lake.rows()
    report = maintain(settings, builds)
    assert report.tables["silver_clicks"].files_merged == 3
    assert len(lake.live()) == 2
    assert lake.rows() == lake.seen() == before
    assert read_current(settings.data_dir).tables["silver_clicks"].files == lake.live()
    assert set(lake.live()) <= set(builds.files())
    assert maintain(settings, builds).tables["silver_clicks"].files_merged == 0


def test_a_table_without_days_is_merged_too(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir, "silver_products", whole=True)
    lake.build(builds, {n: f"p{n}" for n in range(4)}, files=4)
    maintain(settings, builds)
    assert len(lake.live()) == 1
    assert len(lake.seen()) == 4


def test_what_the_builder_reads_in_a_snapshot_outlives_a_merge(
    settings: Settings, builds: Builds
) -> None:
    lake = SmallLake(settings.data_dir)
    lake.build(builds, {1: "a", 2: "b"}, files=2)
    maintain(settings, builds)
    head = lake.table.current_snapshot()
    assert head is not None
    assert head.summary is not None
    found = head.summary.additional_properties
    assert (found["shopstream.landed"], found["shopstream.days"]) == ("1", "[]")


def test_a_damaged_file_is_not_merged_with_good_ones(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir)
    lake.build(builds, {1: "a", 2: "b"}, files=2)
    damaged = lake.live()[0]
    path = lake.folder / damaged
    path.write_bytes(path.read_bytes()[:-9] + b"\0" * 9)
    report = maintain(settings, builds)
    assert report.tables["silver_clicks"].damaged == [damaged]
    assert damaged in lake.live()


def test_readers_keep_the_files_that_they_may_hold_a_list_of(
    settings: Settings, builds: Builds
) -> None:
    lake = SmallLake(settings.data_dir)
    lake.build(builds, {1: "a", 2: "b"}, files=2)
    held = lake.live()
    maintain(settings, builds)
    later = now_us(lake) + 25 * HOUR_US
    lake.build(builds, {1: "a"})
    lake.build(builds, {1: "c"})
    assert maintain(settings, builds, now_us=later).deleted == 0
    assert all((lake.folder / name).exists() for name in held)
    report = maintain(settings, builds, now_us=later + HOUR_US)
    assert report.deleted > 0
    assert not any((lake.folder / name).exists() for name in held)
    assert not set(held) & set(builds.files())
    assert lake.seen() == [(str(DAY), "c", 1)]


def test_what_readers_see_stays_even_when_it_is_old(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir)
    lake.build(builds, {1: "seen"})
    shown = read_current(settings.data_dir)
    for n in range(5):
        lake.build(builds, {1: f"later {n}"})
    write_current(settings.data_dir, shown)
    for days in (2, 3):
        maintain(settings, builds, now_us=now_us(lake) + days * 24 * HOUR_US)
    assert lake.seen() == [(str(DAY), "seen", 1)]
    assert lake.table.snapshot_by_id(shown.tables["silver_clicks"].snapshot) is not None


def test_what_was_not_published_is_not_shown(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir)
    lake.build(builds, {1: "good"})
    shown = read_current(settings.data_dir)
    lake.build(builds, {1: "not", 2: "published"}, files=2)
    write_current(settings.data_dir, shown)
    assert maintain(settings, builds).tables["silver_clicks"].files_merged == 2
    assert lake.seen() == [(str(DAY), "good", 1)]


def test_a_snapshot_that_a_table_has_yet_to_see_stays(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir)
    gold = SmallLake(settings.data_dir, "gold_funnel")
    lake.build(builds, {1: "a"})
    consumed = lake.table.metadata.current_snapshot_id
    assert consumed is not None
    gold.build(builds, {1: "a"}, upstream={"silver_clicks": consumed})
    for n in range(RECENT):
        lake.build(builds, {1: f"later {n}"})
    before = {snapshot.snapshot_id for snapshot in lake.table.metadata.snapshots}
    maintain(settings, builds, now_us=now_us(lake) + 48 * HOUR_US)
    assert {snapshot.snapshot_id for snapshot in lake.table.metadata.snapshots} == before


def test_files_of_a_build_that_was_killed_go_in_the_end(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir)
    lake.build(builds, {1: "a"})
    orphan = lake.location / "data" / "day=2026-01-01" / "orphan.parquet"
    orphan.parent.mkdir()
    orphan.write_bytes(b"half")
    now = now_us(lake)
    assert maintain(settings, builds, now_us=now).waiting == 1
    assert maintain(settings, builds, now_us=now + HOUR_US - 1).deleted == 0
    report = maintain(settings, builds, now_us=now + HOUR_US)
    assert (report.deleted, report.deleted_bytes) == (1, 4)
    assert not orphan.parent.exists()
    assert lake.seen() == lake.rows()


def test_many_manifests_become_one(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir)
    for n in range(MANIFESTS_MAX + 1):
        lake.build(builds, {n: "e"}, DAY + timedelta(days=n))
    before = lake.rows()
    assert maintain(settings, builds).tables["silver_clicks"].manifests_merged > MANIFESTS_MAX
    head = lake.table.current_snapshot()
    assert head is not None
    assert len(head.manifests(lake.table.io)) == 1
    assert lake.rows() == lake.seen() == before


@pytest.mark.slow
def test_files_and_snapshots_stay_bounded_over_many_builds(
    settings: Settings, builds: Builds
) -> None:
    lake = SmallLake(settings.data_dir)
    settings = Settings(data_dir=settings.data_dir, snapshots_ttl=timedelta(seconds=0))
    most: dict[str, int] = {}
    for n in range(120):
        lake.build(builds, {n: "e", n + 1: "f"}, DAY + timedelta(days=n % 3), files=1 + n % 2)
        maintain_if_due(settings, builds)
        if n >= 60:
            for what, count in {
                "snapshots": len(lake.table.metadata.snapshots),
                "data": len(lake.on_disk("data")),
                "metadata": len(lake.on_disk("metadata")),
                "recorded": len(builds.files()),
                "unneeded": len(builds.unneeded()),
            }.items():
                most[what] = max(most.get(what, 0), count)
    commits = EVERY_BUILDS
    assert most["snapshots"] <= 2 + commits + 2
    assert most["data"] <= 6 + 2 * EVERY_BUILDS
    assert most["recorded"] == most["data"]
    assert most["metadata"] <= 6 * (commits + 4) + 10
    assert lake.rows() == lake.seen()
    assert len(builds.history(10_000)) <= 1_001


def test_a_reader_sees_whole_snapshots_while_builds_and_maintenance_go_on(
    settings: Settings, builds: Builds
) -> None:
    """Every build writes three rows that are all its own."""
    lake = SmallLake(settings.data_dir)
    lake.build(builds, dict.fromkeys(range(3), "e0"), files=3)
    seen: set[tuple[str, ...]] = set()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.add(tuple(id for _, id, _ in lake.seen()))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for n in range(1, 12):
            lake.build(builds, dict.fromkeys(range(3), f"e{n}"), files=3)
            maintain(settings, builds, now_us=now_us(lake) + n)
        ended.set()
        reading.result()
    assert len(seen) > 1
    assert seen <= {(f"e{n}",) * 3 for n in range(12)}


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "the shop's data, 50% off")
    with Builds(settings.data_dir) as builds:
        lake = SmallLake(settings.data_dir)
        lake.build(builds, {1: "a", 2: "b"}, files=2)
        assert maintain(settings, builds, now_us=1).tables["silver_clicks"].files_merged == 2
        maintain(settings, builds, now_us=HOUR_US * 999_999)
        assert len(lake.seen()) == len(lake.rows()) == 2


def test_a_lake_that_was_moved_loses_nothing(settings: Settings, builds: Builds) -> None:
    lake = SmallLake(settings.data_dir)
    lake.build(builds, {1: "a"})
    moved = settings.data_dir.parent / f"{settings.data_dir.name}-moved"
    builds.close()
    settings.data_dir.rename(moved)
    with Builds(moved) as again, pytest.raises(DataDirError, match="moved"):
        maintain(Settings(data_dir=moved), again, now_us=1 << 60)
    assert list((moved / "lake" / "warehouse").rglob("*.parquet"))


KILLED = """
import sys
from datetime import timedelta
from pathlib import Path
from shopstream.lake.maintain import maintain
from shopstream.local.builds import Builds
from shopstream.settings import Settings
settings = Settings(data_dir=Path(sys.argv[1]), snapshots_ttl=timedelta(seconds=0))
with Builds(settings.data_dir) as builds:
    print("begun", flush=True)
    maintain(settings, builds)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_loses_nothing(settings: Settings) -> None:
    lake = SmallLake(settings.data_dir)
    for n in range(8):
        with Builds(settings.data_dir) as builds:
            lake.build(
                builds, dict.fromkeys(range(4), f"e{n}"), DAY + timedelta(days=n % 2), files=3
            )
        run = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(settings.data_dir)], stdout=subprocess.PIPE
        )
        assert run.stdout is not None
        assert run.stdout.readline() == b"begun\n"
        try:
            run.wait(timeout=0.9 + n * 0.1)
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        assert lake.rows() == lake.seen()
    with Builds(settings.data_dir) as builds:
        maintain(settings, builds)
        assert lake.rows() == lake.seen()
        assert set(lake.live()) <= set(builds.files())
