"""What to merge, what to expire, what to delete: the decisions of maintenance, on plain data."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

EVERY_BUILDS = 10
EVERY_US = 3_600_000_000
GRACE = timedelta(hours=1)
RECENT = 10
HISTORY = 12
SMALL_BYTES = 32 << 20
MERGED_BYTES_MAX = 256 << 20
"""Most bytes that are merged into one file."""
PASS_BYTES_MAX = 1 << 30
"""About the most bytes that are merged in one run: builds wait meanwhile. The next does more."""
_HOUR_MS = 3_600_000


class LiveFile(NamedTuple):
    """A data file of a table's newest snapshot; `part` is its day, or nothing."""

    name: str
    part: str
    bytes: int
    rows: int


class Aged(NamedTuple):
    """A snapshot and when it was made, milliseconds UTC."""

    id: int
    at_ms: int


def is_due(last_build: int, last_maintenance: int, last_at_us: int, now_us: int) -> bool:
    """Whether to maintain now: EVERY_BUILDS after the last time, or EVERY_US and a build after it.

    A clock that was set back makes it due.
    """
    builds = last_build - last_maintenance
    return builds >= EVERY_BUILDS or (builds > 0 and abs(now_us - last_at_us) >= EVERY_US)


def files_to_merge(files: Iterable[LiveFile]) -> list[list[LiveFile]]:
    """Groups of two or more small files of one day (or of a table without days), each of which
    should be one file.
    """
    days: dict[str, list[LiveFile]] = defaultdict(list)
    for file in files:
        if file.bytes < SMALL_BYTES:
            days[file.part].append(file)
    groups: list[list[LiveFile]] = []
    left = PASS_BYTES_MAX
    for _, small in sorted(days.items()):
        if len(small) == 1 or left <= 0:
            continue
        groups.append([])
        for file in sorted(small):
            if sum(taken.bytes for taken in groups[-1]) + file.bytes > MERGED_BYTES_MAX:
                groups.append([])
            groups[-1].append(file)
            left -= file.bytes
    return [group for group in groups if len(group) > 1]


def snapshots_to_expire(
    snapshots: Sequence[Aged], keep: Collection[int], now_ms: int, ttl_ms: int
) -> list[int]:
    """Snapshots to forget, of `snapshots` in the order they were made.

    Kept are the two newest however old; of those younger than `ttl_ms` the RECENT newest and the
    last one of each twelfth of that time (of each hour, if that is longer); and `keep`. Twelfths
    have fixed bounds, so that what is kept now leaves no hole later.
    """
    step_ms = max(ttl_ms // HISTORY, _HOUR_MS)
    young = [snapshot for snapshot in snapshots if snapshot.at_ms > now_ms - ttl_ms]
    kept = {snapshot.id for snapshot in (*snapshots[-2:], *young[-RECENT:])} | set(keep)
    kept |= {snapshot.id for snapshot in {s.at_ms // step_ms: s for s in young}.values()}
    return [snapshot.id for snapshot in snapshots if snapshot.id not in kept]


def files_to_delete(unneeded: Mapping[str, int], now_us: int, grace_us: int) -> list[str]:
    """Those of `unneeded` (name -> since when) whose grace is over."""
    return sorted(name for name, since_us in unneeded.items() if now_us - since_us >= grace_us)
