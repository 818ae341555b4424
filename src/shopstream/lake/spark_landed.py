"""What has landed, as Spark's file systems see it: which folders hold what, and their lines.

Spark itself can't unpack zstd JSON unless Hadoop's native library came with it, so the lines are
unpacked here, a file for each task, by the `zstandard` package, which the workers need as well (for
gzip they don't). Each line is read with the types that `sources.yml` says.
"""

import gzip
import io
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from shopstream.lake.dialect import compile_source, quoted, type_of
from shopstream.lake.model import Source
from shopstream.lake.spark_history import first_looked_into

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_GZIP = b"\x1f\x8b"
"""By its name alone a file may be taken for packed that S3 unpacked on the way."""
_LINES = "*{.json.zst,.gz}"
_OFFERS = "*.json"


class Inputs(NamedTuple):
    """Where the files are: `bronze` has a folder for each topic, `archive` the offers, `tally` is
    a file of JSON lines (day, topic, source, reason, events); empty where there is none.
    """

    bronze: str
    archive: str = ""
    tally: str = ""


class Landed:
    """Folders are named by day (`2026-11-21`) and, of bronze, hour (`2026-11-21/09`) of arrival; of
    the archive by the day of the event.
    """

    def __init__(self, spark: "SparkSession", inputs: Inputs) -> None:
        self._spark = spark
        self._inputs = inputs

    def anything(self, sources: Collection[Source]) -> bool:
        """Whether anything at all has landed."""
        return any(not source.tally and self._days(source) for source in sources)

    def look(
        self, source: Source, known: Collection[str] = (), also: Collection[str] = ()
    ) -> dict[str, str]:
        """Folders with what is in them, as text that changes when it does. Of those that are
        `known` only the newest are looked into, and the days `also`.
        """
        if source.tally:
            return self._summed([self._inputs.tally], "*")
        first = first_looked_into(known)
        days = [
            day
            for day in self._days(source)
            if day >= first or day in also or (source.archive and day not in known)
        ]
        root, pattern = self._place(source)
        return self._summed([f"{root}/dt={day}" for day in days], pattern)

    def view(self, source: Source, folders: Collection[str]) -> "DataFrame":
        """The source's rows in these folders."""
        raw = f"{source.name}_raw"
        _fields(self._spark, source, self._lines(source, folders)).createOrReplaceTempView(raw)
        return self._spark.sql(compile_source(source, "spark", raw))

    def _place(self, source: Source) -> tuple[str, str]:
        if source.archive:
            return self._inputs.archive, _OFFERS
        return f"{self._inputs.bronze}/{source.topic}", _LINES

    def _days(self, source: Source) -> list[str]:
        root, _ = self._place(source)
        return [name.removeprefix("dt=") for name in self._names(f"{root}/dt=*")] if root else []

    def _names(self, pattern: str) -> list[str]:
        """Names of what is at a path with wildcards."""
        spark: Any = self._spark
        path = spark._jvm.org.apache.hadoop.fs.Path(pattern)
        found = path.getFileSystem(spark._jsc.hadoopConfiguration()).globStatus(path)
        return sorted(status.getPath().getName() for status in found or ())

    def _summed(self, places: list[str], pattern: str) -> dict[str, str]:
        """The number of files in each folder, their bytes and the newest's time. Spark lists them;
        asked for no content, it opens none.
        """
        if not places:
            return {}
        files = self._spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        folder = "concat_ws('/', {}, nullif({}, ''))".format(
            *(f"regexp_extract(path, '/{part}=([^/]+)/', 1)" for part in ("dt", "hour"))
        )
        rows = (
            files.option("pathGlobFilter", pattern)
            .load(places)
            .selectExpr(f"{folder} AS folder", "length", "unix_micros(modificationTime) AS at_us")
            .groupBy("folder")
            .agg({"*": "count", "length": "sum", "at_us": "max"})
            .selectExpr("folder", "concat_ws(':', `count(1)`, `sum(length)`, `max(at_us)`) AS said")
        )
        return {row["folder"]: row["said"] for row in rows.collect()}

    def _lines(self, source: Source, folders: Collection[str]) -> Any:
        """The lines of all files in these folders."""
        context = self._spark.sparkContext
        if not folders:
            return context.parallelize([], 1)
        root, pattern = self._place(source)
        places = [f"{root}/{_path(folder)}/{pattern}" for folder in sorted(folders)]
        paths = self._inputs.tally if source.tally else ",".join(places)
        return context.binaryFiles(paths, context.defaultParallelism * 2).flatMap(unpacked)


def _path(folder: str) -> str:
    day, _, hour = folder.partition("/")
    return f"dt={day}/hour={hour}" if hour else f"dt={day}"


def _fields(spark: "SparkSession", source: Source, lines: Any) -> "DataFrame":
    """The fields of the source's files, each of the type that it declares."""
    # An instant in ISO 8601 is read as one and then, in UTC, loses its zone.
    types = {name: type_of(kind, "spark") for name, kind in source.raw.items()}
    read_as = {name: kind.replace("TIMESTAMP_NTZ", "TIMESTAMP_LTZ") for name, kind in types.items()}
    schema = ", ".join(f"{quoted(name, 'spark')} {kind}" for name, kind in read_as.items())
    read = spark.read.schema(schema).option("mode", "FAILFAST").json(lines)
    return read.selectExpr(
        *(
            f"CAST({quoted(name, 'spark')} AS {kind}) AS {quoted(name, 'spark')}"
            for name, kind in types.items()
        )
    )


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
