"""The law of incremental builds: silver is the same in whatever pieces and order bronze came.

`Table.merge` does what a build does with a model that is merged: what is new of the source, and the
table's own rows of the days touched (with `keys` also those of other days that share their keys; of
copies the days touched are also those that have a copy of a new row), taken back to the source's
columns, go through the model's SQL; the days touched are replaced.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.unit_tests import Row, dicts, make, relation

from shopstream.lake.model import Model, load_models, load_sources

MODELS = load_models()
SOURCES = load_sources()
MIDNIGHT = datetime(2026, 11, 21)
BOTH_SIDES = [MIDNIGHT + timedelta(minutes=10 * n) for n in range(-9, 10)]
# The last is of the seventh day after the first: so far apart copies are still copies.
TIMES = st.sampled_from([*BOTH_SIDES, MIDNIGHT + timedelta(days=2), MIDNIGHT + timedelta(days=6)])
MERGED = [model for model in MODELS.values() if model.merge]


def connected() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(config={"threads": 1})
    con.execute("SET TimeZone = 'UTC'")
    return con


def built(model: Model, rows: Sequence[Row]) -> list[Any]:
    """The table made at once of all rows of what it reads, in a fixed order."""
    name = model.reads[0]
    types = SOURCES[name].types if name in SOURCES else MODELS[name].types
    with connected() as con:
        make(con, name, relation(types, rows))
        return in_order(dicts(con.execute(model.sql)))


def in_order(rows: list[dict[str, Any]]) -> list[Any]:
    return sorted(rows, key=lambda row: repr(sorted(row.items())))


class Table:
    """A merged table."""

    def __init__(self, con: duckdb.DuckDBPyConnection, model: Model) -> None:
        assert model.merge
        self.con, self.model, self.merge_rule = con, model, model.merge
        self.source = SOURCES[model.merge.source]
        self.time = "timestamp" if "timestamp" in self.source.types else "made_at"
        make(con, "own", relation(model.types, []))

    def merge(self, new: Sequence[Row]) -> None:
        con, source = self.con, self.source.name
        make(con, "new", relation(self.source.types, new))
        keys, apart = ", ".join(self.merge_rule.keys), self.merge_rule.days_apart_max
        near = f" AND abs(own.day - CAST(new.{self.time} AS DATE)) <= {apart}" if apart else ""
        sharing = f"SELECT own.day FROM own JOIN new USING ({keys}) WHERE TRUE{near}"
        con.execute(
            f"CREATE OR REPLACE TABLE touched AS SELECT CAST({self.time} AS DATE) AS day FROM new"
            + (f" UNION {sharing}" if keys else "")
        )
        here = "day IN (FROM touched)"
        shared = f" OR ({keys}) IN (SELECT ({keys}) FROM own WHERE {here})"
        context = shared if keys and not apart else ""
        con.execute(
            f"CREATE OR REPLACE TABLE {source} AS FROM new UNION ALL"
            f" SELECT {', '.join(self._back())} FROM own WHERE {here}{context}"
        )
        con.execute(f"CREATE OR REPLACE TABLE staged AS {self.model.sql}")
        con.execute(f"DELETE FROM own WHERE {here}")
        con.execute(f"INSERT INTO own BY NAME FROM staged WHERE {here}")

    def _back(self) -> Iterator[str]:
        """What the table still says of each column of its source; nothing of those it lost."""
        for name, kind in self.source.types.items():
            own = self.merge_rule.back.get(name, name)
            yield f"CAST({own if own in self.model.types else 'NULL'} AS {kind}) AS {name}"

    def rows(self) -> list[Any]:
        return in_order(dicts(self.con.execute("FROM own")))


def optional(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from((None, *values))


# Few ids and times, so that much repeats and contradicts; what a merge doesn't look at is left out.
CLICKS = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from("uv"),
        "event_id": st.sampled_from("abcdefgh"),
        "session_id": optional("s1", "s2"),
        "event_type": st.sampled_from(["view", "purchase"]),
        "timestamp": TIMES,
        "device_type": optional("mobile"),
        "referrer_url": optional("https://a.example/b", "none"),
        "historical": optional(True, False),
    }
)
CARTS = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from("uv"),
        "event_id": st.sampled_from("abc"),
        "product_id": st.just("p"),
        "quantity": st.integers(0, 3),
        "timestamp": TIMES,
        "historical": optional(True, False),
    }
)
STOCK = st.fixed_dictionaries(
    {
        "product_id": st.sampled_from("pq"),
        "event_id": st.sampled_from("abc"),
        "stock_on_hand": st.integers(0, 3),
        "reorder_level": optional(2),
        "discontinued": optional(True),
        "timestamp": TIMES,
    }
)
OFFERS = st.fixed_dictionaries(
    {
        "offer_id": st.sampled_from("abc"),
        "user_id": st.just("u"),
        "made_at": TIMES,
        "expires_at": TIMES,
        "delivered": st.booleans(),
        "held_out": optional(True),
        "historical": optional(True),
        "reason": st.sampled_from("xyz"),
    }
)
HEADS = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["http", "load"]),
        "order_id": st.sampled_from("ab"),
        "status": st.sampled_from(["placed", "paid", "cancelled", "refunded"]),
        "timestamp": TIMES,
        "by_line": optional(True, True, False),
        "customer_id": optional("c", "d"),
        "order_amount": st.sampled_from([Decimal("1.5"), Decimal(2)]),
        "shipping": optional(Decimal(1)),
        "historical": optional(True),
    }
)
LINES = st.fixed_dictionaries(
    {
        "line": optional(1, 2, 3),
        "product_id": st.sampled_from("pqr"),
        "quantity": st.integers(1, 3),
        "unit_price": st.sampled_from([Decimal("0.1"), Decimal(7)]),
        "extra": optional('{"gift":true}'),
    }
)


@st.composite
def order_lines(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The rows of one order as it arrived: lines, the payload on the first."""
    head, lines = draw(HEADS), draw(st.lists(LINES, min_size=1, max_size=3))
    payload = draw(optional("{}"))
    return [
        {**head, **line, "ordinal": n, "payload": payload if n == 1 else None}
        for n, line in enumerate(lines, 1)
    ]


