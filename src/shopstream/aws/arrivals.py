"""What has landed in S3 and since when: the partitions of a table of lines, and what is in each.

Firehose puts an object into the partition of the hour in which it began to gather it, at the latest
a day later; offers are archived under the day of their event. So the partitions of the last days
are looked into, and those that somebody has reason to look into.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from shopstream.aws.clients import asked

if TYPE_CHECKING:
    from shopstream.aws.clients import Clients
    from shopstream.aws.names import Names

LATE_DAYS = 3
"""So far back partitions are looked into again."""


class Arrivals:
    """The objects under `bronze/<topic>/` and in the archive of offers."""

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients = clients
        self._names = names

    def first_day(self, table: str) -> str:
        """The first day that has a partition, '' when nothing ever landed."""
        bucket, prefix = self._place(table)
        with asked(f"list s3://{bucket}/{prefix}"):
            found = self._clients.s3.list_objects_v2(
                Bucket=bucket, Prefix=f"{prefix}dt=", MaxKeys=1
            )
        keys = [entry["Key"] for entry in found.get("Contents", [])]
        return keys[0].removeprefix(f"{prefix}dt=")[:10] if keys else ""

    def look(
        self, table: str, known: Collection[str], now_us: int, also: Collection[str] = ()
    ) -> dict[str, str]:
        """Partitions (`day/hour`, of the archive `day`) with what is in them, as text that changes
        when it does. `known` are partitions seen before, `also` days to look into.
        """
        bucket, prefix = self._place(table)
        today = datetime.fromtimestamp(now_us / 1e6, UTC).date()
        newest = max((name[:10] for name in known), default=today.isoformat())
        since = min(date.fromisoformat(newest), today) - timedelta(days=LATE_DAYS)
        found = _summed(prefix, self._objects(bucket, prefix, f"{prefix}dt={since}"))
        if prefix.startswith("offers/"):
            days = {day for day in self._days(bucket, prefix) if day not in known} | set(also)
            for day in sorted(days - {name[:10] for name in found}):
                found |= _summed(prefix, self._objects(bucket, f"{prefix}dt={day}/", ""))
        return found

    def _place(self, table: str) -> tuple[str, str]:
        if table == "archive_offers":
            return self._names.offers_archive, "offers/"
        return self._names.lake, f"bronze/{table.removeprefix('bronze_')}/"

    def _objects(self, bucket: str, prefix: str, after: str) -> Iterator[tuple[str, int, int]]:
        """Keys with size and time (milliseconds)."""
        pages = self._clients.s3.get_paginator("list_objects_v2")
        with asked(f"list s3://{bucket}/{prefix}"):
            for page in pages.paginate(Bucket=bucket, Prefix=prefix, StartAfter=after):
                for entry in page.get("Contents", []):
                    at_ms = round(entry["LastModified"].timestamp() * 1_000)
                    yield entry["Key"], entry["Size"], at_ms

    def _days(self, bucket: str, prefix: str) -> Iterator[str]:
        pages = self._clients.s3.get_paginator("list_objects_v2")
        with asked(f"list s3://{bucket}/{prefix}"):
            for page in pages.paginate(Bucket=bucket, Prefix=f"{prefix}dt=", Delimiter="/"):
                for found in page.get("CommonPrefixes", []):
                    yield found["Prefix"].removeprefix(f"{prefix}dt=").strip("/")


def _summed(prefix: str, objects: Iterator[tuple[str, int, int]]) -> dict[str, str]:
    """Partitions with the number of their objects, their bytes and the newest's time."""
    sums: dict[str, tuple[int, int, int]] = {}
    root = prefix.partition("dt=")[0]
    for key, size, at_ms in objects:
        day, *folders = key.removeprefix(root).split("/")[:-1]
        hour = [part.removeprefix("hour=") for part in folders if part.startswith("hour=")]
        name = "/".join([day.removeprefix("dt="), *hour])
        count, total, newest = sums.get(name, (0, 0, 0))
        sums[name] = (count + 1, total + size, max(newest, at_ms))
    return {name: ":".join(map(str, found)) for name, found in sums.items()}


def new_partitions(arrived: Mapping[str, str], landed: Mapping[str, str]) -> frozenset[str]:
    """The partitions in which something has changed since they were read."""
    return frozenset(name for name, said in arrived.items() if landed.get(name) != said)


def recent(landed: Mapping[str, str], *, all_days: bool) -> dict[str, str]:
    """What has to be remembered of partitions; with `all_days` of all of them."""
    if all_days or not landed:
        return dict(landed)
    newest = date.fromisoformat(max(landed)[:10])
    first = (newest - timedelta(days=LATE_DAYS + 1)).isoformat()
    return {name: said for name, said in landed.items() if name[:10] >= first}
