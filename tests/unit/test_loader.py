"""Files into the log: every row once, however often and however interrupted."""

import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shopstream.engine import open_engine
from shopstream.errors import Busy, SourceError
from shopstream.events import Entry, Rejection
from shopstream.feed import open_feed
from shopstream.loader import LoadedFile, load_files
from shopstream.mapping import Mapping, parse_mapping
from shopstream.settings import Settings

DATA = Path(
    os.environ.get("SHOPSTREAM_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
REES46 = DATA / "rees46" / "2019-Oct-head.csv"
UCI = DATA / "uci_online_retail" / "lines_2010-12_2011-05.csv.gz"
NORTHWIND = DATA / "northwind" / "products.csv"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="real data files are absent; name their folder SHOPSTREAM_TEST_DATA"
)

CLICKS = """
topic = "clicks"
[fields]
user_id = "user"
event_type = { column = "what", values = { cart = "add_to_cart" } }
timestamp = { column = "at", format = "%Y-%m-%d %H:%M:%S", timezone = "Europe/Berlin" }
price = { column = "price", decimal_mark = "," }
"""
ORDERS = """
topic = "orders"
group_by = "no"
look_back_lines = 3
on_bad_line = "quarantine_line"
[fields]
order_id = "no"
customer_id = { column = "customer", strip_suffix = ".0" }
timestamp = "at"
currency = { constant = "EUR" }
status = { constant = "paid" }
[lines]
product_id = "product"
quantity = "n"
unit_price = "price"
[[when]]
column = "no"
starts_with = "C"
set = { status = "cancelled" }
negate = ["quantity"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def mapping(text: str) -> Mapping:
    return parse_mapping(text, "test.toml", "test")


def entries_of(settings: Settings) -> list[Entry]:
    log = open_engine(settings).read_log()
    found, position = [], log.start()
    while rows := log.read(position):
        found += [entry for row in rows for entry in row.entries]
        position = rows[-1].next
    log.close()
    return found


def events_of(settings: Settings) -> list[Any]:
    entries = [e for e in entries_of(settings) if e.dialect == "shopstream"]
    return [msgspec.json.decode(raw) for entry in entries for raw in entry.events]


def loaded_text(settings: Settings, tmp_path: Path, text: str, rules: str) -> list[Any]:
    path = tmp_path / "x.csv"
    path.write_text(text, "utf-8")
    load_files(settings, [path], mapping(rules))
    return events_of(settings)


def test_cells_become_fields_and_other_columns_are_kept_in_extra(
    settings: Settings, tmp_path: Path
) -> None:
    text = 'user,what,at,price,brand,color\nu1,cart,2020-07-01 12:00:00,"1,50",acme,\n'
    assert loaded_text(settings, tmp_path, text, CLICKS) == [
        {
            "user_id": "u1",
            "event_type": "add_to_cart",
            "timestamp": "2020-07-01T10:00:00Z",
            "price": 1.5,
            "extra": {"brand": "acme"},
        }
    ]
    (entry,) = entries_of(settings)
    assert (entry.source, entry.origin, entry.lines) == ("load:test", "x.csv", [2])
    assert entry.historical
    assert entry.watermark_us == 1_593_597_600_000_000


def test_what_cannot_be_read_is_passed_on_for_validation_to_name(
    settings: Settings, tmp_path: Path
) -> None:
    text = "user,what,at,price\nu1,fly,yesterday,abc\n"
    (event,) = loaded_text(settings, tmp_path, text, CLICKS)
    assert event == {"user_id": "u1", "event_type": "fly", "timestamp": "yesterday", "price": "abc"}


def test_a_time_far_in_the_future_does_not_move_the_watermark(
    settings: Settings, tmp_path: Path
) -> None:
    text = "user,what,at,price\nu1,view,2020-07-01 12:00:00,1\nu1,view,9998-01-01 00:00:00,1\n"
    loaded_text(settings, tmp_path, text, CLICKS)
    assert entries_of(settings)[0].watermark_us == 1_593_597_600_000_000


def test_rows_of_one_order_need_not_be_next_to_each_other(
    settings: Settings, tmp_path: Path
) -> None:
    text = (
        "no,product,n,price,at,customer\n"
        "1,a,2,1.50,2020-07-01T10:00:00,17.0\n"
        "2,b,1,3,2020-07-01T10:01:00,\n"
        "1,c,1,4,2020-07-01T10:02:00,17.0\n"
        "C3,a,-2,1.50,2020-07-01T10:03:00,17.0\n"
        "4,d,1,1,2020-07-01T10:03:00,\n"
        "1,e,0,abc,2020-07-01T10:00:00,17.0\n"
    )
    events = {e["order_id"]: e for e in loaded_text(settings, tmp_path, text, ORDERS)}
    assert [line["line"] for line in events["1"]["lines"]] == [2, 4, 7]
    assert events["1"]["customer_id"] == "17"
    assert events["1"]["timestamp"] == "2020-07-01T10:00:00Z"
    assert events["1"]["lines"][1]["extra"] == {"at": "2020-07-01T10:02:00"}
    assert events["1"]["lines"][2]["unit_price"] == "abc"
    assert "customer_id" not in events["2"]
    assert events["C3"]["status"] == "cancelled"
    assert events["C3"]["lines"][0]["quantity"] == 2
    assert sum(e.units for e in entries_of(settings)) == 6


def test_an_order_is_complete_when_the_look_back_has_passed(
    settings: Settings, tmp_path: Path
) -> None:
    rows = "".join(f"{no},a,1,1,2020-07-01T10:00:00,\n" for no in (1, 2, 3, 1, 4, 5, 6, 1))
    events = loaded_text(settings, tmp_path, f"no,product,n,price,at,customer\n{rows}", ORDERS)
    assert [e["order_id"] for e in events] == ["2", "3", "1", "4", "5", "6", "1"]


def test_a_bad_row_goes_to_the_quarantine_with_its_line_number(
    settings: Settings, tmp_path: Path
) -> None:
    text = (
        "user,what,at,price\nu1,view,2020-07-01 12:00:00,1\noops\nu2,view,2020-07-01 12:00:00,1\n"
    )
    assert len(loaded_text(settings, tmp_path, text, CLICKS)) == 2
    (bad,) = [e for e in entries_of(settings) if e.dialect == "rejected"]
    rejection = msgspec.json.decode(bad.events[0], type=Rejection)
    assert (rejection.reason, rejection.line, rejection.raw) == ("columns", 3, b"oops")
    assert open_engine(settings).read_log().received() == {("clicks", "load:test"): 3}


def test_an_event_over_the_size_limit_is_rejected(tmp_path: Path) -> None:
    small = Settings(data_dir=tmp_path / "data", event_bytes_max=200)
    text = f"user,what,at,price\n{'u' * 300},view,2020-07-01 12:00:00,1\n"
    assert loaded_text(small, tmp_path, text, CLICKS) == []
    rejection = msgspec.json.decode(entries_of(small)[0].events[0], type=Rejection)
    assert rejection.reason == "too_large"


def test_a_missing_column_is_said_and_nothing_is_loaded(settings: Settings, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("user,what,at,price\nu1,view,2020-07-01 12:00:00,1\n")
    bad.write_text("user,whta,at,price\n")
    with pytest.raises(SourceError, match=r"no column 'what', .* did you mean 'whta'"):
        load_files(settings, [good, bad], mapping(CLICKS))
    assert not (settings.data_dir / "log").exists()


def test_lines_of_our_own_events_are_taken_as_they_are(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b'{"user_id":"u1","timestamp":"2020-07-01T12:00:00Z"}\n\nnot json\n')
    assert load_files(settings, [path], "clicks", live=True).events == 2
    (entry,) = entries_of(settings)
    assert entry.events[1] == b"not json"
    assert entry.lines == [1, 3]
    assert not entry.historical
    assert entry.watermark_us == 1_593_604_800_000_000


def test_a_report_counts_one_as_one() -> None:
    assert str(LoadedFile("a.csv", "carts", "s", events=1)) == "a.csv: 1 cart"
    assert str(LoadedFile("a.csv", "carts", "s", events=2)) == "a.csv: 2 carts"
    assert str(LoadedFile("a.csv", "stock", "s", events=1)) == "a.csv: 1 stock"
    assert str(LoadedFile("a.csv", "orders", "s", 1, units=2)) == "a.csv: 1 order of 2 lines"


def test_a_second_load_at_the_same_time_is_refused(settings: Settings, tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "x.ndjson"
    path.write_bytes(b"{}\n")
    open_engine(settings)
    with (settings.data_dir / "run" / "load.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another `shopstream load` is running"):
            load_files(settings, [path], "clicks")


@needs_data
def test_every_line_of_rees46_is_accounted_for(settings: Settings) -> None:
    (loaded,) = load_files(settings, [REES46], "rees46").files
    assert (loaded.units, loaded.events, loaded.rejected) == (17_435, 17_434, 1)
    types = Counter(e["event_type"] for e in events_of(settings))
    # The truncated last line is one of the 17,056 views.
    assert types == {"view": 17_055, "purchase": 214, "add_to_cart": 165}
    (bad,) = [e for e in entries_of(settings) if e.dialect == "rejected"]
    assert bad.lines == [17_436]


@needs_data
def test_every_line_of_uci_online_retail_is_accounted_for(settings: Settings) -> None:
    (loaded,) = load_files(settings, [UCI], "uci_online_retail").files
    assert (loaded.units, loaded.rejected) == (209_029, 0)
    lines: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    orders: Counter[str] = Counter()
    numbers: list[int] = []
    decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
    for entry in entries_of(settings):
        for raw in entry.events:
            order = decode(raw)
            numbers += [line["line"] for line in order["lines"]]
            good = [x for x in order["lines"] if x["quantity"] > 0 and x["unit_price"] > 0]
            orders[order["status"]] += bool(good)
            lines[order["status"]] += len(good)
            amounts[order["status"]] += sum(x["quantity"] * x["unit_price"] for x in good)
    assert orders == {"paid": 8_126, "cancelled": 1_677}
    assert lines == {"paid": 203_954, "cancelled": 3_783}
    assert amounts == {"paid": Decimal("4064726.591"), "cancelled": Decimal("357898.95")}
    assert sorted(numbers) == list(range(2, 209_031))


@needs_data
def test_northwind_products_are_stock_levels(settings: Settings) -> None:
    load_files(settings, [NORTHWIND], "northwind_products")
    events = events_of(settings)
    assert len(events) == 77
    assert sum(e["stock_on_hand"] for e in events) == 3_119
    low = [e for e in events if e["stock_on_hand"] <= e["reorder_level"] and not e["discontinued"]]
    assert len(low) == 18
    assert {e["category"] for e in events} >= {"Beverages", "Seafood"}


class Interrupted(Exception):
    pass


def interrupted_after(batches: int) -> Any:
    left = iter(range(batches))

    def stop(_done: int, _total: int, _events: int) -> None:
        if next(left, None) is None:
            raise Interrupted

    return stop


@needs_data
@pytest.mark.parametrize(("path", "name"), [(REES46, "rees46"), (UCI, "uci_online_retail")])
def test_an_interrupted_load_goes_on_where_it_was(
    settings: Settings, tmp_path: Path, path: Path, name: str
) -> None:
    with pytest.raises(Interrupted):
        load_files(settings, [path], name, on_progress=interrupted_after(0))
    (last,) = load_files(settings, [path], name).files
    assert last.resumed_at > 500
    whole = Settings(data_dir=tmp_path / "whole")
    load_files(whole, [path], name)

    def said(of: Settings) -> Iterator[tuple[int, bytes]]:
        for entry in entries_of(of):
            yield from zip(entry.lines, entry.events, strict=True)

    assert sorted(said(settings)) == sorted(said(whole))
    assert received(settings) == received(whole)


@needs_data
def test_loading_twice_adds_nothing(settings: Settings) -> None:
    load_files(settings, [REES46], "rees46")
    before = received(settings)
    again = load_files(settings, [REES46], "rees46", live=True)
    assert str(again) == "2019-Oct-head.csv: already loaded, nothing added"
    assert received(settings) == before


def received(settings: Settings) -> dict[tuple[str, str], int]:
    with open_feed(settings):
        log = open_engine(settings).read_log()
        try:
            return log.received()
        finally:
            log.close()