def one_row(event: st.SearchStrategy[Row]) -> st.SearchStrategy[list[Row]]:
    return event.map(lambda row: [row])


EVENTS: dict[str, st.SearchStrategy[Any]] = {
    "bronze_clicks": one_row(CLICKS),
    "bronze_carts": one_row(CARTS),
    "bronze_stock": one_row(STOCK),
    "bronze_order_lines": order_lines(),
    "archive_offers": one_row(OFFERS),
}


@st.composite
def arrivals(draw: st.DrawFn, source: str) -> list[list[Row]]:
    """What came, cut into pieces that are in any order and may overlap: rows, by piece.

    An event is never cut apart, as it is one line of a file.
    """
    events = draw(st.lists(EVENTS[source], max_size=12))
    if "position" in SOURCES[source].types:
        for position, rows in enumerate(events):
            place: Row = {
                "position": position // 2,
                "n": position % 2,
                "received_at": MIDNIGHT + timedelta(hours=position),
            }
            events[position] = [{"source": "http", **row, **place} for row in rows]
    pieces = st.integers(0, 3)
    cut: list[list[Row]] = [[], [], [], []]
    for rows in events:
        for piece in draw(st.lists(pieces, min_size=1, max_size=2, unique=True)):
            cut[piece] += rows
    return cut


@pytest.mark.parametrize("model", MERGED, ids=lambda model: model.name)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_merged_table_is_the_same_in_whatever_pieces_and_order_it_came(
    model: Model, data: st.DataObject
) -> None:
    assert model.merge
    pieces = data.draw(arrivals(model.merge.source))
    with connected() as con:
        table = Table(con, model)
        for new in pieces:
            table.merge(new)
        merged = table.rows()
    assert merged == built(model, list(chain(*pieces)))


@pytest.mark.parametrize("model", MERGED, ids=lambda model: model.name)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_merged_table_is_unique_by_its_grain(model: Model, data: st.DataObject) -> None:
    assert model.merge
    rows = built(model, list(chain(*data.draw(arrivals(model.merge.source)))))
    ids = [tuple(row[name] for name in model.grain) for row in rows]
    assert len(ids) == len(set(ids))


