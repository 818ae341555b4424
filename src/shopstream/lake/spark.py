"""The same tables on Spark: bronze in, Iceberg tables out. Also the script of the job on Glue.

    python -m shopstream.lake.spark --bronze PATH --warehouse PATH --jars iceberg-spark-runtime.jar

Spark 3.5 with Iceberg runs the models' own SQL (`dialect.py`) on bronze as the lander wrote it, or
as Firehose did. Paths may be folders or URLs that Spark's file systems know (`s3://…`). Spark
itself can't unpack zstd JSON unless Hadoop's native library came with it, so the lines are unpacked
here, a file for each task, by the `zstandard` package, which the workers need as well (for gzip
they don't). Each line is read with the types that `sources.yml` says; one that doesn't fit them
ends the job.

A table is replaced whole, or with `--since`/`--until` in these days, each in one Iceberg commit:
who reads meanwhile sees it as it was. The audits of `quality.py` are the builder's and not run.
"""

import argparse
import gzip
import io
import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from shopstream.errors import ConfigError, ShopstreamError, SourceError
from shopstream.lake.dialect import compile_model, compile_source, quoted, type_of
from shopstream.lake.model import NAMESPACE, Model, Source, load_models, load_sources
from shopstream.lake.plan import selected

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CATALOG = "shopstream"
SESSION = {
    # What isn't a number or overflows is an error, as it is in DuckDB.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
}
"""What the models' SQL relies on; set on any session that they run in."""
_EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"

_GZIP = b"\x1f\x8b"
"""By its name alone a file may be taken for packed that S3 unpacked on the way."""

_log = logging.getLogger("shopstream.lake.spark")


class Inputs(NamedTuple):
    """Where the files are: `bronze` has a folder for each topic, `archive` the offers, `tally` is
    a file of JSON lines (day, topic, source, reason, events); empty where there is none.
    """

    bronze: str
    archive: str = ""
    tally: str = ""


class Range(NamedTuple):
    """Event days to write, both included; empty is open."""

    since: str = ""
    until: str = ""

    def condition(self, day: str) -> str:
        """SQL: whether the expression `day` is within."""
        parts = [f"{day} >= DATE '{self.since}'"] if self.since else []
        parts += [f"{day} <= DATE '{self.until}'"] if self.until else []
        return " AND ".join(parts) or "TRUE"


class Built(NamedTuple):
    """A table that was written, with how many rows it now has, and how long that took."""

    table: str
    rows: int
    seconds: float


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
    *,
    catalog: str = CATALOG,
    database: str = NAMESPACE,
    warehouse: str = "",
    select: Iterable[str] = (),
    days: Range | None = None,
) -> Iterator[Built]:
    """Build the tables that `select` names (`gold_traffic`, `silver_clicks+`; all for none), each
    after those it reads; yields each when it is written.

    With `days` only these are written of tables that have days. Of an order, whose states may fall
    on different days, all are read, and those of these days written. A table of a catalog that
    leaves its place to us is put into a folder of its own in `warehouse`, if that is given.

    Raises ConfigError for a name that isn't there, SourceError when there is no bronze; whatever
    Spark raises when a line doesn't fit its types.
    """
    models, sources = load_models(), load_sources()
    chosen = selected(models, select)
    days = days or Range()
    for name, value in SESSION.items():
        spark.conf.set(name, value)
    place = _Place(f"{catalog}.{database}", warehouse)
    if not spark.catalog.databaseExists(place.namespace):
        spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {place.namespace}")
    if not inputs.tally:
        chosen -= {name for name, model in models.items() if "bronze_tally" in model.reads}
    for model in models.values():
        if model.name in chosen:
            began = time.monotonic()
            views = {name: sources[name] for name in model.reads if name in sources}
            read = [_view(spark, source, inputs) for source in views.values()]
            rows = _write(spark, model, place, days)
            for frame in read:
                frame.unpersist()
            yield Built(model.name, rows, time.monotonic() - began)


class _Place(NamedTuple):
    """Where tables are: `namespace` with its catalog; `warehouse`, empty where the catalog says."""

    namespace: str
    warehouse: str


