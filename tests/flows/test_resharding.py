"""Cut into another number of shards, a data directory goes on as if it had always had them."""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.flows.pipeline import (
    DAY_US,
    NOW_US,
    Opener,
    Pipeline,
    cart_line,
    click,
    entry,
    order,
    stock,
)
from tests.flows.test_grouping import RULES, SLOW, rows_of_entries

from shopstream.domain.partition import shard_of_key
from shopstream.errors import DataDirError, LogBroken
from shopstream.events import TOPICS, Entry
from shopstream.flows.replaying import entries_of
from shopstream.flows.resharding import ensure_at_rest, reshard
from shopstream.flows.work import decode_list

SAME = ("offers", "orders", "stock_levels", "products", "users", "browsing_events", "timers")
USERS = [f"u{n}" for n in range(12)]


def a_shop(pipeline: Pipeline) -> None:
    """Something in every table: of some days ago, of now, good and bad."""
    pipeline.now_us = NOW_US - 3 * DAY_US
    pipeline.take_all(
        entry(*(click(u, -4_000, product_id="p1", event_id=f"old-{u}") for u in USERS)),
        entry(stock("p1", 3, -4_000), topic="stock"),
    )
    pipeline.now_us = NOW_US
    for n in range(3):
        pipeline.give(*(click(u, n - 20, product_id="p1", event_id=f"e{n}") for u in USERS))
    pipeline.give(*(cart_line(u, "p2", 1, -5) for u in USERS[:4]), topic="carts")
    orders = [order(f"o{u}", 600, 700, customer_id=u, minutes=-1) for u in USERS[:6]]
    pipeline.give(*orders, order("guest", 5_000), order("bad", -1), topic="orders")
    pipeline.give(*(stock(f"p{n}", n, -2) for n in range(8)), topic="stock")
    bad = [click(u, -1, event_id=f"bad-{u}", price=-1) for u in USERS]
    pipeline.give(*bad, b"not json", b"\xff")


def everything(pipeline: Pipeline) -> dict[str, Any]:
    found = pipeline.snapshot()
    return {name: found[name] for name in (*SAME, "quarantine", "archived")}


def raised(pipeline: Pipeline) -> int:
    return sum(processor.ledger.total("raised") for processor in pipeline.processors)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 3), (4, 2)])
def test_nothing_is_lost_or_doubled_and_all_still_adds_up(
    open_pipeline: Opener, before: int, after: int
) -> None:
    pipeline = open_pipeline(shards=before)
    a_shop(pipeline)
    pipeline.idle(last=True)
    expected, checked = everything(pipeline), pipeline.check()
    counts = {topic: pipeline.counts(topic) for topic in TOPICS}
    pipeline.reshard(after)
    assert everything(pipeline) == expected
    assert {topic: pipeline.counts(topic) for topic in TOPICS} == counts
    again = pipeline.check()
    assert (again.differences, again.tables) == ([], checked.tables)
    assert again.orders == checked.orders


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 3), (4, 2)])
def test_each_item_is_where_the_next_event_of_its_id_goes(
    open_pipeline: Opener, before: int, after: int
) -> None:
    """So what was sent before is known: all of it again adds nothing, and no second alert."""
    pipeline = open_pipeline(shards=before)
    a_shop(pipeline)
    pipeline.reshard(after)
    for shard, tables in enumerate(pipeline.tables):
        for table in ("users", "browsing_events", "offers", "timers", "stock_levels", "products"):
            assert {shard_of_key(pk, after) for pk, _, _ in tables.scan(table)} <= {shard}, table
    accepted = {topic: pipeline.counts(topic)["accepted"] for topic in TOPICS}
    offers, alerts = len(pipeline.offers()), raised(pipeline)
    assert offers > 0
    assert alerts > 0
    a_shop(pipeline)
    assert {topic: pipeline.counts(topic)["accepted"] for topic in TOPICS} == accepted
    assert len(pipeline.offers()) == offers
    assert raised(pipeline) == alerts
    assert pipeline.check().differences == []


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2)])
def test_everything_expires_when_it_would_have(
    open_pipeline: Opener, before: int, after: int
) -> None:
    cut, whole = open_pipeline(shards=before), open_pipeline(shards=before)
    for pipeline in (cut, whole):
        a_shop(pipeline)
    cut.reshard(after)
    whole.idle(last=True)
    for minutes in (0, 28 * 24 * 60, 2 * 24 * 60, 400 * 24 * 60):
        for pipeline in (cut, whole):
            pipeline.idle(minutes=minutes, last=True)
            assert pipeline.check().differences == []
        assert everything(cut) == everything(whole)
    for table in ("browsing_events", "orders", "quarantine", "alerts", "alert_feed", "expiry"):
        assert cut.items(table) == [], table


