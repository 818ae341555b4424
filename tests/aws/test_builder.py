"""LakeBuilder's decisions, with an Athena that only notes what it is asked. What the statements do
is shown in tests/models/engines/test_athena_build.py, on a real server.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engines.aws_resources import Deployment, clients_of

from shopstream.aws import builder as building
from shopstream.aws.arrivals import Arrivals
from shopstream.aws.athena import QueryFailed, Row
from shopstream.aws.build_memory import BuildMemory, LastBuild
from shopstream.aws.builder import Result, build_on, plan_on, run_builder
from shopstream.aws.engine import AwsEngine
from shopstream.aws.table_build import Site
from shopstream.errors import Busy, ConfigError
from shopstream.events import Alert
from shopstream.lake.compiled import CompiledLake, compile_lake
from shopstream.lake.plan import Wanted
from shopstream.settings import load_settings

NOW_US = 1_763_769_600_000_000
"""2025-11-22T00:00:00Z."""
LAKE = compile_lake()


class Paper:
    """Notes statements; every query of days gives `days`, every audit passes but for `failing`
    (a table and how many rows fail its first test). `refused` are texts that fail, and why.
    """

    def __init__(self) -> None:
        self.sql: list[str] = []
        self.days = ["2025-11-20"]
        self.failing: dict[str, int] = {}
        self.refused: dict[str, list[QueryFailed]] = {}

    def start(self, sql: str) -> str:
        self.sql.append(sql)
        return str(len(self.sql) - 1)

    def wait(self, query: str, wait_s: float) -> None:
        for text, errors in self.refused.items():
            if text in self.sql[int(query)] and errors:
                raise errors.pop(0)

    def rows(self, query: str) -> list[Row]:
        sql = self.sql[int(query)]
        if "information_schema.columns" in sql:
            table = re.findall(r"table_name = '(\w+)'", sql)[0]
            return [{"column_name": name} for name in LAKE.models[table].types]
        if "staged_count" in sql:
            found: Row = {f"t{n}": "0" for n in range(100)}
            table = re.findall(r"staged_\d+_(\w+)_rows_", sql)[0]
            found |= {"t0": str(self.failing.get(table, 0)), "staged_count": "5"}
            return [found | {"published": "5", "replaced": "5"}]
        if sql.rstrip().endswith("LIMIT 1"):
            return [{"day": None}]
        return [{"day": day} for day in self.days]

    def of(self, word: str) -> list[str]:
        return [sql for sql in self.sql if sql.startswith(word)]


class Place:
    """A deployment whose bronze a test fills."""

    def __init__(self, stack: Deployment) -> None:
        self.stack, self.paper, self.models = stack, Paper(), LAKE
        self.memory = BuildMemory(stack.tables("state"))
        stack.lake()
        self.arrivals = Arrivals(stack.clients, stack.names)
        self.alerts: list[Alert] = []
        self.time_left_s: Callable[[], float] = lambda: 900.0
        self.now_us = NOW_US

    @property
    def site(self) -> Site:
        return Site(
            queries=self.paper,
            database=self.stack.names.database,
            warehouse="s3://lake/warehouse",
            memory=self.memory,
            lake=self.models,
            alert=self.alerts.append,
            now_us=lambda: self.now_us,
            time_left_s=lambda: self.time_left_s(),
        )

    def build(self, wanted: Wanted = Wanted()) -> Result:  # noqa: B008  # immutable
        self.now_us += 60_000_000
        return build_on(self.site, self.arrivals, wanted)

    def land(self, key: str, body: bytes = b"x") -> None:
        archived = key.startswith("offers/")
        bucket = self.stack.names.offers_archive if archived else self.stack.names.lake
        self.stack.clients.s3.put_object(Bucket=bucket, Key=key, Body=body)


@pytest.fixture
def place(emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Place(Deployment(clients_of(emulator), tmp_path))


def last(place: Place) -> LastBuild:
    found = place.memory.last()
    assert found is not None
    return found


def modes(done: Result) -> dict[str, str]:
    return {built.table: built.mode for built in done.report.tables}


def test_the_first_build_makes_all_tables_and_the_next_does_nothing(place: Place) -> None:
    place.land("bronze/clicks/dt=2025-11-20/hour=10/a.gz")
    first = place.build()
    assert modes(first) == dict.fromkeys(LAKE.models, "full")
    assert last(place).tables == first.report.tables
    assert (last(place).build, last(place).failed) == (1, [])
    assert len(place.paper.of("MERGE")) == len(LAKE.models)
    assert not [sql for sql in place.paper.of("CREATE TABLE IF") if "staged" in sql]
    staged = re.findall(r'CREATE TABLE "\w+"\."(staged\w+)"', "\n".join(place.paper.sql))
    dropped = re.findall(r"DROP TABLE IF EXISTS `\w+`\.`(\w+)`", "\n".join(place.paper.sql))
    assert sorted(staged) == sorted(dropped)
    place.paper.sql.clear()
    assert place.build().report.tables == []
    assert place.paper.sql == []
    assert last(place).build == 1


def test_what_landed_since_is_read_and_only_what_depends_on_it_is_built(place: Place) -> None:
    place.land("bronze/stock/dt=2025-11-20/hour=10/a.gz")
    place.build()
    place.paper.sql.clear()
    place.land("bronze/stock/dt=2025-11-20/hour=10/b.gz")
    place.land("bronze/stock/dt=2025-11-21/hour=00/c.gz")
    done = place.build()
    assert modes(done) == {
        "bronze_tally": "days",
        "silver_stock": "days",
        "silver_products": "whole",
        "gold_inventory_health": "whole",
        "gold_data_quality": "whole",
    }
    (read,) = [s for s in place.paper.sql if '"bronze_stock" WHERE' in s and "silver_stock" in s]
    partitions = "(dt = '2025-11-20' AND hour IN (10)) OR (dt = '2025-11-21' AND hour IN (0))"
    assert partitions in read


def test_offers_that_are_archived_late_under_an_old_day_are_found(place: Place) -> None:
    place.land("offers/dt=2025-01-05/a.json")
    place.land("offers/dt=2025-11-20/a.json")
    place.build()
    place.paper.days = ["2025-01-04"]
    place.land("bronze/clicks/dt=2025-11-21/hour=10/history.gz")
    assert "silver_offers" not in modes(place.build())
    place.land("offers/dt=2025-01-05/late.json")  # of a click of the day before
    place.land("offers/dt=2024-07-01/new-day.json")
    place.paper.sql.clear()
    assert modes(place.build())["silver_offers"] == "days"
    (read,) = [s for s in place.paper.sql if '"archive_offers" WHERE' in s]
    assert "dt = '2024-07-01' OR dt = '2025-01-05'" in read


def test_a_failure_is_told_once_and_holds_back_what_is_made_of_the_table(place: Place) -> None:
    place.build()
    place.paper.failing = {"silver_stock": 3}
    place.land("bronze/stock/dt=2025-11-21/hour=10/a.gz")
    for _ in range(2):
        tables = {b.table: b for b in place.build().report.tables}
        assert "day: not_null: 3 rows are NULL" in tables["silver_stock"].failures[0]
        assert tables["silver_products"].kept_back == "silver_stock"
        assert tables["gold_inventory_health"].kept_back == "silver_products"
        assert last(place).failed == ["silver_stock", "silver_products", "gold_inventory_health"]
    assert [alert.kind for alert in place.alerts] == ["model_failed"]
    assert not [s for s in place.paper.of("MERGE") if '"silver_stock" AS kept' in s][1:]
    place.paper.failing = {}
    assert "silver_products" in modes(place.build())
    place.paper.failing = {"silver_stock": 1}
    place.land("bronze/stock/dt=2025-11-21/hour=11/a.gz")
    place.build()
    assert len(place.alerts) == 2  # it had been well in between


def test_a_query_that_fails_for_a_moment_is_asked_again_and_one_that_fails_is_a_failure(
    place: Place,
) -> None:
    few = CompiledLake(models={"silver_carts": LAKE.models["silver_carts"]}, sources=LAKE.sources)
    place.models = few
    moment = QueryFailed("ICEBERG_COMMIT_ERROR", again=True)
    place.paper.refused = {"MERGE": [moment], "_rows_": [moment]}
    assert modes(place.build()) == {"silver_carts": "full"}
    names = re.findall(
        r'CREATE TABLE "\w+"\."(staged_1_silver_carts_rows_\w+)"', str(place.paper.sql)
    )
    assert len(set(names)) == 2  # what a try left behind is in nobody's way
    place.land("bronze/carts/dt=2025-11-21/hour=10/a.gz")
    place.paper.refused = {"MERGE": [QueryFailed("TABLE_NOT_FOUND: no such table")]}
    (built,) = place.build().report.tables
    assert built.failures == ["silver_carts: build: TABLE_NOT_FOUND: no such table"]
    assert modes(place.build()) == {"silver_carts": "days"}


def test_a_build_that_runs_out_of_time_is_gone_on_with_whatever_the_next_asks_for(
    place: Place,
) -> None:
    until = 40
    place.time_left_s = lambda: 900.0 if len(place.paper.sql) < until else 0.0
    assert not place.build(Wanted(full=True)).finished
    asked = place.memory.open_build()
    assert asked is not None
    assert asked.asked.full
    runs = 1
    while True:
        until += 40
        runs += 1
        done = place.build()
        if done.finished:
            break
    assert runs > 3
    assert modes(done) == dict.fromkeys(LAKE.models, "full")
    assert len(place.paper.sql) == len(set(place.paper.sql))
    assert place.memory.open_build() is None


def test_what_is_asked_for_while_a_build_is_not_done_is_built_after_it(place: Place) -> None:
    place.time_left_s = lambda: 900.0 if len(place.paper.sql) < 40 else 0.0
    assert not place.build().finished
    wanted = Wanted(full=True, select=("silver_carts",))
    assert not place.build(wanted).finished
    place.time_left_s = lambda: 900.0
    # The next is nobody's in particular: the clock's.
    assert modes(place.build()) == {"silver_carts": "full"}
    assert {built.table for built in last(place).tables} == {"silver_carts"}
    assert place.memory.open_build() is None


def test_what_was_asked_for_waits_while_there_is_no_time_for_it(place: Place) -> None:
    place.time_left_s = lambda: 900.0 if len(place.paper.sql) < 40 else 0.0
    assert not place.build().finished
    place.time_left_s = lambda: 900.0 if place.memory.last() is None else 0.0
    assert not place.build(Wanted(full=True, select=("silver_carts",))).finished
    assert len(last(place).tables) == len(LAKE.models)
    place.time_left_s = lambda: 900.0
    assert modes(place.build()) == {"silver_carts": "full"}


def test_a_build_that_was_left_long_ago_is_begun_anew_and_leaves_nothing_behind(
    place: Place,
) -> None:
    place.models = CompiledLake(
        models={"silver_carts": LAKE.models["silver_carts"]}, sources=LAKE.sources
    )
    place.time_left_s = lambda: 900.0 if len(place.paper.sql) < 4 else 0.0
    assert not place.build().finished
    place.time_left_s = lambda: 900.0
    place.now_us += 2 * 86_400_000_000
    assert modes(place.build()) == {"silver_carts": "full"}
    said = "\n".join(place.paper.sql)
    staged = set(re.findall(r'CREATE TABLE "\w+"\."(staged\w+)"', said))
    assert staged <= set(re.findall(r"DROP TABLE IF EXISTS `\w+`\.`(\w+)`", said))
    assert len(staged) > 3  # those of one build


def test_two_builders_do_not_build_at_once_and_a_dead_one_stands_in_nobodys_way(
    place: Place,
) -> None:
    place.memory.claim(place.now_us, place.now_us + 3_600_000_000)
    with pytest.raises(Busy, match="another build goes on"):
        place.build()
    place.now_us += 3_600_000_000
    assert place.build().finished
    place.memory.claim(place.now_us, place.now_us + 1)
    place.memory.release()
    assert place.build().finished


def test_a_range_and_a_choice_are_built_as_asked(place: Place) -> None:
    place.land("bronze/clicks/dt=2025-10-01/hour=10/a.gz")
    place.build()
    place.paper.sql.clear()
    wanted = Wanted(select=("silver_clicks",), since="2025-11-20", until="2025-11-21")
    assert modes(place.build(wanted)) == {"silver_clicks": "days"}
    (read,) = [s for s in place.paper.sql if '"bronze_clicks" WHERE' in s]
    assert "dt >= '2025-11-19'" in read
    assert ">= '2025-11-20' AND" in read
    with pytest.raises(ConfigError, match="no such table"):
        place.build(Wanted(select=("silver_click",)))
    with pytest.raises(ConfigError, match="is not a day"):
        place.build(Wanted(since="2025-11-20'; DROP"))


def test_a_plan_says_what_would_be_built_and_does_nothing(place: Place) -> None:
    place.land("bronze/clicks/dt=2025-11-20/hour=10/a.gz")
    place.build()
    place.paper.sql.clear()
    place.land("bronze/clicks/dt=2025-11-20/hour=11/a.gz")
    steps = {step.table: step for step in plan_on(place.site, place.arrivals, Wanted())}
    assert steps["silver_clicks"].why == "1 new partition"
    assert steps["gold_funnel"].why == "silver_clicks will change"
    assert "silver_carts" not in steps
    assert plan_on(place.site, place.arrivals, Wanted(since="2025-11-20"))
    assert place.paper.sql == []
    assert place.memory.open_build() is None


def test_files_are_put_together_after_many_publishes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "TEND_AFTER", 2)
    place.models = CompiledLake(
        models={"silver_carts": LAKE.models["silver_carts"]}, sources=LAKE.sources
    )
    place.build()
    for hour in (10, 11):
        place.land(f"bronze/carts/dt=2025-11-21/hour={hour}/a.gz")
        place.build()
    assert len(place.paper.of("OPTIMIZE")) == len(place.paper.of("VACUUM")) == 1


def test_the_function_says_what_it_did(
    place: Place, emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "SHOPSTREAM_ENGINE": "aws",
        "SHOPSTREAM_AWS_PREFIX": place.stack.names.prefix,
        "SHOPSTREAM_AWS_ACCOUNT": place.stack.names.account,
    }.items():
        monkeypatch.setenv(name, value)
    engine = AwsEngine(load_settings(), place.stack.clients)
    place.memory.claim(0, 1 << 62)
    assert run_builder(engine, {}, lambda: 900.0) == {"finished": False, "busy": True}
    place.memory.release()
    assert run_builder(engine, {"full": True}, lambda: 1.0)["finished"] is False
    opened = place.memory.open_build()
    assert opened is not None
    assert opened.asked.full
    said: dict[str, Any] = json.loads(json.dumps(run_builder(engine, {}, lambda: 1.0)))
    assert said["failed"] == []
