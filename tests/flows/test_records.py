"""A record that comes twice, or whose process dies anywhere, leaves what one good try leaves."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.flows.cloud import Cloud, Killed
from tests.flows.pipeline import MINUTE_US, NOW_US, cart_line, click, entry, order, stock

from shopstream.domain import canonical
from shopstream.events import Entry
from shopstream.flows import clicks as clicks_flow
from shopstream.flows.history import HISTORY_BYTES_MAX, is_past, lines_of, mark_of
from shopstream.flows.records import settle_record, take_record
from shopstream.ports import Items

Opener = Callable[..., Cloud]
PURCHASE = click("u1", -1, event_type="purchase", product_id="p1", event_id="bought")
VIEWS = [click("u1", n - 9, product_id="p1", event_id=f"e{n}") for n in range(4)]
SEGMENT = (
    b'{"type":"track","event":"Order Completed","messageId":"m1","userId":"u1",'
    b'"timestamp":"2025-11-21T09:59:00Z","properties":{"order_id":"o9","total":1500,'
    b'"currency":"EUR","products":[{"product_id":"p1","quantity":1,"price":1500}]}}'
)
RECORDS: dict[str, Entry] = {
    "views": entry(*VIEWS),
    "views and rubbish": entry(*VIEWS[:2], b"rubbish", VIEWS[0], VIEWS[3] | {"page": "/other"}),
    "history": entry(*VIEWS, historical=True, source="load:x", watermark_us=NOW_US - MINUTE_US),
    "a large order": entry(order("o1", 5_000, customer_id="u1"), topic="orders"),
    "orders": entry(
        order("o1", 5, customer_id="u1"),
        order("o1", 5, customer_id="u1", status="paid"),
        order("o1", 6, customer_id="u1"),
        order("o2", -6, customer_id="u1"),
        topic="orders",
    ),
    "lines": entry(
        order("o1", 5, 7, -1) | {"customer_id": "u1"},
        topic="orders",
        on_bad_line="quarantine_line",
        units=3,
    ),
    "an order too large for its table": entry(
        order("o1", 5, 7, customer_id="u1", payload={"note": "x" * 600_000}),
        topic="orders",
        on_bad_line="quarantine_line",
        units=2,
    ),
    "stock": entry(stock("p1", 1, -2), stock("p1", 9, -1), stock("p1", 2), topic="stock"),
    "a cart": entry(cart_line("u1", "p1", 2, -5), cart_line("u1", "p1", 0, -4), topic="carts"),
    "a segment order": entry(SEGMENT, dialect="segment"),
}


@pytest.fixture
def open_cloud(tmp_path: Path) -> Iterator[Opener]:
    opened: list[AbstractContextManager[Cloud]] = []

    def open_one(**options: Any) -> Cloud:
        cloud = Cloud(tmp_path / str(len(opened)), **options)
        opened.append(cloud)
        return cloud

    yield open_one
    for cloud in opened:
        cloud.__exit__(None, None, None)


@pytest.fixture
def cloud(open_cloud: Opener) -> Cloud:
    return open_cloud()


def counts(cloud: Cloud, topic: str = "clicks", source: str = "http") -> dict[str, int]:
    return {o: n for (t, s, o), n in cloud.cells().items() if (t, s) == (topic, source)}


@pytest.mark.parametrize("name", list(RECORDS))
def test_a_process_that_dies_before_any_of_its_writes_leaves_nothing_undone_or_done_twice(
    open_cloud: Opener, name: str
) -> None:
    before = [entry(click("u1", -30, event_id="first")), entry(stock("p1", 8, -60), topic="stock")]
    once, dying = open_cloud(), open_cloud()
    for number, record in enumerate([*before, RECORDS[name], entry(PURCHASE)]):
        once.take(record, str(number))
        dying.each_death(lambda r=record, n=number: dying.ingest(r, str(n)))  # type: ignore[misc]  # bound now
        dying.look()
    assert dying.snapshot() == once.snapshot()


@pytest.mark.parametrize("name", list(RECORDS))
def test_a_record_taken_again_is_told_in_the_same_words_until_it_is_settled(
    cloud: Cloud, name: str
) -> None:
    def take() -> Any:
        return take_record(
            RECORDS[name], "r", cloud.now_us, cloud.items, cloud.any_lake, cloud.config
        )

    first = take()
    cloud.now_us += MINUTE_US
    assert take() == first
    settle_record(first, cloud.items)
    again = take()
    assert again.repeated
    assert (again.lines, again.alerts) == ({}, [])
    assert again.counts == first.counts


def test_a_batch_of_records_of_which_none_is_settled_is_taken_again_whole(
    open_cloud: Opener,
) -> None:
    """A later record has changed what an earlier one of the batch had found."""
    batch = [
        entry(stock("p1", 2, -3), topic="stock"),
        entry(stock("p1", 9, -2), topic="stock"),
        entry(stock("p1", 1, -1), topic="stock"),
        entry(VIEWS[0], VIEWS[1]),
        entry(VIEWS[1], VIEWS[2]),
        *(
            entry(
                order("o1", 5) | {"lines": [{"product_id": p, "quantity": 1, "unit_price": 5}]},
                topic="orders",
                on_bad_line="quarantine_line",
            )
            for p in "a"
        ),
    ]
    numbered = [
        order("o2", 5, line=0) | {"lines": [_line(n), _line(n + 1)], "customer_id": "u1"}
        for n in (1, 2, 4)
    ]
    for found in numbered:
        found.pop("line")
        batch.append(entry(found, topic="orders", on_bad_line="quarantine_line", units=2))
    once, twice = open_cloud(), open_cloud()
    for number, record in enumerate(batch):
        once.take(record, str(number))
    firsts = [
        take_record(r, str(n), NOW_US, twice.items, twice.any_lake, twice.config)
        for n, r in enumerate(batch)
    ]
    for number, (record, first) in enumerate(zip(batch, firsts, strict=True)):
        again = take_record(record, str(number), NOW_US, twice.items, twice.any_lake, twice.config)
        assert again == first
        twice.deliver(again)
        settle_record(again, twice.items)
    twice.look()
    assert twice.snapshot() == once.snapshot()
    assert [alert.kind for alert in once.alerts()] == ["low_stock", "low_stock"]


def _line(number: int) -> dict[str, Any]:
    return {"product_id": f"p{number}", "quantity": 1, "unit_price": 5, "line": number}


def test_the_same_events_in_another_record_are_duplicates(cloud: Cloud) -> None:
    for number in range(3):
        cloud.take(entry(*VIEWS), f"r{number}")
    assert counts(cloud) == {"received": 12, "accepted": 4, "duplicate": 8}
    assert [len(lines) for lines in cloud.lines_by_user().values()] == [4]


def test_positions_in_bronze_follow_a_users_records_whatever_the_senders_clocks_say(
    cloud: Cloud,
) -> None:
    stamps = [
        cloud.take(entry(click("u1", event_id=f"e{n}"), received_us=NOW_US - n)).stamp_us
        for n in range(5)
    ]
    assert stamps == [NOW_US + n for n in range(5)]


def test_two_writers_of_one_user_do_not_go_on_from_the_same_history(cloud: Cloud) -> None:
    """Between a record's look at the history and its write, another adds to it."""
    cloud.take(entry(VIEWS[0]))
    rival = entry(order("o1", 10, customer_id="u1"), VIEWS[1], topic="orders")

    class Slow(_Wrapped):
        def put_new(self, table: str, pk: str, sk: str, item: bytes) -> bytes | None:
            cloud.items = cloud.tables
            if table == "browsing_events" and "rival" not in done:
                done.add("rival")
                cloud.ingest(rival, "rival")
            return cloud.tables.put_new(table, pk, sk, item)

    done: set[str] = set()
    cloud.items = Slow(cloud.tables)
    cloud.ingest(entry(VIEWS[2]), "slow")
    keys = [sk for _, sk, _ in cloud.tables.scan("browsing_events")]
    first = int(keys[0])
    assert [int(key) - first for key in keys] == [0, 1, 2]
    chunks = [lines_of(item) for _, _, item in cloud.tables.scan("browsing_events")]
    assert [b"e0" in chunks[0][0], b"order:o1" in chunks[1][0], b"e2" in chunks[2][0]] == [True] * 3


