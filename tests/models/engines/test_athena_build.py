"""LakeBuilder's statements on a real Trino server with Iceberg: what a build publishes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.models.engines.athena import TOPICS, Deployment, deployed, landed_lines
from tests.models.engines.lakes import MODELS, Lake, compare
from tests.models.engines.trino import Trino

from shopstream.aws.builder import Result, build_on
from shopstream.aws.table_build import Site
from shopstream.errors import Busy
from shopstream.events import Alert
from shopstream.lake.compiled import CompiledLake, compile_lake
from shopstream.lake.plan import Wanted
from shopstream.lake.statements import DAYS_AT_ONCE_MAX

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NOW_US = 1_763_769_600_000_000
"""2025-11-22T00:00:00Z: what arrived the days before is looked at."""
HOURS = ("2025-11-20/10", "2025-11-21/23")


class Builder:
    """Builds in a deployment; keeps the alerts."""

    def __init__(self, place: Deployment, lake: CompiledLake) -> None:
        self.place, self.lake = place, lake
        self.alerts: list[Alert] = []
        self.time_left_s: Callable[[], float] = lambda: 900.0
        self.seconds = 0

    def build(self, wanted: Wanted = Wanted()) -> Result:  # noqa: B008  # immutable
        self.place.project()
        return build_on(self.site(), self.place.arrivals, wanted)

    def site(self) -> Site:
        return Site(
            queries=self.place.queries,
            database=self.place.database,
            warehouse=f"local://{self.place.folder}/warehouse",
            memory=self.place.memory,
            lake=self.lake,
            alert=self.alerts.append,
            now_us=self.now_us,
            time_left_s=self.time_left_s,
        )

    def now_us(self) -> int:
        self.seconds += 1
        return NOW_US + self.seconds * 1_000_000


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.fixture
def place(trino: Trino, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    (tmp_path / "warehouse").mkdir()
    database = request.node.name[5:50].strip("_")
    with deployed(trino, database, tmp_path) as made:
        yield made


def archive(place: Deployment, lake: Lake) -> None:
    for path in sorted((lake.root / "archive" / "offers").glob("dt=*/*.json")):
        place.put(f"offers/{path.parent.name}/{path.name}", path.read_bytes().splitlines())


def halves(lines: list[bytes]) -> list[list[bytes]]:
    """Lines of one user in both parts, some of each part twice."""
    parts = [lines[n::2] for n in range(2)]
    return [part + part[::10] for part in parts]


def test_builds_of_what_landed_hour_by_hour_make_the_tables_of_one_whole_build(
    place: Deployment, lake_named: Callable[[str], Lake]
) -> None:
    lake = lake_named("simulated")
    builder = Builder(place, compile_lake())
    parts = {topic: halves(landed_lines(lake, topic)) for topic in TOPICS}
    for n, hour in enumerate(HOURS):
        for topic in TOPICS:
            place.land(topic, hour, f"object-{n}", parts[topic][n])
        if n == 1:
            archive(place, lake)
        done = builder.build()
        assert done.finished
        assert [b.failures for b in done.report.tables if b.failures] == []
    for model in MODELS.values():
        if model.name != "gold_data_quality":  # it counts by arrival, and rows that came twice
            compare(lake, model, as_seen(place, model.name))
    assert builder.alerts == []
    again = builder.build()
    assert (again.finished, again.report.tables) == (True, [])
    left = place.trino.run(f"SHOW TABLES FROM iceberg.{place.database}")
    assert not [row for row in left if row["Table"].startswith("staged")]


def as_seen(place: Deployment, table: str) -> list[str]:
    """Files of a copy of the table: in its own there are rows that were deleted."""
    name, copy = f"iceberg.{place.database}.{table}", f"seen_{table}"
    place.trino.run(f"CREATE TABLE iceberg.{place.database}.{copy} AS SELECT * FROM {name}")
    return place.files(copy)


# --- a few tables, events made by hand ------------------------------------------------------------

FEW = ("silver_order_lines", "silver_orders", "gold_daily_sales")


@pytest.fixture
def few() -> CompiledLake:
    whole = compile_lake()
    return CompiledLake(models={n: whole.models[n] for n in FEW}, sources=whole.sources)


def order(position: int, order_id: str, day: str, *, status: str = "paid", n: int = 1) -> bytes:
    """A line of bronze: an order of `n` kettles at 2.50."""
    line = {"product_id": "kettle", "category": "kitchen", "quantity": n, "unit_price": 2.5}
    return msgspec.json.encode(
        {
            "position": position,
            "n": 0,
            "received_at": "2025-11-21T10:00:00.000000Z",
            "source": "http",
            "historical": False,
            "order_id": order_id,
            "customer_id": "c1",
            "lines": [line],
            "currency": "EUR",
            "status": status,
            "timestamp": f"{day}T09:00:00.000001Z",
        }
    )


def sales(place: Deployment) -> dict[str, int]:
    """Units sold by day."""
    rows = place.trino.run(
        "SELECT CAST(day AS VARCHAR) AS day, SUM(units) AS units"
        f" FROM iceberg.{place.database}.gold_daily_sales GROUP BY day"
    )
    return {row["day"]: row["units"] for row in rows}


def modes(done: Result) -> dict[str, str]:
    return {built.table: built.mode for built in done.report.tables}


def test_a_table_that_fails_its_tests_keeps_what_it_had_and_so_does_what_is_made_of_it(
    place: Deployment, few: CompiledLake
) -> None:
    builder = Builder(place, few)
    place.land("orders", "2025-11-20/10", "a", [order(1, "o1", "2025-11-20")])
    builder.build()
    place.land(
        "orders",
        "2025-11-21/10",
        "b",
        [order(2, "o2", "2025-11-20", n=4), order(3, "o3", "2025-11-21", status="lost")],
    )
    for _ in range(2):
        done = builder.build()
        failed, kept = done.report.tables[0], done.report.tables[1:]
        assert done.report.failed == ["silver_order_lines"]
        assert "silver_order_lines.status: accepted_values: 1 row is none of" in failed.failures[0]
        assert "status='lost'" in failed.failures[0]
        assert [(b.table, b.kept_back) for b in kept] == [(n, FEW[0]) for n in FEW[1:]]
        assert sales(place) == {"2025-11-20": 1}
    (alert,) = builder.alerts  # one, though it failed twice
    assert (alert.kind, alert.data["model"]) == ("model_failed", "silver_order_lines")

    place.land("orders", "2025-11-21/10", "b", [order(2, "o2", "2025-11-20", n=4)])
    done = builder.build()
    assert modes(done) == dict.fromkeys(FEW, "days")
    assert sales(place) == {"2025-11-20": 5}


def test_a_build_whose_time_is_up_is_gone_on_with_and_runs_nothing_twice(
    place: Deployment, few: CompiledLake
) -> None:
    builder = Builder(place, few)
    place.land("orders", "2025-11-20/10", "a", [order(1, "o1", "2025-11-20")])
    runs = 0
    while True:
        until = len(place.queries.run) + 3
        builder.time_left_s = lambda until=until: 900.0 * (len(place.queries.run) < until)  # type: ignore[misc]  # bound now
        runs += 1
        if builder.build().finished:
            break
        assert runs < 40
    assert runs > 3
    assert sales(place) == {"2025-11-20": 1}
    run = [sql for sql in place.queries.run if not sql.startswith("SELECT")]
    assert len(run) == len(set(run))


def test_a_build_that_died_after_it_published_publishes_the_same_again(
    place: Deployment, few: CompiledLake
) -> None:
    builder = Builder(place, few)
    place.land("orders", "2025-11-20/10", "a", [order(1, "o1", "2025-11-20")])
    builder.build()
    place.land("orders", "2025-11-21/10", "b", [order(2, "o2", "2025-11-20", n=2)])
    memory = place.memory.tables()
    builder.build()
    for name, state in memory.items():  # as if it had died before it could say that it's done
        place.memory.keep(name, state)
    assert modes(builder.build())["silver_order_lines"] == "days"
    assert sales(place) == {"2025-11-20": 3}


def test_a_rebuild_takes_what_bronze_has_from_there_and_keeps_what_it_has_forgotten(
    place: Deployment, few: CompiledLake
) -> None:
    builder = Builder(place, few)
    days = [f"2025-{month:02d}-{day:02d}" for month in range(5, 10) for day in range(1, 29)]
    place.land(
        "orders", "2025-11-20/10", "a", [order(n, f"o{n}", day) for n, day in enumerate(days)]
    )
    place.land("orders", "2025-11-21/10", "b", [order(999, "late", "2025-11-20", n=7)])
    builder.build()
    assert len(days) > DAYS_AT_ONCE_MAX  # published by several statements
    assert sales(place) == dict.fromkeys(days, 1) | {"2025-11-20": 7}

    place.land("orders", "2025-11-20/10", "a", [order(0, "o0", days[0], n=2)])  # all else is gone
    place.trino.run(f"DELETE FROM iceberg.{place.database}.silver_orders")
    done = builder.build(Wanted(full=True))
    assert modes(done) == dict.fromkeys(FEW, "full")
    assert sales(place) == dict.fromkeys(days, 1) | {days[0]: 2, "2025-11-20": 7}

    place.land("orders", "2025-11-21/10", "b", [order(999, "late", "2025-11-20", n=8)])
    place.land("orders", "2025-11-21/11", "c", [order(1_000, "new", "2025-10-05", n=3)])
    done = builder.build(Wanted(since="2025-11-01", until="2025-11-30"))
    assert modes(done) == dict.fromkeys(FEW, "days")
    assert sales(place)["2025-11-20"] == 8
    assert sales(place)["2025-10-05"] == 3, "what is new is taken in whatever the range"


def test_what_happened_around_midnight_counts_once_whichever_hour_is_built_first(
    place: Deployment,
) -> None:
    """A click that is sent again takes the place of its copy on the next day, and an order that of
    its purchase click of the day before.
    """
    whole = compile_lake()
    names = ("silver_clicks", "silver_order_lines", "gold_product_performance")
    models = {name: model for name, model in whole.models.items() if name in names}
    builder = Builder(place, CompiledLake(models=models, sources=whole.sources))
    place.land("clicks", HOURS[0], "a", [bought(2, "2025-11-21T00:00:01Z")])
    place.land("orders", HOURS[0], "a", [order(3, "o0", "2025-11-01")])
    builder.build()
    assert purchases(place) == {"2025-11-01": 1, "2025-11-21": 1}
    place.land("clicks", HOURS[1], "b", [bought(1, "2025-11-20T23:59:59Z")])
    builder.build()
    assert purchases(place) == {"2025-11-01": 1, "2025-11-20": 1}
    place.land("orders", HOURS[1], "b", [order(4, "o1", "2025-11-21")])
    assert [b.failures for b in builder.build().report.tables if b.failures] == []
    assert purchases(place) == {"2025-11-01": 1, "2025-11-20": 0, "2025-11-21": 1}
    place.land("clicks", HOURS[1], "c", [bought(5, "2025-11-24T00:00:00Z")])
    assert [b.failures for b in builder.build().report.tables if b.failures] == [], "a copy is old"
    assert purchases(place) == {"2025-11-01": 1, "2025-11-20": 0, "2025-11-21": 1}


def bought(position: int, at: str) -> bytes:
    """A line of bronze: the purchase click of order o1."""
    click = {"user_id": "c1", "event_id": "e1", "event_type": "purchase", "timestamp": at}
    place = {"position": position, "n": 0, "received_at": "2025-11-21T10:00:00Z", "source": "http"}
    return msgspec.json.encode(click | place | {"product_id": "kettle", "order_id": "o1"})


def purchases(place: Deployment) -> dict[str, int]:
    """How often anything was bought, by day."""
    rows = place.trino.run(
        "SELECT CAST(day AS VARCHAR) AS day, SUM(purchases) AS purchases"
        f" FROM iceberg.{place.database}.gold_product_performance GROUP BY day"
    )
    return {row["day"]: row["purchases"] for row in rows}


def test_two_builders_do_not_build_at_once(place: Deployment, few: CompiledLake) -> None:
    builder = Builder(place, few)
    place.memory.claim(builder.now_us(), builder.now_us() + 60_000_000)
    with pytest.raises(Busy, match="another build goes on"):
        builder.build()
    place.memory.release()
    assert builder.build().finished


def test_a_table_gains_the_column_that_its_model_has_gained(
    place: Deployment, few: CompiledLake
) -> None:
    place.land("orders", "2025-11-20/10", "a", [order(1, "o1", "2025-11-20")])
    before = dict(few.models)
    model = before["gold_daily_sales"]
    older = {n: k for n, k in model.hive.items() if n != "refunded_units"}
    before["gold_daily_sales"] = msgspec.structs.replace(
        model,
        hive=older,
        types={n: model.types[n] for n in older},
        select=f"SELECT day, category, product_id, currency, orders, units, amount, refunded"
        f" FROM ({model.select})",
        tests=[test for test in model.tests if test.column != "refunded_units"],
        fingerprint="older",
    )
    Builder(place, CompiledLake(models=before, sources=few.sources)).build()
    assert modes(Builder(place, few).build()) == {"gold_daily_sales": "full"}
    rows = place.trino.run(f"SELECT refunded_units FROM iceberg.{place.database}.gold_daily_sales")
    assert rows == [{"refunded_units": 0}]
