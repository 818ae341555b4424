"""Alerts as the processors and the builder wrote them, read while they go on writing."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import apsw
import msgspec
import structlog

from shopstream.events import Alert
from shopstream.local.builds import Builds
from shopstream.local.outbox import Cursor, Outbox
from shopstream.local.tables import RocksTables

TAKEN_MAX = 1_000
US = 1_000_000
BUILDER = -1
"""Stands for the builder where a shard's number stands for its processor."""

_log = structlog.get_logger("shopstream.notifier")
_decode = msgspec.json.Decoder(Alert).decode


class Written(Protocol):
    """Alerts in the order in which one stage wrote them, by number."""

    def read(self, after: int, limit: int) -> Iterable[tuple[int, bytes]]:
        """Up to `limit` alerts with a number above `after`, as they stand there now."""
        ...

    def close(self) -> None: ...


class ShardAlerts:
    """What a shard's processor wrote."""

    def __init__(self, shard: int, folder: Path) -> None:
        self._shard = shard
        self._tables = RocksTables.reader(folder)

    def read(self, after: int, limit: int) -> Iterable[tuple[int, bytes]]:
        self._tables.refresh()
        found = self._tables.query(
            "alert_feed", str(self._shard), after=f"{after + 1:020d}", limit=limit
        )
        return [(int(sk), item) for sk, item in found]

    def close(self) -> None:
        self._tables.close()


class BuilderAlerts:
    """What the builder wrote."""

    def __init__(self, data_dir: Path) -> None:
        self._builds = Builds.reader(data_dir)

    def read(self, after: int, limit: int) -> Iterable[tuple[int, bytes]]:
        try:
            return self._builds.alerts(after, limit)
        except apsw.Error as e:
            # Not the outbox's trouble: only this feed is to be opened anew.
            raise OSError(f"lake/builds.db: {e}") from e

    def close(self) -> None:
        self._builds.close()


class Feed:
    """The alerts of a shard or of BUILDER, taken into the outbox in order."""

    def __init__(self, shard: int, written: Written) -> None:
        self.shard = shard
        self._written = written
        self._again = False

    def take(self, outbox: Outbox, receivers: list[str], now_us: int, ttl_us: int) -> int:
        """Bring up to TAKEN_MAX alerts into the outbox; returns how many were read.

        After a power cut the processor may write its last alerts again under other numbers. So
        when the alert last taken isn't where it was, the feed is read from its start: ids already
        here are passed over, and what is older than the outbox remembers becomes history.
        """
        cursor = outbox.cursor(self.shard)
        # The alert last taken is read again, to see whether it is still the same.
        items = list(self._written.read(int(cursor.sk or 0) - 1, TAKEN_MAX + 1))
        if cursor.sk:
            if items and self._found(*items[0]) == cursor:
                del items[0]
            else:
                self._again = True
                items = list(self._written.read(-1, TAKEN_MAX))
        items = items[:TAKEN_MAX]
        found = []
        for number, item in items:
            if (alert := self._readable(number, item)) is not None:
                if self._again and alert.at.timestamp() * US < now_us - ttl_us:
                    alert.historical = True
                found.append((_key(number), alert))
        if found:
            outbox.take(self.shard, found, receivers, now_us)
        if items and (last := self._found(*items[-1])) != outbox.cursor(self.shard):
            outbox.move(self.shard, last)
        if len(items) < TAKEN_MAX:
            self._again = False
        return len(items)

    def _found(self, number: int, item: bytes) -> Cursor:
        alert = self._readable(number, item)
        return Cursor(_key(number), alert.alert_id if alert else "")

    def _readable(self, number: int, item: bytes) -> Alert | None:
        try:
            return _decode(item)
        except (msgspec.MsgspecError, UnicodeDecodeError) as e:
            _log.error("alert can't be read", shard=self.shard, number=number, error=str(e))
            return None

    def close(self) -> None:
        self._written.close()


def _key(number: int) -> str:
    return f"{number:020d}"