@pytest.mark.parametrize("slow_one", ["live", "history"])
def test_a_live_and_a_historical_writer_do_not_either(cloud: Cloud, slow_one: str) -> None:
    """Both bring one event: only one of them has it accepted."""
    cloud.take(entry(VIEWS[0]))
    live = entry(VIEWS[1], received_us=NOW_US + 1)
    history = msgspec.structs.replace(live, historical=True, source="load:x")
    slow, rival = (live, history) if slow_one == "live" else (history, live)

    class Slow(_Wrapped):
        def put_new(self, table: str, pk: str, sk: str, item: bytes) -> bytes | None:
            if table == "browsing_events" and not done:
                done.append(sk)
                cloud.items = cloud.tables
                cloud.ingest(rival, "rival")
            return cloud.tables.put_new(table, pk, sk, item)

    done: list[str] = []
    cloud.items = Slow(cloud.tables)
    cloud.ingest(slow, "slow")
    assert {user: len(lines) for user, lines in cloud.lines_by_user().items()} == {"u1": 2}
    cells = cloud.cells()
    accepted = [n for (_, _, outcome), n in cells.items() if outcome == "accepted"]
    duplicates = [n for (_, _, outcome), n in cells.items() if outcome == "duplicate"]
    assert (sum(accepted), sum(duplicates)) == (2, 1)
    chunks = list(cloud.tables.query("browsing_events", "u1"))
    assert [is_past(*chunk) for chunk in chunks] == [False, slow_one == "live"]


