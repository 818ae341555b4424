"""Every model on real Spark, written to Iceberg: its unit test, and all rows of real lakes."""

import gzip
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.models.engines.athena import landed_lines
from tests.models.engines.lakes import MODELS, NAMES, Lake, compare
from tests.models.unit_tests import Case, Relation, cases
from tests.models.unit_tests import compare as compare_rows

from shopstream.lake import glue_job
from shopstream.lake.compiled import compile_lake
from shopstream.lake.dialect import compile_model, quoted, type_of
from shopstream.lake.plan import Wanted
from shopstream.lake.spark import CATALOG, build, main
from shopstream.lake.spark_landed import Inputs, Landed
from shopstream.lake.spark_table import Site, forget_old
from shopstream.packaging import build_glue

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # PySpark leaves the sockets by which it gets rows to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.model.name)
def test_a_models_unit_test_holds_on_spark(spark: Any, case: Case) -> None:
    for name, given in case.given.items():
        make(spark, name, given)
    made = spark.sql(compile_model(case.model, "spark", str))
    compare_rows(case, [row.asDict() for row in made.collect()])
    for name in case.given:
        spark.catalog.dropTempView(name)


def make(spark: Any, name: str, given: Relation) -> None:
    schema = ", ".join(
        f"{quoted(n, 'spark')} {type_of(k, 'spark')}" for n, k in given.types.items()
    )
    spark.createDataFrame(given.rows, schema).createOrReplaceTempView(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_job_writes_every_row_that_duckdb_makes(
    spark: Any, lake_named: Callable[[str], Lake], name: str
) -> None:
    lake = lake_named(name)
    assert lake.rows() > 1_000
    done = [*build(spark, inputs(lake), database=f"whole_{name}")]
    assert [built.failures for built in done if built.failures] == []
    assert {built.table for built in done} == set(MODELS)
    for model in MODELS.values():
        compare(lake, model, [*files(spark, f"whole_{name}", model.name)])
    assert [*build(spark, inputs(lake), database=f"whole_{name}")] == []
    assert not [t for t in tables(spark, f"whole_{name}") if t.startswith("staged")]


@pytest.mark.parametrize("late_first", [False, True], ids=["in_order", "the_later_half_first"])
def test_runs_of_what_landed_hour_by_hour_make_the_tables_of_one_whole_run(
    spark: Any, lake_named: Callable[[str], Lake], tmp_path: Path, late_first: bool
) -> None:
    lake = lake_named("simulated")
    database = f"hourly_{late_first:d}"
    landed = Inputs(f"{tmp_path}/bronze", f"{tmp_path}/offers")
    # Gold is made of the same silver, whatever the order was.
    named = [name for name in MODELS if name != "gold_data_quality"]  # there is no tally on AWS
    named = [name for name in named if name.startswith("silver")] if late_first else named
    wanted = Wanted(select=tuple(named))
    parts = {topic: halves(landed_lines(lake, topic)) for topic in TOPICS}
    for hour in range(2):
        for topic in TOPICS:
            land(tmp_path, topic, f"2025-11-2{hour}", parts[topic][hour ^ late_first])
        if hour:
            shutil.copytree(lake.root / "archive" / "offers", tmp_path / "offers")
        done = [*build(spark, landed, wanted, database=database)]
        assert [built.failures for built in done if built.failures] == []
    modes = {built.table: built.mode for built in done}
    assert {modes[name] for name in named if MODELS[name].build != "whole"} == {"days"}
    for name in named:
        compare(lake, MODELS[name], [*files(spark, database, name)])
    assert [*build(spark, landed, wanted, database=database)] == []


TOPICS = ("clicks", "orders", "carts", "stock")


def halves(lines: list[bytes]) -> list[list[bytes]]:
    """Lines of one user in both parts, the later days mostly in the second, some lines in both."""
    middle = len(lines) // 2
    first, second = lines[:middle], lines[middle:]
    return [first + second[::7] + first[::10], second + first[::7]]


def land(folder: Path, topic: str, day: str, lines: list[bytes], hour: str = "10") -> None:
    """As Firehose does: packed, under the hour of arrival, in objects with names of their own."""
    into = folder / "bronze" / topic / f"dt={day}" / f"hour={hour}"
    into.mkdir(parents=True, exist_ok=True)
    body = b"".join(line + b"\n" for line in lines)
    (into / f"shop-bronze-{topic}-1-{len([*into.iterdir()])}.gz").write_bytes(gzip.compress(body))


def test_a_run_reads_only_what_is_new_and_writes_only_the_days_that_it_touches(
    spark: Any, tmp_path: Path
) -> None:
    few = Wanted(select=FEW)
    landed = Inputs(f"{tmp_path}/bronze")
    land(tmp_path, "orders", "2025-11-20", [order(1, "o1", "2025-11-19"), order(2, "o2", DAY)])
    [*build(spark, landed, few, database="touched")]
    land(tmp_path, "orders", "2025-11-21", [order(3, "o3", "2025-11-21")])
    # Later by a day, of an order that is there: its state of then counts anew.
    land(tmp_path, "orders", "2025-11-20", [order(4, "o1", "2025-11-19", status="placed")], "23")
    spark.sql("UPDATE shopstream.touched.silver_order_lines SET name = 'old' WHERE true")
    done = {built.table: built for built in build(spark, landed, few, database="touched")}
    rows = spark.sql("SELECT order_id, name FROM shopstream.touched.silver_order_lines").collect()
    assert {row["order_id"] for row in rows if row["name"] == "old"} == {"o1", "o2"}
    assert (done["silver_order_lines"].days, done["silver_order_lines"].rows) == (2, 3)
    assert sales(spark, "touched") == {"2025-11-19": 1, DAY: 1, "2025-11-21": 1}


def test_a_table_that_fails_its_tests_keeps_what_it_had_and_so_does_what_is_made_of_it(
    spark: Any, tmp_path: Path
) -> None:
    landed = Inputs(f"{tmp_path}/bronze")
    some = Wanted(select=(*FEW, "silver_carts", "silver_stock"))
    land(tmp_path, "orders", "2025-11-20", [order(1, "o1", DAY)])
    land(tmp_path, "carts", "2025-11-20", [cart(1, "e1")])
    [*build(spark, landed, some, database="failing")]
    land(tmp_path, "orders", "2025-11-21", [order(2, "o2", DAY, n=4)])
    land(tmp_path, "orders", "2025-11-21", [order(3, "o3", DAY, status="lost")], "11")
    land(tmp_path, "carts", "2025-11-21", [cart(2, "e2")])
    for _ in range(2):
        done = {built.table: built for built in build(spark, landed, some, database="failing")}
        failed = done.pop("silver_order_lines")
        assert "status: accepted_values: 1 row is none of" in failed.failures[0]
        assert "status='lost'" in failed.failures[0]
        assert done["silver_orders"].kept_back == "silver_order_lines"
        assert done["gold_daily_sales"].kept_back == "silver_order_lines"
        assert sales(spark, "failing") == {DAY: 1}
        assert spark.table("shopstream.failing.silver_carts").count() == 2
    assert not [t for t in tables(spark, "failing") if t.startswith("staged")]

    (tmp_path / "bronze/orders/dt=2025-11-21/hour=11/shop-bronze-orders-1-0.gz").unlink()
    done = {built.table: built for built in build(spark, landed, some, database="failing")}
    assert [built.failures for built in done.values() if built.failures] == []
    assert sales(spark, "failing") == {DAY: 5}
    # Nor is there anything to do for tables of topics that nothing arrived of.
    assert [*build(spark, landed, some, database="failing")] == []


def test_a_line_that_does_not_fit_holds_back_its_own_table_only(spark: Any, tmp_path: Path) -> None:
    landed = Inputs(f"{tmp_path}/bronze")
    land(tmp_path, "orders", "2025-11-20", [order(1, "o1", DAY).replace(b'"n":0', b'"n":"x"')])
    land(tmp_path, "carts", "2025-11-20", [cart(1, "e1")])
    done = {built.table: built for built in build(spark, landed, database="misfits")}
    assert "silver_order_lines: build:" in done["silver_order_lines"].failures[0]
    assert "silver_order_lines" in done["gold_daily_sales"].kept_back
    assert done["silver_carts"].rows == 1


def test_a_full_run_takes_what_bronze_has_from_there_and_keeps_what_it_has_forgotten(
    spark: Any, tmp_path: Path
) -> None:
    landed = Inputs(f"{tmp_path}/bronze")
    land(tmp_path, "orders", "2025-11-20", [order(1, "o1", "2025-11-19"), order(2, "o2", DAY)])
    [*build(spark, landed, Wanted(select=FEW), database="forgotten")]
    spark.sql("UPDATE shopstream.forgotten.silver_order_lines SET quantity = 9 WHERE true")
    (tmp_path / "bronze/orders/dt=2025-11-20/hour=10/shop-bronze-orders-1-0.gz").unlink()
    land(tmp_path, "orders", "2025-11-20", [order(2, "o2", DAY)])
    done = [*build(spark, landed, Wanted(True, FEW), database="forgotten")]
    assert {built.mode for built in done} == {"full"}
    assert sales(spark, "forgotten") == {"2025-11-19": 9, DAY: 1}


def test_a_range_of_days_is_written_anew_and_the_others_stay(
    spark: Any, lake_named: Callable[[str], Lake]
) -> None:
    lake = lake_named("simulated")
    few, table = ("silver_carts",), "shopstream.ranged.silver_carts"
    [*build(spark, inputs(lake), Wanted(select=few), database="ranged")]
    (day,) = spark.sql(f"SELECT MAX(day) FROM {table}").collect()[0]
    spark.sql(f"DELETE FROM {table} WHERE position % 2 = 0")
    spark.sql(f"UPDATE {table} SET name = 'old' WHERE day < DATE '{day}'")
    before = spark.sql(f"SELECT COUNT(*) FROM {table} WHERE day < DATE '{day}'").collect()
    [*build(spark, inputs(lake), Wanted(select=few, since=str(day)), database="ranged")]
    kept = spark.sql(f"SELECT COUNT(*) FROM {table} WHERE name = 'old'").collect()
    assert kept == before
    (anew,) = lake.con.execute(
        "SELECT COUNT(*) FROM duckdb.silver_carts WHERE day = ?", [day]
    ).fetchall()
    assert spark.sql(f"SELECT COUNT(*) FROM {table} WHERE day = DATE '{day}'").collect() == [anew]


def test_old_snapshots_are_forgotten_and_what_the_job_knows_stays(
    spark: Any, tmp_path: Path
) -> None:
    wanted = Wanted(select=("silver_carts",))
    inputs = Inputs(f"{tmp_path}/bronze")
    for n in range(2):
        land(tmp_path, "carts", f"2025-11-2{n}", [cart(n, f"e{n}")])
        [*build(spark, inputs, wanted, database="old")]
    site = Site(spark, CATALOG, "old", "", compile_lake(), Landed(spark, inputs))
    now = timedelta(0)
    assert snapshots(spark) == 2
    forget_old(site, "silver_carts", site.history("silver_carts"))  # they are of today
    assert snapshots(spark) == 2
    forget_old(site, "silver_carts", site.history("silver_carts"), kept=now, spare=now)
    assert snapshots(spark) == 1
    assert spark.table("shopstream.old.silver_carts").count() == 2
    assert [*build(spark, inputs, wanted, database="old")] == []


def snapshots(spark: Any) -> int:
    found: int = spark.table("shopstream.old.silver_carts.snapshots").count()
    return found


def test_where_nothing_has_landed_the_job_ends_well_and_makes_nothing(
    spark: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ["--bronze", f"{tmp_path}/bronze", "--archive", f"{tmp_path}/offers"]
    assert main([*asked, "--database", "empty", "--enable-metrics", "true"]) == 0
    assert "nothing has landed" in caplog.text
    assert not spark.catalog.databaseExists("shopstream.empty")


def test_a_job_that_did_not_publish_a_table_ends_with_1_and_says_which(
    spark: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    land(tmp_path, "orders", "2025-11-20", [order(1, "o1", DAY, status="lost")])
    asked = ["--bronze", f"{tmp_path}/bronze", "--database", "told"]
    assert main([*asked, "--select", "silver_order_lines,silver_orders"]) == 1
    said = "not published: silver_order_lines; so neither are silver_orders"
    assert said in caplog.text


DAY = "2025-11-20"
FEW = ("silver_order_lines", "silver_orders", "gold_daily_sales")


def order(position: int, order_id: str, day: str, *, status: str = "paid", n: int = 1) -> bytes:
    """A line of bronze: an order of `n` kettles at 2.50."""
    line = {"product_id": "kettle", "category": "kitchen", "quantity": n, "unit_price": 2.5}
    said = {"order_id": order_id, "customer_id": "c1", "lines": [line], "status": status}
    return arrived(position, day, said)


def cart(position: int, event_id: str) -> bytes:
    said = {"event_id": event_id, "user_id": "u1", "product_id": "kettle", "quantity": 1}
    return arrived(position, DAY, said | {"cart_id": "k1", "unit_price": 2.5})


def arrived(position: int, day: str, said: dict[str, Any]) -> bytes:
    about = {"position": position, "n": 0, "source": "http", "historical": False}
    about["received_at"] = "2025-11-21T10:00:00.000000Z"
    said |= {"currency": "EUR", "timestamp": f"{day}T09:00:00.000001Z"}
    return msgspec.json.encode(about | said)


def inputs(lake: Lake) -> Inputs:
    root = lake.root
    return Inputs(f"{root}/bronze", f"{root}/archive/offers", str(lake.tally))


def files(spark: Any, database: str, table: str) -> Iterator[str]:
    for row in spark.sql(f"SELECT file_path FROM shopstream.{database}.{table}.files").collect():
        yield row[0].removeprefix("file:")


def tables(spark: Any, database: str) -> list[str]:
    return [
        row["tableName"] for row in spark.sql(f"SHOW TABLES IN shopstream.{database}").collect()
    ]


def sales(spark: Any, database: str) -> dict[str, int]:
    """Units sold by day."""
    sold = spark.table(f"shopstream.{database}.gold_daily_sales").groupBy("day").sum("units")
    return {str(day): units for day, units in sold.collect()}


def test_a_job_of_glue_finds_the_package_in_its_zip(tmp_path: Path) -> None:
    """What Glue does: the script by itself, the zip on the path, arguments of its own added."""
    package = build_glue(tmp_path / "shopstream.zip").path
    script = Path(glue_job.__file__).read_text("utf-8")
    (tmp_path / "job.py").write_text(script, "utf-8")
    others = [p for p in sys.path if "site-packages" in p]
    program = (
        f"import sys, runpy; sys.path[:0] = [{str(package)!r}]; sys.path += {others!r};"
        " sys.argv = ['job.py', '--JOB_NAME', 'shop-build', '--bronze', 'nowhere',"
        " '--enable-metrics', 'true', '--since', 'yesterday'];"
        f" runpy.run_path({str(tmp_path / 'job.py')!r}, run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 2
    assert "yesterday is not a day" in run.stderr
    models = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path[:0] = [{str(package)!r}]; sys.path += {others!r};"
            " from shopstream.lake.compiled import compile_lake; import shopstream.lake.spark;"
            " print(*compile_lake().models)",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert models.stdout.split() == ["bronze_tally", *MODELS]
