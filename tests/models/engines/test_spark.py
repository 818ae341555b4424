"""Every model on real Spark, written to Iceberg: its unit test, and all rows of real lakes."""

import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.models.engines.athena import landed_lines
from tests.models.engines.lakes import MODELS, NAMES, Lake, compare
from tests.models.unit_tests import Case, Relation, cases
from tests.models.unit_tests import compare as compare_rows

from shopstream.lake import glue_job
from shopstream.lake.dialect import compile_model, quoted, type_of
from shopstream.lake.model import NAMESPACE
from shopstream.lake.spark import Inputs, Range, build
from shopstream.packaging import build_glue

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
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
    assert {built.table for built in build(spark, inputs(lake))} == set(MODELS)
    for model in MODELS.values():
        compare(lake, model, [*files(spark, model.name)])


def test_a_range_of_days_is_written_anew_and_the_others_stay(
    spark: Any, lake_named: Callable[[str], Lake]
) -> None:
    lake = lake_named("simulated")
    table = f"shopstream.{NAMESPACE}.silver_carts"
    [*build(spark, inputs(lake), select=["silver_carts"])]
    (day,) = spark.sql(f"SELECT MAX(day) FROM {table}").collect()[0]
    spark.sql(f"DELETE FROM {table} WHERE position % 2 = 0")
    spark.sql(f"UPDATE {table} SET name = 'old' WHERE day < DATE '{day}'")
    before = spark.sql(f"SELECT COUNT(*) FROM {table} WHERE day < DATE '{day}'").collect()
    [*build(spark, inputs(lake), select=["silver_carts"], days=Range(since=str(day)))]
    kept = spark.sql(f"SELECT COUNT(*) FROM {table} WHERE name = 'old'").collect()
    assert kept == before
    (anew,) = lake.con.execute(
        "SELECT COUNT(*) FROM duckdb.silver_carts WHERE day = ?", [day]
    ).fetchall()
    assert spark.sql(f"SELECT COUNT(*) FROM {table} WHERE day = DATE '{day}'").collect() == [anew]


def inputs(lake: Lake) -> Inputs:
    root = lake.root
    return Inputs(f"{root}/bronze", f"{root}/archive/offers", str(lake.tally))


def files(spark: Any, table: str) -> Iterator[str]:
    for row in spark.sql(f"SELECT file_path FROM shopstream.{NAMESPACE}.{table}.files").collect():
        yield row[0].removeprefix("file:")


def test_the_job_reads_what_firehose_landed(
    spark: Any, lake_named: Callable[[str], Lake], tmp_path: Path
) -> None:
    lake = lake_named("simulated")
    for topic in ("clicks", "orders", "carts", "stock"):
        lines = landed_lines(lake, topic)
        for n, hour in enumerate(("10", "11")):
            folder = tmp_path / "bronze" / topic / "dt=2025-11-20" / f"hour={hour}"
            folder.mkdir(parents=True)
            body = b"".join(line + b"\n" for line in lines[n::2])
            (folder / f"shop-bronze-{topic}-1-{n}.gz").write_bytes(gzip.compress(body))
    landed = Inputs(f"{tmp_path}/bronze", f"{lake.root}/archive/offers")
    names = ["silver_clicks", "silver_order_lines", "silver_orders"]
    done = [*build(spark, landed, database="firehose", select=names)]
    assert sorted(built.table for built in done) == sorted(names)
    for name in names:
        rows = spark.sql(f"SELECT file_path FROM shopstream.firehose.{name}.files").collect()
        compare(lake, MODELS[name], [row[0].removeprefix("file:") for row in rows])


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
            " from shopstream.lake.model import load_models; print(*load_models())",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert models.stdout.split() == [*MODELS]