def test_time_goes_on_from_where_it_was(open_pipeline: Opener) -> None:
    """A late event must not turn a watermark back: what is due would wait for it again."""
    pipeline = open_pipeline(shards=2)
    pipeline.give(*(click(u, -3, event_id="e") for u in USERS))
    old = entry(*(click(u, -9_000) for u in USERS), historical=True, source="load:x")
    pipeline.take_all(old)
    at = pipeline.processors[0].checkpoint
    live_us, history_us = at.live_us, at.history_us
    assert 0 < history_us < live_us
    pipeline.reshard(3)
    for processor in pipeline.processors:
        checkpoint = processor.checkpoint
        assert (checkpoint.live_us, checkpoint.history_us) == (live_us, history_us)


def test_alerts_stay_with_their_shard_while_there_is_one(open_pipeline: Opener) -> None:
    """A notifier that reads a feed again, as after a power cut, finds what it found."""
    pipeline = open_pipeline(shards=3)
    a_shop(pipeline)
    feeds = [sorted(tables.scan("alert_feed")) for tables in pipeline.tables]
    assert all(feeds)
    pipeline.reshard(4)
    assert [sorted(tables.scan("alert_feed")) for tables in pipeline.tables] == [*feeds, []]
    pipeline.reshard(2)
    assert [sorted(tables.scan("alert_feed")) for tables in pipeline.tables] == feeds[:2]


def test_timers_go_on_and_fire_once(open_pipeline: Opener) -> None:
    pipeline = open_pipeline(shards=3)
    pipeline.give(*(click(u, event_type="add_to_cart", product_id="p1") for u in USERS))
    pipeline.reshard(2)
    assert pipeline.offers("cart-abandoned") == []
    pipeline.idle(minutes=31)
    pipeline.idle(minutes=60)
    assert sorted(o.user_id for o in pipeline.offers("cart-abandoned")) == sorted(USERS)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (2, 5)])
def test_a_daily_budget_is_spent_to_the_end_and_no_further(
    open_pipeline: Opener, before: int, after: int
) -> None:
    rules = """
[[rule]]
name = "all"
on = ["view"]
offer = { percent = 10, expires = "1h" }
budget_per_day = 11
"""
    pipeline = open_pipeline(rules=rules, shards=before)
    pipeline.give(*(click(u, event_id="e") for u in USERS[:6]))
    assert 3 <= len(pipeline.offers()) <= 6
    pipeline.reshard(after)
    pipeline.give(*(click(f"more-{n}", event_id="e") for n in range(100)))
    assert len(pipeline.offers()) == 11


def test_a_rejection_of_a_shard_that_is_no_more_can_be_replayed_once(
    open_pipeline: Opener,
) -> None:
    pipeline = open_pipeline(shards=4)
    pipeline.give(*(click(u, -1, event_id=f"bad-{u}", price=-1) for u in USERS))
    before = {record.id for record in pipeline.rejections()}
    assert {name.partition("-")[0] for name in before} == {"0", "1", "2", "3"}
    pipeline.reshard(2)
    records = pipeline.rejections()
    assert len({record.id for record in records}) == len(USERS)
    assert {record.id.partition("-")[0] for record in records} == {"0", "1"}
    for record in records:
        mended = record.rejection.raw.replace(b'"price": -1', b'"price": 1')
        pipeline.take_all(*entries_of(record, mended, NOW_US, live=False))
    assert all(record.resolved_us for record in pipeline.rejections())
    assert pipeline.counts(source="replay") == {"accepted": len(USERS)}
    assert pipeline.check().differences == []


def test_what_expires_is_listed_once_however_often_shards_were_changed(
    open_pipeline: Opener,
) -> None:
    rules = """
[[rule]]
name = "all"
on = ["view"]
offer = { percent = 10, expires = "1h" }
budget_per_day = 40
"""
    pipeline = open_pipeline(rules=rules, shards=4)
    for user_id in USERS:
        pipeline.give(click(user_id, -30, event_id="first"))
    a_shop(pipeline)
    pipeline.idle(last=True)

    def listed() -> list[set[tuple[str, str, str, str]]]:
        """Of each shard: table, when, and the two keys of each item; that none is there twice."""
        shards = []
        for tables in pipeline.tables:
            found = [
                (table, due, *key)
                for table, due, item in tables.scan("expiry")
                for key in decode_list(item).keys
            ]
            assert len(found) == len(set(found))
            shards.append(set(found))
        return shards

    whole = set().union(*listed())
    assert {table for table, *_ in whole} >= {"alerts", "budgets", "browsing_events", "orders"}
    for shards in (3, 4, 3, 4):
        pipeline.reshard(shards)
        found = listed()
        for table in ("alerts", "budgets"):
            everywhere = {key for key in whole if key[0] == table}
            assert all({key for key in one if key[0] == table} == everywhere for one in found)
        kept = ("browsing_events", "offers", "stock_levels", "orders")
        assert sorted(key for one in found for key in one if key[0] in kept) == sorted(
            key for key in whole if key[0] in kept
        )


