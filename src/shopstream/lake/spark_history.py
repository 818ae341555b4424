"""What the Spark job knows of a table from its snapshots: what was read, and which days changed.

Each snapshot that the job commits says in its summary how it came about (`Checkpoint`), so rows and
checkpoint change together: a run that died is simply repeated. All is pure.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec import Struct

from shopstream.lake.plan import NO_DAYS, Days, union

PROPERTY = "shopstream.checkpoint"
"""Where a snapshot's summary holds it."""
LATE_DAYS = 3
"""So far back folders of what landed are looked into again."""


class Checkpoint(Struct, frozen=True, omit_defaults=True):
    """How a snapshot came about: by which version of the model; `landed`, what was seen of the
    folders of lines; `upstream`, the snapshots of the tables that were read; `days`, those that
    were written anew, None for all.
    """

    model: str
    landed: dict[str, str] = {}
    upstream: dict[str, int] = {}
    days: list[str] | None = None

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()


class Snapshot(NamedTuple):
    """`tidied`: the same rows in other files. No `checkpoint`: somebody else wrote."""

    id: int
    parent: int | None
    at: datetime
    tidied: bool
    checkpoint: Checkpoint | None


class History:
    """A table's snapshots from `current` back to the first that is still known."""

    def __init__(self, snapshots: Mapping[int, Snapshot], current: int | None) -> None:
        self._line: list[Snapshot] = []
        while current is not None and current in snapshots:
            self._line.append(snapshots[current])
            current = snapshots[current].parent

    @property
    def current(self) -> int:
        """The newest snapshot's id, 0 for a table that has none."""
        return self._line[0].id if self._line else 0

    @property
    def at(self) -> datetime | None:
        """When the newest snapshot was committed."""
        return self._line[0].at if self._line else None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """What the job last wrote down; None for a table that it never wrote, or so long ago that
        nobody knows.
        """
        return next((s.checkpoint for s in self._line if s.checkpoint), None)

    def days_since(self, seen: int) -> Days:
        """The days written anew after the snapshot `seen`; all where that is not known any more."""
        after: list[Days] = []
        for snapshot in self._line:
            if snapshot.id == seen:
                return union(after)
            after.append(_days(snapshot))
        return None if self._line else NO_DAYS

    def days_after(self, at: datetime) -> Days:
        """The days written anew after that moment."""
        return union(_days(snapshot) for snapshot in self._line if snapshot.at > at)

    def older_than(self, at: datetime) -> bool:
        """Whether there are snapshots of before that moment, apart from the current one."""
        return any(snapshot.at < at for snapshot in self._line[1:])


def _days(snapshot: Snapshot) -> Days:
    if snapshot.checkpoint is None:
        return NO_DAYS if snapshot.tidied else None
    days = snapshot.checkpoint.days
    return None if days is None else frozenset(days)


def new_folders(arrived: Mapping[str, str], landed: Mapping[str, str]) -> frozenset[str]:
    """The folders in which something has changed since they were read."""
    return frozenset(name for name, said in arrived.items() if landed.get(name) != said)


def first_looked_into(known: Collection[str]) -> str:
    """The first day that is looked into by itself, '' for all; `known` are folders seen before."""
    if not known:
        return ""
    newest = date.fromisoformat(max(known)[:10])
    return (newest - timedelta(days=LATE_DAYS)).isoformat()


def remembered(landed: Mapping[str, str], *, all_days: bool) -> dict[str, str]:
    """What has to be remembered of folders; with `all_days` of all of them."""
    first = "" if all_days else first_looked_into(landed)
    return {name: said for name, said in sorted(landed.items()) if name[:10] >= first}


def days_of_offers(changed: Sequence[Days], known: Collection[str]) -> frozenset[str]:
    """The days of the archive that may have got offers, as events of days have `changed`."""
    days = union(changed)
    if days is None:
        return frozenset(known)
    # A timer may fire a day or two after the event that set it.
    return frozenset(
        (date.fromisoformat(day) + timedelta(days=n)).isoformat() for day in days for n in range(3)
    )
