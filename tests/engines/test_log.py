"""What any log must do: the guarantees of `ports.AppendLog`, on every engine."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.engines import LogEngine

from shopstream.domain.partition import partition_key
from shopstream.events import Entry
from shopstream.ports import AppendLog


@pytest.fixture
def log(log_engine: LogEngine, tmp_path: Path) -> Iterator[AppendLog]:
    opened = log_engine.open(tmp_path)
    yield opened
    opened.close()


def click(user: str, n: int = 0) -> bytes:
    return f'{{"user_id":"{user}","n":{n}}}'.encode()


def entry(*events: bytes, **values: Any) -> Entry:
    known: dict[str, Any] = {"topic": "clicks", "source": "http", "received_us": 1_000}
    return Entry(**known | {"units": len(events)} | values, events=list(events))


def events_in(entries: list[Entry]) -> list[bytes]:
    return [raw for entry in entries for raw in entry.events]


def of(user: str, events: list[bytes]) -> list[bytes]:
    return [raw for raw in events if partition_key("clicks", "shopstream", raw) == user]


def test_what_was_sent_together_arrives_as_it_was_given(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path
) -> None:
    given_ = entry(
        click("u1", 1),
        click("u1", 2),
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
    assert log_engine.arrived(tmp_path) == [given_]


def test_bytes_that_are_no_json_arrive_untouched(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path
) -> None:
    log.append([entry(b"\xff\x00 not JSON")])
    assert events_in(log_engine.arrived(tmp_path)) == [b"\xff\x00 not JSON"]


def test_the_number_of_events_taken_is_told(log: AppendLog) -> None:
    assert log.append([entry(click("u1"), click("u2")), entry(click("u1"))]) == 3
    assert log.append([entry(click("u3"))]) == 4


def test_an_entry_without_events_leaves_no_trace_and_its_progress_is_kept(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path
) -> None:
    assert log.append([entry()], progress={"file.csv": 10}) == 0
    assert log_engine.arrived(tmp_path) == []
    assert log.progress("file.csv") == 10


def test_progress_is_kept_for_each_source_and_only_moves_with_its_append(log: AppendLog) -> None:
    assert log.progress("a.csv") == 0
    log.append([entry(b"1")], progress={"a.csv": 100, "b.csv": 7})
    log.append([entry(b"2")], progress={"a.csv": 200})
    log.append([entry(b"3")])
    assert (log.progress("a.csv"), log.progress("b.csv"), log.progress("c.csv")) == (200, 7, 0)


def test_progress_is_there_for_whoever_opens_the_log_next(
    log_engine: LogEngine, tmp_path: Path
) -> None:
    first = log_engine.open(tmp_path)
    first.append([entry(click("u1"))], progress={"a.csv": 3})
    first.close()
    second = log_engine.open(tmp_path)
    assert second.progress("a.csv") == 3
    second.close()


def test_lines_and_units_stay_with_their_events(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path
) -> None:
    users = [f"u{n % 7}" for n in range(30)]
    log.append([entry(*map(click, users, range(30)), lines=list(range(100, 130)))])
    found = log_engine.arrived(tmp_path)
    lines = {raw: n for e in found for raw, n in zip(e.events, e.lines, strict=True)}
    assert lines == {click(user, n): 100 + n for n, user in enumerate(users)}
    assert sum(e.units for e in found) == 30


def test_lines_of_orders_are_the_units_where_lines_are_judged(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path
) -> None:
    orders = [
        b'{"order_id":"%d","customer_id":"c%d","lines":[%s]}' % (n, n % 2, b",".join([b"{}"] * n))
        for n in (1, 2, 3, 4)
    ]
    log.append([entry(*orders, topic="orders", units=10, on_bad_line="quarantine_line")])
    found = log_engine.arrived(tmp_path)
    assert sorted(events_in(found)) == orders
    assert sum(e.units for e in found) == 10


def test_rejections_and_marks_arrive_with_their_units(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path
) -> None:
    rejections = [
        b'{"topic":"orders","failures":[["json","event","x","y"]],"raw":"eA==","units":%d}' % n
        for n in (1, 3)
    ]
    log.append(
        [
            entry(*rejections, topic="orders", dialect="rejected", units=4),
            entry(b"2-0001-000001", dialect="resolved", units=0),
        ]
    )
    found = log_engine.arrived(tmp_path)
    assert sorted((e.dialect, e.units) for e in found) == [("rejected", 4), ("resolved", 0)]
    assert sorted(events_in(found)) == sorted([*rejections, b"2-0001-000001"])


@pytest.mark.parametrize("size", [200_000, 700_000, 1_300_000])
def test_an_event_of_any_allowed_size_arrives_whole(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path, size: int
) -> None:
    incompressible = Random(1).randbytes(size)
    log.append([entry(click("u1", 1), incompressible, click("u1", 2))])
    found = events_in(log_engine.arrived(tmp_path))
    assert sorted(found) == sorted([click("u1", 1), incompressible, click("u1", 2)])
    assert of("u1", found) == [click("u1", 1), click("u1", 2)]


def test_a_large_append_arrives_whole(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path
) -> None:
    events = [click(f"u{n % 97}", n) for n in range(8_000)]
    assert log.append([entry(*events)]) == 8_000
    found = events_in(log_engine.arrived(tmp_path))
    assert sorted(found) == sorted(events)
    for user in ("u0", "u42", "u96"):
        assert of(user, found) == of(user, events)


@pytest.mark.parametrize(
    "user", ["Ünï", "用户一", "u 1", "x" * 256, "a/b#c", "-", "😀", "\\u0000", "\\t"]
)
def test_any_user_has_an_order(
    log: AppendLog, log_engine: LogEngine, tmp_path: Path, user: str
) -> None:
    for n in range(3):
        log.append([entry(click(user, n))])
    assert events_in(log_engine.arrived(tmp_path)) == [click(user, n) for n in range(3)]


_event = st.builds(click, st.sampled_from(["u1", "u2", "ü", ""]), st.integers(0, 9))
_append = st.lists(
    st.builds(
        lambda events, source: entry(*events, source=source),
        st.lists(_event, max_size=4),
        st.sampled_from(["http", "load:x"]),
    ),
    max_size=4,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(appends=st.lists(_append, max_size=5))
def test_all_arrives_and_each_users_events_in_the_order_in_which_they_were_appended(
    log_engine: LogEngine, tmp_path_factory: pytest.TempPathFactory, appends: list[list[Entry]]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = log_engine.open(folder)
    for entries in appends:
        log.append(entries)
    log.close()
    sent = events_in(list(chain.from_iterable(appends)))
    found = events_in(log_engine.arrived(folder))
    assert sorted(found) == sorted(sent)
    for user in ("u1", "u2", "ü"):
        assert of(user, found) == of(user, sent)
