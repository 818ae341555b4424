"""Forget what has expired: items are listed, when written, under the time at which they do."""

from shopstream.flows.orders import archive_of, line_count
from shopstream.flows.people import People
from shopstream.flows.timers import Timers
from shopstream.flows.work import EXPIRED, Work, decode_list
from shopstream.ports import Lake, Tables

LISTS_MAX = 50
"""Lists of expired items taken in one micro-batch, so that no batch is held up."""

_EXPIRING = (
    "browsing_events", "stock_levels", "offers", "orders", "quarantine", "alerts",
    "alert_feed", "archive", "budgets",
)  # fmt: skip


def forget_expired(
    tables: Tables, lake: Lake, work: Work, people: People, timers: Timers, now_us: int
) -> bool:
    """Delete a bounded number of expired items; returns whether there were any."""
    left = LISTS_MAX
    gone: dict[str, set[tuple[str, str]]] = {"browsing_events": set(), "offers": set()}
    for table in _EXPIRING:
        for sk, item in tables.query("expiry", table, before=f"{now_us:020d}", limit=left):
            expired = decode_list(item)
            for pk, item_sk in expired.keys:
                _forget_files(tables, lake, table, pk, item_sk, work)
                work.delete(table, pk, item_sk)
            for topic, units in expired.counts.items():
                work.count(topic, "", EXPIRED, units)
            if table in gone:
                gone[table].update(expired.keys)
            work.delete("expiry", table, sk)
            left -= 1
        if left <= 0:
            break
    _forget_users(tables, work, people, timers, gone)
    return left < LISTS_MAX


def _forget_files(tables: Tables, lake: Lake, table: str, pk: str, sk: str, work: Work) -> None:
    """A file of offers goes before its entry here: after a kill it is looked for again. That of an
    order goes once nothing names it any more.

    An order's lines are counted here: some may have been added after it was listed.
    """
    if table == "archive":
        lake.delete(pk)
        return
    order = tables.get(table, pk, sk) if table == "orders" else None
    if order is not None:
        work.count("order_lines", "", EXPIRED, line_count(order))
        if archive := archive_of(order):
            work.files_gone.append(archive)


def _forget_users(
    tables: Tables,
    work: Work,
    people: People,
    timers: Timers,
    gone: dict[str, set[tuple[str, str]]],
) -> None:
    """Users of whom nothing is left are unknown again; others are folded anew when they come.

    Told of all lists at once: what another list takes in this batch is still to be seen here.
    """
    for user_id in {pk for keys in gone.values() for pk, _ in keys}:
        people.forget(user_id)
        left = (
            sk
            for table, keys in gone.items()
            for sk, _ in tables.query(table, user_id)
            if (user_id, sk) not in keys
        )
        if next(left, None) is None:
            work.delete("users", user_id, "")
            timers.forget(user_id, work.batch)
