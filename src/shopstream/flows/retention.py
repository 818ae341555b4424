"""Forget what has expired: items are listed, when written, under the time at which they do."""

import msgspec

from shopstream.flows.orders import archive_of
from shopstream.flows.people import People
from shopstream.flows.work import EXPIRED, Work
from shopstream.ports import Lake, Tables

LISTS_MAX = 50
"""Lists of expired items taken in one micro-batch, so that no batch is held up."""
_decode_list = msgspec.msgpack.Decoder(tuple[list[tuple[str, str]], dict[str, int]]).decode


_EXPIRING = (
    "browsing_events", "stock_levels", "offers", "orders", "quarantine", "alerts",
    "alert_feed", "archive",
)  # fmt: skip


def forget_expired(tables: Tables, lake: Lake, work: Work, people: People, now_us: int) -> bool:
    """Delete a bounded number of expired items; returns whether there were any."""
    left = LISTS_MAX
    for table in _EXPIRING:
        for sk, item in tables.query("expiry", table, before=f"{now_us:020d}", limit=left):
            keys, counts = _decode_list(item)
            for pk, item_sk in keys:
                _forget_files(tables, lake, table, pk, item_sk)
                work.delete(table, pk, item_sk)
            for topic, units in counts.items():
                work.count(topic, "", EXPIRED, units)
            if table in ("browsing_events", "offers"):
                _forget_users(tables, work, people, table, keys)
            work.delete("expiry", table, sk)
            left -= 1
        if left <= 0:
            break
    return left < LISTS_MAX


def _forget_files(tables: Tables, lake: Lake, table: str, pk: str, sk: str) -> None:
    """Archived files go before what names them: after a kill they are looked for again."""
    if table == "archive":
        lake.delete(pk)
        return
    order = tables.get(table, pk, sk) if table == "orders" else None
    if order is not None and (archive := archive_of(order)):
        lake.delete(archive)


def _forget_users(
    tables: Tables, work: Work, people: People, table: str, keys: list[tuple[str, str]]
) -> None:
    """Users of whom nothing is left are unknown again; others are folded anew when they come."""
    gone = set(keys)
    for user_id in {pk for pk, _ in keys}:
        people.forget(user_id)
        left = (
            (pk_table, sk)
            for pk_table in ("browsing_events", "offers")
            for sk, _ in tables.query(pk_table, user_id)
            if pk_table != table or (user_id, sk) not in gone
        )
        if next(left, None) is None:
            work.delete("users", user_id, "")
