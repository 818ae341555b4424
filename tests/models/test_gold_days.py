"""Gold built day by day is gold built at once, whatever order the events came in."""

from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import Any

import duckdb
import msgspec
import pytest
from tests.models.unit_tests import Row, dicts, make, relation

from shopstream.lake.model import Model, load_models, load_sources
from shopstream.simulator.shop import simulate

MODELS = load_models()
SILVER = [model for model in MODELS.values() if model.layer == "silver"]
GOLD = [model for model in MODELS.values() if model.layer == "gold"]
OF_DAYS = [model for model in GOLD if model.build == "days"]
SOURCES = load_sources()


def bronze(order: Random | None = None) -> dict[str, list[Row]]:
    """A made-up shop of three days and some offers, arriving as they happen or in another order."""
    events = list(simulate("shop", 2_500, seed=11, start_us=0, per_s=0.01))
    if order:
        order.shuffle(events)
    found: dict[str, list[Row]] = {name: [] for name in SOURCES}
    for position, (topic, raw) in enumerate(events):
        event = msgspec.json.decode(raw)
        at = datetime.fromisoformat(event["timestamp"]).replace(tzinfo=None)
        event |= {"timestamp": at, "position": position, "n": 0, "source": "test"}
        if topic == "orders":
            lines = event.pop("lines")
            found["bronze_orders"].append(event)
            for place, line in enumerate(lines, 1):
                found["bronze_order_lines"].append(event | line | {"ordinal": place})
        else:
            found[f"bronze_{topic}"].append(event)
            if event.get("event_type") == "add_to_cart":
                found["archive_offers"].append(offer(event, at))
        found["bronze_tally"].append(
            {"day": at.date(), "topic": topic, "source": "test", "reason": "", "events": 1}
        )
    return found


def offer(event: Row, at: datetime) -> Row:
    held_out = event["user_id"][-1] in "02468"
    return {
        "offer_id": event["event_id"], "rule": "r", "version": 1, "user_id": event["user_id"],
        "product_id": event["product_id"], "made_at": at, "expires_at": at.replace(year=2_000),
        "delivered": not held_out, "held_out": held_out,
    }  # fmt: skip


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("SET TimeZone = 'UTC'")
        yield con


def build(con: duckdb.DuckDBPyConnection, schema: str, given: dict[str, list[Row]]) -> None:
    """All tables of a lake, in a schema of its own."""
    con.execute(f"CREATE OR REPLACE SCHEMA {schema}")
    con.execute(f"USE {schema}")
    for name, source in SOURCES.items():
        rows = [{k: v for k, v in row.items() if plain(k, v, source.types)} for row in given[name]]
        make(con, name, relation(source.types, rows))
    for model in MODELS.values():
        con.execute(f"CREATE TABLE {model.name} AS {model.sql}")


def plain(name: str, value: Any, types: dict[str, str]) -> bool:
    """Whether this is a column that the models look at, and not JSON."""
    return name in types and not isinstance(value, dict | list)


def rows_of(con: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    return sorted(str(sorted(row.items())) for row in dicts(con.execute(sql)))


@pytest.fixture(scope="module")
def at_once(con: duckdb.DuckDBPyConnection) -> str:
    build(con, "at_once", bronze())
    return "at_once"


@pytest.mark.parametrize("model", GOLD, ids=lambda model: model.name)
def test_the_made_up_shop_has_rows_in_every_table(
    con: duckdb.DuckDBPyConnection, at_once: str, model: Model
) -> None:
    assert rows_of(con, f"FROM {at_once}.{model.name}")


@pytest.mark.parametrize("model", OF_DAYS, ids=lambda model: model.name)
def test_a_day_needs_the_rows_of_that_day_alone(
    con: duckdb.DuckDBPyConnection, at_once: str, model: Model
) -> None:
    days = con.execute(f"SELECT DISTINCT day FROM {at_once}.{model.name}").fetchall()
    assert len(days) > 1
    con.execute("CREATE SCHEMA IF NOT EXISTS one_day")
    con.execute("USE one_day")
    for (day,) in days:
        for name in model.reads:
            there = f"FROM {at_once}.{name} WHERE day = '{day}'"
            con.execute(f"CREATE OR REPLACE VIEW {name} AS {there}")
        wanted = rows_of(con, f"FROM {at_once}.{model.name} WHERE day = '{day}'")
        assert rows_of(con, model.sql) == wanted


def test_gold_is_the_same_in_whatever_order_the_events_arrive(
    con: duckdb.DuckDBPyConnection, at_once: str
) -> None:
    build(con, "shuffled", bronze(Random(1)))
    for model in GOLD:
        found, wanted = (
            rows_of(con, f"FROM {lake}.{model.name}") for lake in ("shuffled", at_once)
        )
        assert found == wanted, model.name


@pytest.mark.parametrize("model", GOLD, ids=lambda model: model.name)
def test_the_sql_makes_the_columns_that_the_yaml_names(
    con: duckdb.DuckDBPyConnection, at_once: str, model: Model
) -> None:
    found = con.execute(f"SELECT * FROM {at_once}.{model.name} LIMIT 0").description or ()
    types = {column[0]: str(column[1]).replace(" ", "") for column in found}
    assert types == model.types


@pytest.mark.parametrize("model", GOLD, ids=lambda model: model.name)
def test_rows_are_unique_by_their_grain(
    con: duckdb.DuckDBPyConnection, at_once: str, model: Model
) -> None:
    grain = ", ".join(model.grain)
    twice = f"SELECT {grain} FROM {at_once}.{model.name} GROUP BY {grain} HAVING COUNT(*) > 1"
    assert con.execute(twice).fetchall() == []