@settings(max_examples=30, deadline=None)
@given(pieces=arrivals("bronze_order_lines"))
def test_an_order_counts_once_as_sold_and_once_as_refunded(pieces: list[list[Row]]) -> None:
    rows = built(MODELS["silver_order_lines"], list(chain(*pieces)))
    for effect, statuses in (("sold", {"placed", "paid"}), ("refunded", {"cancelled", "refunded"})):
        orders = {(r["source"], r["order_id"]) for r in rows if r["status"] in statuses}
        counted = {
            (r["source"], r["order_id"], r["status"]) for r in rows if r["counts_as"] == effect
        }
        assert sorted(order[:2] for order in counted) == sorted(orders)
        assert {status for _, _, status in counted} <= statuses


@settings(max_examples=30, deadline=None)
@given(pieces=arrivals("bronze_order_lines"))
def test_a_day_of_silver_orders_comes_of_that_days_lines_alone(pieces: list[list[Row]]) -> None:
    lines = built(MODELS["silver_order_lines"], list(chain(*pieces)))
    at_once = built(MODELS["silver_orders"], lines)
    by_day = [
        built(MODELS["silver_orders"], [line for line in lines if line["day"] == day])
        for day in {line["day"] for line in lines}
    ]
    assert in_order(list(chain(*by_day))) == at_once


COPIES: dict[str, dict[str, Any]] = {
    "silver_clicks": {"user_id": "u", "event_id": "a", "event_type": "view", "source": "http"},
    "silver_carts": {"user_id": "u", "event_id": "a", "product_id": "p", "source": "http"},
    "silver_stock": {"product_id": "p", "event_id": "a", "stock_on_hand": 1, "source": "http"},
}


def copies(model: Model, *hours: int) -> list[Row]:
    """Copies of one event that arrived one after the other: hours of their times from midnight."""
    return [
        COPIES[model.name]
        | {
            "position": n,
            "n": 0,
            "received_at": MIDNIGHT,
            "timestamp": MIDNIGHT + timedelta(0, 3600 * h),
        }
        for n, h in enumerate(hours)
    ]


def kept(model: Model, *builds: Sequence[Row]) -> list[int]:
    """The positions of the rows of a table that is built bit by bit."""
    with connected() as con:
        table = Table(con, model)
        for new in builds:
            table.merge(new)
        return sorted(row["position"] for row in table.rows())


@pytest.mark.parametrize("name", COPIES)
def test_of_copies_on_two_days_the_first_that_arrived_is_kept_whichever_was_read_first(
    name: str,
) -> None:
    model = MODELS[name]
    for hours in ((-1, 1), (1, -1), (-1, 24 * 7 - 1), (24 * 7 - 1, -1)):
        first, second = copies(model, *hours)
        assert kept(model, [first, second]) == [0], hours
        assert kept(model, [first], [second]) == [0], hours
        assert kept(model, [second], [first]) == [0], hours


@pytest.mark.parametrize("name", COPIES)
def test_more_than_seven_days_apart_an_id_is_that_of_another_event(name: str) -> None:
    model = MODELS[name]
    for hours in ((-1, 24 * 7), (24 * 7, -1)):
        first, second = copies(model, *hours)
        assert kept(model, [first, second]) == [0, 1], hours
        assert kept(model, [first], [second]) == [0, 1], hours
        assert kept(model, [second], [first]) == [0, 1], hours


def test_a_click_that_turns_out_to_be_a_copy_leaves_its_session() -> None:
    """What came after it on that day begins one of its own."""
    model = MODELS["silver_clicks"]
    first, copy = copies(model, -1, 1)
    after = {
        **copy,
        "event_id": "b",
        "position": 2,
        "timestamp": copy["timestamp"] + timedelta(0, 60),
    }
    with connected() as con:
        table = Table(con, model)
        table.merge([copy, after])
        assert [row["session_id"] for row in table.rows()] == 2 * [
            "shopstream:u@2026-11-21 01:00:00.000000"
        ]
        table.merge([first])
        sessions = {row["event_id"]: row["session_id"] for row in table.rows()}
    assert sessions == {
        "a": "shopstream:u@2026-11-20 23:00:00.000000",
        "b": "shopstream:u@2026-11-21 01:01:00.000000",
    }
