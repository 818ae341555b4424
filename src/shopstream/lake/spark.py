"""The same tables on Spark: bronze in, Iceberg tables out. Also the script of the job on Glue.

    python -m shopstream.lake.spark --bronze PATH --warehouse PATH --jars iceberg-spark-runtime.jar

Spark 3.5 with Iceberg runs the models' own SQL (`dialect.py`) on bronze as the lander wrote it, or
as Firehose did. Paths may be folders or URLs that Spark's file systems know (`s3://…`).

A run takes what has landed since the one before and writes the days that it touches; `--full` makes
all anew. Rows are staged, audited by the tests of the models, and published, each table in one
Iceberg commit. A table that fails its tests keeps what it had, and so does what is made of it: the
others are published, and the job ends with 1. Where nothing has landed, there is nothing to do.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from shopstream.errors import ConfigError, ShopstreamError
from shopstream.lake.compiled import compile_lake
from shopstream.lake.model import NAMESPACE
from shopstream.lake.plan import Wanted
from shopstream.lake.report import Built
from shopstream.lake.spark_build import Run, nothing_landed
from shopstream.lake.spark_landed import Inputs, Landed
from shopstream.lake.spark_table import Site

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CATALOG = "shopstream"
SESSION = {
    # What isn't a number or overflows is an error, as it is in DuckDB.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
}
"""What the models' SQL relies on; set on any session that they run in."""
_EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"

_log = logging.getLogger("shopstream.lake.spark")


def make_session(
    warehouse: str,
    *,
    catalog: str = CATALOG,
    jars: str = "",
    config: Mapping[str, str] | None = None,
) -> "SparkSession":
    """A session with an Iceberg catalog in the folder `warehouse`, unless Spark was started with a
    catalog of this name (as Glue's is). `jars` is Iceberg's runtime where Spark hasn't got it.

    Raises ConfigError when PySpark isn't installed.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as e:
        raise ConfigError("PySpark is not installed: pip install 'shopstream[spark]'") from e
    builder = SparkSession.builder.appName("shopstream lake")
    settings = SESSION | {"spark.sql.extensions": _EXTENSIONS} | dict(config or {})
    if jars:
        settings["spark.jars"] = jars
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark: SparkSession = builder.getOrCreate()
    known = f"spark.sql.catalog.{catalog}"
    if spark.conf.get(known, None) is None:
        spark.conf.set(f"{known}.type", "hadoop")
        spark.conf.set(f"{known}.warehouse", warehouse)
        spark.conf.set(known, "org.apache.iceberg.spark.SparkCatalog")
    if spark.sparkContext.master.startswith("local"):
        # Else the workers are whatever `python3` is, which may lack what they need.
        spark.sparkContext.pythonExec = sys.executable
    return spark


def build(
    spark: "SparkSession",
    inputs: Inputs,
    wanted: Wanted = Wanted(),  # noqa: B008  # immutable
    *,
    catalog: str = CATALOG,
    database: str = NAMESPACE,
    warehouse: str = "",
) -> Iterator[Built]:
    """Build what is new or `wanted`, each table after those it reads; yields what became of each
    for which there was something to do. One that fails has `failures`; the others go on.

    A range of days is read from bronze again, and only these days are written of tables that have
    days. In full, all of bronze is; rows that bronze has forgotten are kept. A table of a catalog
    that leaves its place to us is put into a folder of its own in `warehouse`, if that is given.

    Raises ConfigError for a name that isn't there.
    """
    for name, value in SESSION.items():
        spark.conf.set(name, value)
    landed = Landed(spark, inputs)
    site = Site(spark, catalog, database, warehouse, compile_lake(), landed)
    run = Run(site, wanted, tally=bool(inputs.tally))
    if nothing_landed(site):
        _log.warning("nothing has landed in %s: nothing to do", inputs.bronze)
        return
    if not spark.catalog.databaseExists(f"{catalog}.{database}"):
        spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {catalog}.{database}")
    yield from run.tables()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns the exit code: 1 when a table was not published. What a job runner adds
    to the words is left alone.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    _log.setLevel(logging.INFO)
    asked, unknown = _parser().parse_known_args(argv)
    if unknown:
        _log.info("not ours, left alone: %s", " ".join(unknown))
    inputs = Inputs(asked.bronze.rstrip("/"), asked.archive.rstrip("/"), asked.tally)
    try:
        wanted = _wanted(asked)
        spark = make_session(asked.warehouse, catalog=asked.catalog, jars=asked.jars)
        # A catalog that is only a folder puts tables where it wants them.
        own = spark.conf.get(f"spark.sql.catalog.{asked.catalog}.type", "") == "hadoop"
        return _report(
            build(
                spark,
                inputs,
                wanted,
                catalog=asked.catalog,
                database=asked.database,
                warehouse="" if own else asked.warehouse,
            )
        )
    except ShopstreamError as e:
        _log.error("error: %s", e)  # in one line, as the command line does
        return 2


def _report(tables: Iterator[Built]) -> int:
    """Say what becomes of each table; returns the exit code."""
    failed, kept_back = [], []
    for built in tables:
        _log.info("built %s", json.dumps(msgspec.to_builtins(built)))
        for failure in built.failures:
            _log.error("not published: %s", failure)
        failed += [built.table] * bool(built.failures)
        kept_back += [built.table] * bool(built.kept_back)
    if failed:
        waiting = f"; so neither are {', '.join(kept_back)}" if kept_back else ""
        _log.error("error: not published: %s%s", ", ".join(failed), waiting)
    return 1 if failed else 0


def _wanted(asked: argparse.Namespace) -> Wanted:
    select = tuple(name for part in asked.select for name in part.split(",") if name)
    return Wanted(asked.full == "true", select, _day(asked.since), _day(asked.until))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shopstream.lake.spark", description=__doc__, allow_abbrev=False
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--bronze", required=True, help="the folder with a folder for each topic")
    add("--warehouse", default="", help="where the catalog keeps its tables")
    add("--archive", default="", help="the folder of archived offers (archive/offers)")
    add("--tally", default="", help="what the lander counted; without it no gold_data_quality")
    add("--full", nargs="?", const="true", default="false", choices=("true", "false"), help="all")
    add("--select", action="append", default=[], help="tables, with commas; with + also all made")
    add("--since", default="", help="the first event day to write, YYYY-MM-DD")
    add("--until", default="", help="the last event day to write")
    add("--catalog", default=CATALOG, help="the Iceberg catalog to write to (default: %(default)s)")
    add("--database", default=NAMESPACE, help="its database (default: %(default)s)")
    add("--jars", default="", help="Iceberg's runtime for Spark 3.5, where Spark hasn't got it")
    return parser


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as e:
        raise ConfigError(f"{text} is not a day; wanted YYYY-MM-DD") from e


if __name__ == "__main__":
    sys.exit(main())