class _Wrapped:
    """Tables between whose calls something happens."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def __getattr__(self, name: str) -> Any:
        return getattr(self._items, name)


def test_a_rejection_that_was_resolved_meanwhile_stays_so_when_its_record_comes_again(
    cloud: Cloud,
) -> None:
    rubbish = entry(b"rubbish", click("u1"))
    take_record(rubbish, "r", NOW_US, cloud.items, cloud.any_lake, cloud.config)
    (record,) = cloud.rejections()
    mark = entry(record.id.encode(), dialect="resolved", source="replay", units=0)
    cloud.each_death(lambda: cloud.ingest(mark, "mark"))
    cloud.take(rubbish, "r")
    assert [r.resolved_us for r in cloud.rejections()] == [NOW_US]
    assert counts(cloud)["resolved"] == 1
    (_, _, item) = next(cloud.tables.scan("quarantine"))
    assert b'"record":"0000' in item, "it still says of which record it is"


@pytest.mark.parametrize("name", ["views", "views and rubbish", "orders"])
def test_poison_is_quarantined_and_its_neighbours_are_kept(
    open_cloud: Opener, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def failing(event: Any) -> bytes:
        if event.event_id in ("e1", "shopstream:order:o1:0"):
            raise ZeroDivisionError("by what it says")
        return canonical.encode(event)

    monkeypatch.setattr(clicks_flow, "encode", failing)
    once, dying = open_cloud(), open_cloud()
    once.take(RECORDS[name], "r")
    dying.each_death(lambda: dying.ingest(RECORDS[name], "r"))
    dying.look()
    assert dying.snapshot() == once.snapshot()
    found = once.rejections()
    poisoned = [r for r in found if r.rejection.reason == "poison"]
    assert poisoned
    assert "ZeroDivisionError: by what it says" in poisoned[0].rejection.failures[0].message
    topic = RECORDS[name].topic
    cells = counts(once, topic)
    outcomes = sum(n for o, n in cells.items() if o != "received")
    assert outcomes == cells["received"] == RECORDS[name].units


@pytest.mark.parametrize("error", [OSError("network"), MemoryError()])
def test_what_is_the_machines_fault_is_not_blamed_on_the_event(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(_: Any) -> bytes:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(clicks_flow, "encode", failing)
        with pytest.raises(type(error)):
            cloud.take(entry(*VIEWS), "r")
    cloud.take(entry(*VIEWS), "r")
    assert counts(cloud) == {"received": 4, "accepted": 4}


def test_a_record_reads_a_bounded_part_of_an_enormous_history(cloud: Cloud) -> None:
    """The newest part; what is repeated from before it is taken for new."""
    page = "/" + "x" * 7_000
    many = 400
    for n in range(many):
        cloud.ingest(entry(click("u1", n / 60 - 9, event_id=f"e{n}", page=page)), f"r{n}")
    assert sum(len(item) for _, _, item in cloud.tables.scan("browsing_events")) > 2_500_000

    class Reading(_Wrapped):
        read = 0

        def query(self, *where: Any, **how: Any) -> Iterator[tuple[str, bytes]]:
            for sk, item in cloud.tables.query(*where, **how):
                Reading.read += len(item)
                yield sk, item

    cloud.items = Reading(cloud.tables)
    cloud.ingest(entry(click("u1", many / 60 - 9, event_id=f"e{many - 1}", page=page)), "late")
    cloud.ingest(entry(click("u1", -9, event_id="e399", page=page)), "later")
    assert Reading.read < 2 * (HISTORY_BYTES_MAX + 10_000)
    assert counts(cloud)["quarantined:conflict"] == 2, "the newest are known"
    cloud.ingest(entry(click("u1", -9, event_id="e0", page=page)), "latest")
    assert counts(cloud)["accepted"] == many + 1, "the oldest are not"


def test_a_chunk_names_its_record_and_reads_as_the_lines_it_has(cloud: Cloud) -> None:
    cloud.take(RECORDS["views"], "r")
    ((_, _, item),) = cloud.tables.scan("browsing_events")
    mark = mark_of(item)
    assert mark is not None
    assert (mark.stamp_us, mark.events) == (NOW_US, 4)
    assert all(msgspec.json.decode(line)["user_id"] == "u1" for line in lines_of(item))
    assert mark_of(b'{"user_id":"u1"}') is None, "on one machine there are none"
    assert lines_of(b"{}\n{}") == [b"{}", b"{}"]


def test_a_killed_process_says_so(cloud: Cloud) -> None:
    """The tests' own tool does what it says."""
    cloud.life.deadly = 1
    with pytest.raises(Killed):
        cloud.ingest(entry(*VIEWS), "r")
    assert cloud.cells() == {}
    assert cloud.lines_by_user()
