"""What the Log of one machine must do: the guarantees of `ports.Log` beyond `test_log.py`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.engines import one_machine as engine

from shopstream.domain.partition import shard_of_key
from shopstream.errors import Busy, LogFull
from shopstream.events import Entry
from shopstream.ports import Log, Row

Opener = Callable[..., Log]


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[Opener]:
    opened: list[Log] = []

    def open_one(**options: Any) -> Log:
        opened.append(engine.write_log(tmp_path / "log", **options))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()


def click(user: str) -> bytes:
    return f'{{"user_id":"{user}"}}'.encode()


def entry(*events: bytes, **values: Any) -> Entry:
    known: dict[str, Any] = {"topic": "clicks", "source": "http", "received_us": 1_000}
    return Entry(**known | {"units": len(events)} | values, events=list(events))


def events_in(rows: list[Row]) -> list[bytes]:
    return [raw for row in rows for e in row.entries for raw in e.events]


def read_all(log: Log, shard: int = 0, **options: Any) -> list[Row]:
    rows: list[Row] = []
    position = log.start()
    while found := log.read(position, shard=shard, **options):
        rows += found
        position = found[-1].next
    return rows


def test_an_empty_log_starts_and_ends_at_nothing(open_log: Opener) -> None:
    log = open_log()
    assert (log.start(), log.end(), log.read(0), log.received()) == (0, 0, [], {})
    assert log.progress("file.csv") == 0


def test_positions_count_events(open_log: Opener) -> None:
    log = open_log()
    assert log.append([entry(b"1", b"2"), entry(b"3")]) == 3
    assert log.append([entry(b"4")]) == 4
    assert log.end() == 4
    assert [(row.position, row.next) for row in log.read(0)] == [(0, 3), (3, 4)]


def test_entries_come_back_as_they_were_given(open_log: Opener) -> None:
    log = open_log()
    given_ = entry(
        b'{"a":1}',
        b"\xff\x00 not JSON",
        source="load:uci",
        received_us=7,
        units=5,
        dialect="segment",
        historical=True,
        on_bad_line="quarantine_line",
        identity="shop",
        origin="Ünïcode.csv",
        lines=[3, 4],
        context=b'{"sentAt":1}',
        watermark_us=99,
    )
    log.append([given_])
    (row,) = log.read(0)
    assert row.entries == [given_]
    assert row.watermark_us == 99


def test_an_entry_without_events_leaves_no_trace(open_log: Opener) -> None:
    log = open_log()
    assert log.append([entry()], progress={"file.csv": 10}) == 0
    assert log.read(0) == []
    assert log.progress("file.csv") == 10


def test_progress_is_kept_for_each_source_and_only_moves_with_its_append(
    open_log: Opener,
) -> None:
    log = open_log()
    log.append([entry(b"1")], progress={"a.csv": 100, "b.csv": 7})
    log.append([entry(b"2")], progress={"a.csv": 200})
    log.append([entry(b"3")])
    assert (log.progress("a.csv"), log.progress("b.csv"), log.progress("c.csv")) == (200, 7, 0)


def test_a_refused_append_leaves_neither_events_nor_progress_nor_counts(
    open_log: Opener,
) -> None:
    log = open_log()
    log.append([entry(b"1")], progress={"a.csv": 1})
    too_large = 2**70
    with pytest.raises(OverflowError):
        log.append([entry(b"2"), entry(b"3")], progress={"a.csv": 2, "b.csv": too_large})
    assert log.end() == 1
    assert events_in(log.read(0)) == [b"1"]
    assert log.received() == {("clicks", "http"): 1}
    assert (log.progress("a.csv"), log.progress("b.csv")) == (1, 0)
    assert log.append([entry(b"2")]) == 2


def test_received_counts_units_by_topic_and_source(open_log: Opener) -> None:
    log = open_log()
    log.append([entry(b"1", b"2"), entry(b"o", topic="orders", units=12), entry(b"3")])
    log.append([entry(b"4", source="load:x")])
    assert log.received() == {
        ("clicks", "http"): 3,
        ("orders", "http"): 12,
        ("clicks", "load:x"): 1,
    }


def test_reading_stops_once_it_holds_enough_events_but_gives_at_least_a_row(
    open_log: Opener,
) -> None:
    log = open_log()
    for n in range(5):
        log.append([entry(b"%da" % n, b"%db" % n, b"%dc" % n)])
    assert len(log.read(0, events_max=1)) == 1
    assert len(log.read(0, events_max=3)) == 1
    assert len(log.read(0, events_max=4)) == 2
    assert len(log.read(0)) == 5
    assert events_in(read_all(log, events_max=4)) == events_in(log.read(0))


def test_reading_goes_on_where_a_row_ended(open_log: Opener) -> None:
    log = open_log()
    log.append([entry(b"1")])
    log.append([entry(b"2", b"3")])
    (first, second) = log.read(0)
    assert log.read(first.next) == [second]
    assert log.read(second.next) == []
    assert log.read(first.position) == [first, second]


def test_each_shard_sees_its_own_events_and_every_row(open_log: Opener) -> None:
    log = open_log(shards=3)
    users = [f"u{n}" for n in range(30)]
    log.append([entry(*map(click, users), lines=list(range(30)), watermark_us=5)])
    log.append([entry(click("u0"), watermark_us=9)])
    owner = shard_of_key("u0", 3)
    for shard in range(3):
        (first, second) = log.read(0, shard=shard)
        mine = [n for n, user in enumerate(users) if shard_of_key(user, 3) == shard]
        assert events_in([first]) == [click(users[n]) for n in mine]
        assert [n for e in first.entries for n in e.lines] == mine
        assert (first.next, second.next) == (30, 31)
        assert (first.watermark_us, second.watermark_us) == (5, 9)
        assert events_in([second]) == ([click("u0")] if shard == owner else [])


def test_shards_of_a_reader_are_those_of_the_writer(open_log: Opener, tmp_path: Path) -> None:
    log = open_log(shards=2)
    log.append([entry(*(click(f"u{n}") for n in range(10)))])
    reader = engine.read_log(tmp_path / "log", shards=2)
    for shard in range(2):
        assert reader.read(0, shard=shard) == log.read(0, shard=shard)
    reader.close()


def test_a_rejection_and_an_event_without_an_id_go_to_the_first_shard(open_log: Opener) -> None:
    log = open_log(shards=4)
    log.append([entry(b"not json"), entry(b'{"user_id":"u1"}', dialect="rejected")])
    assert len(events_in(log.read(0, shard=0))) == 2
    for shard in (1, 2, 3):
        assert events_in(log.read(0, shard=shard)) == []


def test_a_mark_goes_to_the_shard_whose_rejection_it_resolves(open_log: Opener) -> None:
    log = open_log(shards=4)
    log.append([entry(b"2-0001-000001", b"0-0001-000001", dialect="resolved", units=0)])
    assert events_in(log.read(0, shard=2)) == [b"2-0001-000001"]
    assert events_in(log.read(0, shard=0)) == [b"0-0001-000001"]
    assert log.received() == {("clicks", "http"): 0}


def test_a_second_writer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    first = engine.write_log(tmp_path / "log")
    with pytest.raises(Busy, match="another process writes the log"):
        engine.write_log(tmp_path / "log")
    first.append([entry(b"1")])
    first.close()
    second = engine.write_log(tmp_path / "log")
    assert second.append([entry(b"2")]) == 2
    second.close()


def test_a_reader_sees_what_is_appended_after_it_opened_and_writes_nothing(
    open_log: Opener, tmp_path: Path
) -> None:
    log = open_log()
    reader = engine.read_log(tmp_path / "log")
    assert reader.end() == 0
    log.append([entry(b"1")], progress={"a.csv": 3})
    assert (reader.end(), events_in(reader.read(0))) == (1, [b"1"])
    assert (reader.progress("a.csv"), reader.received()) == (3, {("clicks", "http"): 1})
    with pytest.raises(Busy):
        reader.append([entry(b"2")])
    with pytest.raises(Busy):
        reader.trim(1)
    reader.close()
    assert log.append([entry(b"2")]) == 2


def test_a_log_that_is_opened_again_has_everything(tmp_path: Path) -> None:
    log = engine.write_log(tmp_path / "log", shards=2)
    log.append([entry(click("u1"), click("u2"))], progress={"a.csv": 3})
    rows, received = log.read(0, shard=1), log.received()
    log.close()
    again = engine.write_log(tmp_path / "log", shards=2)
    assert (again.end(), again.progress("a.csv")) == (2, 3)
    assert (again.read(0, shard=1), again.received()) == (rows, received)
    again.close()


def test_trim_forgets_whole_rows_that_were_read_and_nothing_else(open_log: Opener) -> None:
    log = open_log()
    for n in range(4):
        log.append([entry(b"%da" % n, b"%db" % n)])
    assert log.trim(0) == 0
    assert log.trim(3) == 2, "the row that holds positions 2 and 3 isn't read to its end"
    assert [row.position for row in log.read(2)] == [2, 4, 6]
    assert events_in(log.read(2)) == [b"1a", b"1b", b"2a", b"2b", b"3a", b"3b"]


def test_trim_of_everything_keeps_the_end_the_counts_and_the_progress(tmp_path: Path) -> None:
    log = engine.write_log(tmp_path / "log")
    for n in range(3):
        log.append([entry(b"%d" % n)], progress={"a.csv": n})
    log.trim(3)
    log.close()
    log = engine.write_log(tmp_path / "log")
    assert log.end() == 3
    assert log.start() <= 3
    assert (log.received(), log.progress("a.csv")) == ({("clicks", "http"): 3}, 2)
    assert log.append([entry(b"next")]) == 4
    assert events_in(log.read(3)) == [b"next"]
    log.close()


def test_a_reader_at_a_position_that_is_kept_loses_nothing_by_a_trim(
    open_log: Opener, tmp_path: Path
) -> None:
    log = open_log()
    for n in range(10):
        log.append([entry(b"%d" % n)])
    reader = engine.read_log(tmp_path / "log")
    log.trim(6)
    assert events_in(reader.read(6)) == [b"6", b"7", b"8", b"9"]
    assert reader.start() == log.start() == 6
    reader.close()


def test_a_log_past_its_size_says_so_and_heals_when_it_is_trimmed(open_log: Opener) -> None:
    log = open_log(bytes_max=2_000)
    incompressible = Random(1).randbytes(3_000)
    log.append([entry(incompressible)])
    with pytest.raises(LogFull, match="log_bytes_max") as refused:
        log.append([entry(b"2")], progress={"a.csv": 1})
    assert refused.value.retry_after_s > 0
    assert (log.end(), log.progress("a.csv")) == (1, 0)
    assert events_in(log.read(0)) == [incompressible], "reading goes on"


def test_trimming_makes_room_again(open_log: Opener) -> None:
    log = open_log(bytes_max=60_000)
    sent = fill(log)
    log.trim(sent)
    assert log.append([entry(b"x")]) == sent + 1


def fill(log: Log) -> int:
    """Append events of 2,000 bytes until the log takes no more; returns how many it took."""
    for n in range(1_000):
        try:
            log.append([entry(Random(n).randbytes(2_000))])
        except LogFull:
            return n
    raise AssertionError("the log took two million bytes")


def test_a_disk_without_room_is_told_before_anything_is_written(open_log: Opener) -> None:
    log = open_log(disk_free_bytes_min=1 << 60)
    with pytest.raises(LogFull, match="are free on the disk"):
        log.append([entry(b"1")])
    assert log.end() == 0


def test_a_large_append_comes_back_whole(open_log: Opener) -> None:
    log = open_log()
    events = [b'{"user_id":"u%d","n":%d}' % (n % 97, n) for n in range(50_000)]
    assert log.append([entry(*events)]) == 50_000
    assert events_in(read_all(log, events_max=10)) == events


_event = st.binary(max_size=30)
_append = st.lists(
    st.builds(
        lambda events, topic: entry(*events, topic=topic),
        st.lists(_event, max_size=4),
        st.sampled_from(["clicks", "orders"]),
    ),
    max_size=4,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    appends=st.lists(_append, max_size=8), shards=st.integers(1, 3), events_max=st.integers(1, 9)
)
def test_whatever_is_appended_is_read_once_in_order_by_some_shard(
    tmp_path_factory: pytest.TempPathFactory,
    appends: list[list[Entry]],
    shards: int,
    events_max: int,
) -> None:
    log = engine.write_log(tmp_path_factory.mktemp("log"), shards=shards)
    ends = [log.append(entries) for entries in appends]
    sent = [raw for entries in appends for e in entries for raw in e.events]
    assert ends == sorted(ends)
    assert log.end() == len(sent)
    parts = [read_all(log, shard, events_max=events_max) for shard in range(shards)]
    assert sorted(raw for rows in parts for raw in events_in(rows)) == sorted(sent)
    for rows in parts:
        assert [(row.position, row.next) for row in rows] == [
            (row.position, row.next) for row in parts[0]
        ]
        remaining = iter(sent)
        assert all(raw in remaining for raw in events_in(rows)), "in the order of arrival"
    log.close()