def _write(spark: "SparkSession", model: Model, place: _Place, days: Range) -> int:
    """Replace the table, or its `days`; returns how many rows it then has."""
    from pyspark.sql import functions

    def named(name: str) -> str:
        return name if name in views else f"{place.namespace}.{name}"

    views = {view.name for view in spark.catalog.listTables() if view.isTemporary}
    table = f"{place.namespace}.{model.name}"
    made = spark.sql(compile_model(model, "spark", named))
    ranged = any(days) and model.partition is not None and spark.catalog.tableExists(table)
    if ranged:
        condition = days.condition(quoted(model.partition or "", "spark"))
        made.where(condition).writeTo(table).overwrite(functions.expr(condition))
    else:
        writer = made.writeTo(table).using("iceberg").tableProperty("format-version", "2")
        if place.warehouse:
            folder = f"{place.warehouse.rstrip('/')}/{model.name}"
            writer = writer.tableProperty("location", folder)
        if model.partition:
            writer = writer.partitionedBy(functions.col(model.partition))
        writer.createOrReplace()
    return int(spark.table(table).count())


def _view(spark: "SparkSession", source: Source, inputs: Inputs) -> "DataFrame":
    """Make the source a view of its name. Models read it several times over: it is kept."""
    raw = f"{source.name}_raw"
    _raw(spark, source, inputs).createOrReplaceTempView(raw)
    frame = spark.sql(compile_source(source, "spark", raw)).persist()
    frame.createOrReplaceTempView(source.name)
    return frame


def _raw(spark: "SparkSession", source: Source, inputs: Inputs) -> "DataFrame":
    """The fields of the source's files, each of the type that it declares."""
    # An instant in ISO 8601 is read as one and then, in UTC, loses its zone.
    types = {name: type_of(kind, "spark") for name, kind in source.raw.items()}
    read_as = {name: kind.replace("TIMESTAMP_NTZ", "TIMESTAMP_LTZ") for name, kind in types.items()}
    schema = ", ".join(f"{quoted(name, 'spark')} {kind}" for name, kind in read_as.items())
    lines = _lines(spark, source, inputs)
    read = spark.read.schema(schema).option("mode", "FAILFAST").json(lines)
    return read.selectExpr(
        *(
            f"CAST({quoted(name, 'spark')} AS {kind}) AS {quoted(name, 'spark')}"
            for name, kind in types.items()
        )
    )


def _lines(spark: "SparkSession", source: Source, inputs: Inputs) -> Any:
    """The lines of all the source's files."""
    if source.tally:
        files = inputs.tally
    elif source.archive:
        files = f"{inputs.archive}/dt=*/*.json" if inputs.archive else ""
    else:
        if not _any(spark, inputs.bronze):
            raise SourceError(f"{inputs.bronze}: there is no such folder; where is bronze?")
        files = f"{inputs.bronze}/{source.topic}/dt=*/hour=*/*{{.json.zst,.gz}}"
    context = spark.sparkContext
    if not files or not _any(spark, files):
        return context.parallelize([], 1)
    return context.binaryFiles(files, context.defaultParallelism * 2).flatMap(unpacked)


def _any(spark: Any, path: str) -> bool:
    """Whether there is anything at a path, which may have wildcards."""
    java = spark._jvm.org.apache.hadoop.fs.Path(path)
    found = java.getFileSystem(spark._jsc.hadoopConfiguration()).globStatus(java)
    return found is not None and len(found) > 0


def unpacked(file: tuple[str, bytes]) -> Iterator[str]:
    """The lines of a file, by name and content; those of a packed one come out as they unpack."""
    name, body = file
    stream: Any = io.BytesIO(body)
    if body.startswith(_GZIP):
        stream = gzip.GzipFile(fileobj=stream)
    elif name.endswith(".zst"):
        import zstandard

        stream = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
    for line in io.TextIOWrapper(stream, "utf-8", newline="\n"):
        if line.strip():
            yield line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns the exit code. What a job runner adds to the words is left alone."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    _log.setLevel(logging.INFO)
    asked, unknown = _parser().parse_known_args(argv)
    if unknown:
        _log.info("not ours, left alone: %s", " ".join(unknown))
    inputs = Inputs(asked.bronze.rstrip("/"), asked.archive.rstrip("/"), asked.tally)
    try:
        days = Range(_day(asked.since), _day(asked.until))
        spark = make_session(asked.warehouse, catalog=asked.catalog, jars=asked.jars)
        # A catalog that is only a folder puts tables where it wants them.
        own = spark.conf.get(f"spark.sql.catalog.{asked.catalog}.type", "") == "hadoop"
        for built in build(
            spark,
            inputs,
            catalog=asked.catalog,
            database=asked.database,
            warehouse="" if own else asked.warehouse,
            select=asked.select,
            days=days,
        ):
            _log.info(
                "built %s", json.dumps(built._asdict() | {"seconds": round(built.seconds, 2)})
            )
    except ShopstreamError as e:
        _log.error("error: %s", e)  # in one line, as the command line does
        return 2
    return 0


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
    add("--select", action="append", default=[], help="a table; with + also all made of it")
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
