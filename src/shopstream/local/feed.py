"""Alerts as the processors wrote them, read from their tables while they go on writing."""

import msgspec
import structlog

from shopstream.events import Alert
from shopstream.local.outbox import Cursor, Outbox
from shopstream.local.tables import RocksTables

TAKEN_MAX = 1_000
US = 1_000_000

_log = structlog.get_logger("shopstream.notifier")
_decode = msgspec.json.Decoder(Alert).decode


class Feed:
    """A shard's alerts as its processor wrote them, numbered in order."""

    def __init__(self, shard: int, tables: RocksTables) -> None:
        self.shard = shard
        self._tables = tables
        self._again = False

    def take(self, outbox: Outbox, receivers: list[str], now_us: int, ttl_us: int) -> int:
        """Bring up to TAKEN_MAX alerts into the outbox; returns how many were read.

        After a power cut the processor may write its last alerts again under other numbers. So
        when the alert last taken isn't where it was, the feed is read from its start: ids already
        here are passed over, and what is older than the outbox remembers becomes history.
        """
        self._tables.refresh()
        cursor = outbox.cursor(self.shard)
        if cursor.sk and self._alert_at(cursor.sk) != cursor.alert_id:
            self._again = True
            cursor = Cursor()
        after = f"{int(cursor.sk) + 1:020d}" if cursor.sk else ""
        found, last, read = [], "", 0
        for last, item in self._tables.query(
            "alert_feed", str(self.shard), after=after, limit=TAKEN_MAX
        ):
            read += 1
            if (alert := self._readable(last, item)) is not None:
                if self._again and alert.at.timestamp() * US < now_us - ttl_us:
                    alert.historical = True
                found.append((last, alert))
        if found:
            outbox.take(self.shard, found, receivers, now_us)
        if last and (not found or found[-1][0] != last):
            outbox.move(self.shard, Cursor(last, self._alert_at(last)))
        if read < TAKEN_MAX:
            self._again = False
        return read

    def _alert_at(self, sk: str) -> str:
        item = self._tables.get("alert_feed", str(self.shard), sk)
        alert = self._readable(sk, item) if item is not None else None
        return alert.alert_id if alert else ""

    def _readable(self, sk: str, item: bytes) -> Alert | None:
        try:
            return _decode(item)
        except (msgspec.MsgspecError, UnicodeDecodeError) as e:
            _log.error("alert can't be read", shard=self.shard, number=sk, error=str(e))
            return None

    def close(self) -> None:
        self._tables.close()
