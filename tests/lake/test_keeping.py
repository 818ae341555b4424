"""What maintenance decides, with plain data."""

import itertools

from shopstream.lake.keeping import (
    EVERY_BUILDS,
    EVERY_US,
    HISTORY,
    MERGED_BYTES_MAX,
    PASS_BYTES_MAX,
    RECENT,
    SMALL_BYTES,
    Aged,
    LiveFile,
    files_to_delete,
    files_to_merge,
    is_due,
    snapshots_to_expire,
)

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
NOW_MS = 1_800_000_000_000


def small(path: str, day: str = "2026-01-01", bytes: int = 1_000) -> LiveFile:
    return LiveFile(path, day, bytes, rows=1)


def test_it_is_due_after_ten_builds_or_an_hour_with_one() -> None:
    assert not is_due(last_build=0, last_maintenance=0, last_at_us=0, now_us=EVERY_US * 9)
    assert is_due(last_build=1, last_maintenance=0, last_at_us=0, now_us=EVERY_US * 9)
    assert not is_due(last_build=14, last_maintenance=5, last_at_us=0, now_us=1)
    assert is_due(last_build=5 + EVERY_BUILDS, last_maintenance=5, last_at_us=0, now_us=1)
    assert not is_due(last_build=5, last_maintenance=5, last_at_us=0, now_us=EVERY_US)
    assert is_due(last_build=6, last_maintenance=5, last_at_us=0, now_us=EVERY_US)


def test_a_clock_set_back_does_not_put_it_off() -> None:
    assert is_due(last_build=6, last_maintenance=5, last_at_us=EVERY_US * 9, now_us=1)


def test_small_files_of_one_day_become_one() -> None:
    a, b, other = small("a"), small("b"), small("c", "2026-01-02")
    assert files_to_merge([b, other, a]) == [[a, b]]


def test_a_table_without_days_is_one_part() -> None:
    assert files_to_merge([small("b", ""), small("a", "")]) == [[small("a", ""), small("b", "")]]


def test_large_files_are_left_alone() -> None:
    assert files_to_merge([small("a", bytes=SMALL_BYTES), small("b")]) == []


def test_merged_files_do_not_grow_without_bound() -> None:
    files = [small(f"{n:03d}", bytes=SMALL_BYTES - 1) for n in range(20)]
    groups = files_to_merge(files)
    assert [file for group in groups for file in group] == files
    assert all(sum(file.bytes for file in group) <= MERGED_BYTES_MAX for group in groups)


def test_one_run_does_not_merge_everything_there_is() -> None:
    days = [f"2026-{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 29)]
    files = [small(f"{day}-{n}", day, SMALL_BYTES - 1) for day in days for n in range(2)]
    taken = [file for group in files_to_merge(files) for file in group]
    assert 0 < sum(file.bytes for file in taken) <= PASS_BYTES_MAX + 2 * SMALL_BYTES


def test_a_day_of_builds_each_minute_leaves_a_few_snapshots_spread_over_the_day() -> None:
    kept: list[Aged] = []
    for minute in range(10 * 24 * 60):
        kept.append(Aged(minute, NOW_MS + minute * MINUTE_MS))
        if minute % 10 == 0:
            now_ms = kept[-1].at_ms
            expired = set(snapshots_to_expire(kept, set(), now_ms, DAY_MS))
            kept = [snapshot for snapshot in kept if snapshot.id not in expired]
            assert len(kept) <= RECENT + HISTORY + 1
    ages = [(kept[-1].at_ms - snapshot.at_ms) / DAY_MS for snapshot in kept]
    assert max(ages) > 0.9
    gaps = [older - newer for older, newer in itertools.pairwise(ages)]
    assert max(gaps) < 2.5 / HISTORY


def test_two_snapshots_stay_however_old_and_so_do_those_that_are_needed() -> None:
    old = [Aged(n, NOW_MS - 30 * DAY_MS + n) for n in range(5)]
    assert snapshots_to_expire(old, {1}, NOW_MS, DAY_MS) == [0, 2]
    assert snapshots_to_expire(old, set(), NOW_MS, 0) == [0, 1, 2]
    assert snapshots_to_expire([], set(), NOW_MS, 0) == []


def test_a_file_is_deleted_when_its_grace_is_over() -> None:
    assert files_to_delete({"a": 0, "b": 5, "c": 99}, now_us=10, grace_us=6) == ["a"]
