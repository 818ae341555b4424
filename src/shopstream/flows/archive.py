"""Archive offers as JSON files, each exactly once.

Offers leave through a feed written in the same batch that makes them. To roll a file its range
of the feed is first written down and synced, then the file is put, then the range is deleted:
after a kill or a power cut the same range makes the same file again.
"""

import msgspec

from shopstream.flows.work import ARCHIVED, Feed, Work
from shopstream.ports import Lake, Tables

ROLL_US = 10_000_000
"""A file holds the offers of at most so long."""


class _Made(msgspec.Struct, gc=False):
    made_at: str


_decode_made = msgspec.json.Decoder(_Made).decode


class Archive:
    """Rolls the offers feed of a shard into `archive/offers/dt=…/<shard>-<first>-<last>.json`."""

    def __init__(self, tables: Tables, lake: Lake, feed: Feed, shard: int, ttl_us: int) -> None:
        self._ttl_us = ttl_us
        self._filed: dict[str, int] = {}
        self._tables = tables
        self._lake = lake
        self._feed = feed
        self._shard = shard
        self._rolled_us = 0
        self._done: tuple[str, str] | None = None
        intent = tables.get("state", "archive_intent")
        self._intent = _range(intent) if intent else None
        first = next(iter(tables.query("archive_feed", str(shard), limit=1)), None)
        self._first = int(first[0]) if first else feed.next

    @property
    def waiting(self) -> bool:
        """Whether offers wait for their file, or a file's feed items for their deletion."""
        return self._first < self._feed.next or bool(self._intent or self._done)

    def due(self, now_us: int) -> bool:
        """Whether it is time to go on with what waits."""
        # A last time that is yet to come: the clock was set back.
        return self._done is not None or not 0 <= now_us - self._rolled_us < ROLL_US

    def settle(self, work: Work) -> None:
        """In a batch that is being gathered: forget what is filed."""
        if self._done:
            for sk, _ in self._tables.query("archive_feed", str(self._shard), before=self._done[1]):
                work.delete("archive_feed", str(self._shard), sk)
            work.delete("state", "archive_intent", "")
            for name, offers in self._filed.items():
                work.expire("archive", self._ttl_us, name, "")
                work.stored("archive", self._ttl_us, ARCHIVED, offers)
            self._filed.clear()
            self._first = int(self._done[1])
            self._done = None

    def prepare(self, work: Work, now_us: int, *, force: bool) -> None:
        """In a batch that only lacks the checkpoint: decide on the next file."""
        if (force or self.due(now_us)) and self._intent is None and self._first < self._feed.next:
            self._rolled_us = now_us
            self._intent = (f"{self._first:020d}", f"{self._feed.next:020d}")
            work.put("state", "archive_intent", "", "-".join(self._intent).encode())

    def roll(self) -> None:
        """After the batch is written: put the files that were decided on, one for each day."""
        if self._intent is None or self._done is not None:
            return
        # What the tables know of the file must outlast it: after a power cut its offers would be
        # made and filed again.
        self._tables.sync()
        first, after = self._intent
        days: dict[str, list[bytes]] = {}
        items = self._tables.query("archive_feed", str(self._shard), after=first, before=after)
        for _, item in items:
            for line in item.split(b"\n"):
                days.setdefault(_decode_made(line).made_at[:10], []).append(line)
        for day, lines in days.items():
            name = f"archive/offers/dt={day}/{self._shard}-{first}-{int(after) - 1:020d}.json"
            self._lake.put(name, b"\n".join(lines) + b"\n")
            self._filed[name] = len(lines)
        self._done, self._intent = self._intent, None


def _range(intent: bytes) -> tuple[str, str]:
    first, _, after = intent.decode().partition("-")
    return first, after