def test_a_ledger_that_was_wrong_is_told_of_and_stays_as_wrong(open_pipeline: Opener) -> None:
    pipeline = open_pipeline(shards=2)
    a_shop(pipeline)
    pipeline.idle(last=True)
    [(order_id, sk, _), *_] = pipeline.tables[0].scan("orders")
    batch = pipeline.tables[0].batch()
    batch.delete("orders", order_id, sk)
    pipeline.tables[0].write(batch)
    before = pipeline.check().differences
    assert before
    wanted = pipeline.engine.prepare(3)
    new = [wanted.make_tables(n) for n in range(3)]
    assert reshard(pipeline.tables, new, lambda _: None).uncounted == 1
    listed = [
        units
        for tables in new
        for _, _, item in tables.scan("expiry")
        for topic, units in decode_list(item).counts.items()
        if topic == "orders"
    ]
    assert sum(listed) == 7, "six customers' and a guest's: as the ledger has it"
    for tables in new:
        tables.close()


def test_of_large_items_few_wait_in_memory(open_pipeline: Opener) -> None:
    """A rejection may be as large as a request: what is written together is bounded in bytes."""
    pipeline = open_pipeline()
    for _ in range(8):
        pipeline.give(b"{" + b"x" * 900_000)
    wanted = pipeline.engine.prepare(1)
    with closing(wanted.make_tables(0)) as new:
        told: list[int] = []
        reshard(pipeline.tables, [new], told.append)
        assert len(list(new.scan("quarantine"))) == 8
    assert told[:8] == [1, 2, 3, 4, 5, 6, 7, 8], "each was written before the next"


def test_a_shard_that_has_not_processed_all_is_not_cut(open_pipeline: Opener) -> None:
    pipeline = open_pipeline(shards=2)
    a_shop(pipeline)
    for n in range(3):  # soon after the last file: this offer waits for the next
        pipeline.give(*(click(f"v{k}", n, product_id="p1", event_id=f"e{n}") for k in range(9)))
    with pytest.raises(DataDirError, match="not archived"):
        ensure_at_rest(pipeline.tables, pipeline.log.end())
    pipeline.idle(last=True)
    pipeline.append(entry(click()))
    with pytest.raises(DataDirError, match="shard 0 has processed"):
        ensure_at_rest(pipeline.tables, pipeline.log.end())


def test_rows_that_were_cut_for_other_shards_are_not_read_as_ours(open_pipeline: Opener) -> None:
    """As when tables of before come back from a backup: half of the events would be passed over."""
    pipeline = open_pipeline(shards=2)
    pipeline.give(click())
    pipeline.reshard(3)
    with pytest.raises(LogBroken, match="cut for 2 shards"):
        pipeline.log.read(0)


@pytest.mark.slow
@SLOW
@given(
    rows=rows_of_entries,
    cuts=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4)), min_size=1, max_size=3),
)
def test_what_comes_out_does_not_depend_on_cuts(
    rows: list[list[Entry]], cuts: list[tuple[int, int]]
) -> None:
    # A budget is split, and a timer fires by its own shard's watermark: neither is compared.
    unlimited = RULES.replace("budget_per_day = 3\n", "").replace('idle = "10m"', 'within = "1m"')
    with (
        TemporaryDirectory() as folder,
        Pipeline(Path(folder, "whole"), rules=unlimited) as whole,
        Pipeline(Path(folder, "cut"), rules=unlimited) as cut,
    ):
        for n, row in enumerate(rows):
            for shards in (shards for at, shards in cuts if at == n):
                if shards != cut.engine.shards:
                    cut.process_all()
                    cut.reshard(shards)
            whole.append(*row)
            cut.append(*row)
        for pipeline in (whole, cut):
            pipeline.process_all()
            pipeline.idle(last=True)
        assert everything(cut) == everything(whole)
        for topic in TOPICS:
            for source in ("http", "load:x"):
                assert cut.counts(topic, source) == whole.counts(topic, source)
        assert cut.check().differences == []
