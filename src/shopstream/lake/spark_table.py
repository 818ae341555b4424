"""One table in one run of the Spark job: its rows staged, audited, then published or left.

What Athena's build says in Trino's words (`statements.py`) is said here in Spark's, so both make
the same rows and ask the same tests. Staged tables are in the catalog under names of their own; a
run that died leaves them to the next, which replaces them.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import sqlglot
from sqlglot import exp

from shopstream.lake import statements as sql
from shopstream.lake.audit_answer import Answer, failures_in
from shopstream.lake.compiled import CompiledLake
from shopstream.lake.dialect import compile_model, quoted, type_of
from shopstream.lake.model import Model, Source
from shopstream.lake.plan import NO_DAYS, Days, Mode, Wanted, grown
from shopstream.lake.quality import TestFailure
from shopstream.lake.spark_history import PROPERTY, Checkpoint, History, Snapshot
from shopstream.lake.spark_landed import Landed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

STAGED = "staged"
_PROPERTIES = {
    "format-version": "2",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}
KEPT = timedelta(days=5)
"""So long old snapshots can be read, as Athena's VACUUM has it."""


class Site(NamedTuple):
    """Where tables are: `warehouse` is a folder for them, empty where the catalog says."""

    spark: "SparkSession"
    catalog: str
    database: str
    warehouse: str
    lake: CompiledLake
    landed: Landed

    def named(self, table: str) -> str:
        return ".".join(quoted(part, "spark") for part in (self.catalog, self.database, table))

    def run(self, text: str) -> "DataFrame":
        """Run a statement of `statements.py` in Spark's words."""
        tree = sqlglot.parse_one(text, dialect="trino")
        for table in tree.find_all(exp.Table):
            if table.db and not table.catalog:
                table.set("catalog", exp.to_identifier(self.catalog, quoted=True))
        return self.spark.sql(tree.sql("spark"))

    def exists(self, table: str) -> bool:
        return bool(self.spark.catalog.tableExists(self.named(table)))

    def days_of(self, table: str) -> list[str]:
        """The days that a table has."""
        column = self.lake.models[table].partition
        rows = self.run(sql.days_in(self.database, table, column)).collect()
        return [row["day"] for row in rows if row["day"]]

    def history(self, table: str) -> History:
        """The table's snapshots; none for one that isn't there. No query: it is asked of each table
        in each run.
        """
        if not self.exists(table):
            return History({}, None)
        spark: Any = self.spark
        iceberg = spark._jvm.org.apache.iceberg.spark.Spark3Util
        found = iceberg.loadIcebergTable(spark._jsparkSession, self.named(table))
        found.refresh()
        snapshots = {one.snapshotId(): _snapshot(one) for one in found.snapshots()}
        current = found.currentSnapshot()
        return History(snapshots, current.snapshotId() if current else None)


class Work(NamedTuple):
    """What is to be done: `new` are the folders to read of what has landed, `days` those that
    changed in the tables that are read. `checkpoint` is what to write down, but for the days.
    """

    mode: Mode
    new: frozenset[str]
    days: frozenset[str]
    wanted: Wanted
    checkpoint: Checkpoint
    remade: bool


class Made(NamedTuple):
    """What became of a table: the days written anew (None: all) and the rows in them, or what its
    tests found.
    """

    failures: list[TestFailure]
    days: Days = NO_DAYS
    rows: int = 0


class TableBuild:
    """`source` is what the model reads of what has landed, if it does."""

    def __init__(self, site: Site, model: Model, source: Source | None, work: Work) -> None:
        self._site, self._model, self._source, self._work = site, model, source, work
        self._compiled = site.lake.models[model.name]
        self._db = site.database
        self._there = site.exists(model.name)
        self._full = work.mode == "full"
        self._staged: list[str] = []
        self._views: list[str] = []

    def make(self) -> Made:
        """Stage, audit, publish, tidy up. Raises what Spark raises."""
        try:
            if self._there and self._work.remade:
                self._add_columns()
            days = self._inputs()
            if days is not None and not days:
                return Made([])
            return self._made(days)
        finally:
            self._tidy()

    def _made(self, days: Days) -> Made:
        model = self._model
        made = self._site.spark.sql(compile_model(model, "spark", str))
        if days is not None and model.partition:
            made = made.where(_in_days(model.partition, days))
        staged = self._stage("rows", made)
        said, failures = self._audit(staged, days)
        if failures:
            return Made(failures)
        written = days if model.partition else None
        self._publish(staged, written)
        return Made([], written, int(said["staged_count"] or 0))

    # --- what the model reads -----------------------------------------------------------------

    def _inputs(self) -> Days:
        """Have the names in the model's SQL stand for what it is to read; the days to write."""
        model, work = self._model, self._work
        if model.merge and self._source:
            return self._merge(self._source)
        days = work.days if work.mode == "days" else None
        for name in model.reads:
            if self._source and name == self._source.name:
                rows = self._site.landed.view(self._source, work.new)
            else:
                rows = self._site.spark.table(self._site.named(name))
                column = self._site.lake.models[name].partition
                near = grown(days, model.reach.get(name, 0))
                rows = rows if near is None else rows.where(_in_days(column, near))
            self._view(name, rows)
        return days

    def _merge(self, source: Source) -> Days:
        """What is new of the source, and the table's own rows that it is to be seen with."""
        model, wanted = self._compiled, self._work.wanted
        compiled = self._site.lake.sources[source.name]
        landed = self._site.landed.view(source, self._work.new)
        if wanted.ranged and not self._full:
            landed = landed.where(_within(compiled.at, wanted))
        new = self._stage("new", landed)
        days: Days = None
        own = "TRUE"
        if not self._full:
            days = frozenset(self._days(sql.days_in(self._db, new, compiled.at)))
            if model.keys and self._there:
                days |= frozenset(self._days(sql.days_sharing(model, self._db, new, days)))
                own = sql.own_with_keys(model, self._db, new, days)
                if not model.days_apart_max:
                    own += f" AND {sql.in_days(model.partition, self._days_where(own))}"
            else:
                own = sql.in_days(model.partition, days)
        if not self._there:
            self._view(source.name, self._site.spark.table(self._site.named(new)))
            return days
        again = self._full or wanted.ranged
        rows = self._site.run(sql.merged(model, compiled, self._db, new, own, again=again))
        if again:
            # The model reads it several times over, and to compare all rows costs the most.
            rows = self._site.spark.table(self._site.named(self._stage("read", rows)))
        self._view(source.name, rows)
        return days

    def _days_where(self, own: str) -> list[str]:
        """The days of own rows that fulfil a condition: a look at a few columns spares the rest."""
        table = sql.named(self._db, self._model.name)
        day = f'CAST(own_rows."{self._compiled.partition}" AS VARCHAR)'
        return self._days(f"SELECT DISTINCT {day} AS day FROM {table} AS own_rows WHERE {own}")

    def _days(self, query: str) -> list[str]:
        return [row["day"] for row in self._site.run(query).collect() if row["day"]]

    def _view(self, name: str, rows: "DataFrame") -> None:
        rows.createOrReplaceTempView(name)
        self._views.append(name)

    # --- write --------------------------------------------------------------------------------

    def _add_columns(self) -> None:
        """Give the table the columns that its model has gained: its own rows are read with them."""
        table = self._site.named(self._model.name)
        there = set(self._site.spark.table(table).columns)
        missing = [
            f"{quoted(name, 'spark')} {type_of(kind, 'spark')}"
            for name, kind in self._model.types.items()
            if name not in there
        ]
        if missing:
            self._site.spark.sql(f"ALTER TABLE {table} ADD COLUMNS ({', '.join(missing)})")

    def _stage(self, what: str, rows: "DataFrame") -> str:
        """Put rows into a table of their own; returns its name."""
        table = f"{STAGED}_{self._model.name}_{what}"
        self._staged.append(table)
        self._writer(rows, table, f"{STAGED}/{table}").createOrReplace()
        return table

    def _publish(self, staged: str, days: Days) -> None:
        """Replace these days, or all there is, by what is staged, in one commit with the word of
        how that came about.
        """
        from pyspark.sql import functions

        model, name = self._model, self._model.name
        rows = self._site.spark.table(self._site.named(staged))
        said = Checkpoint(
            model=self._work.checkpoint.model,
            landed=self._work.checkpoint.landed,
            upstream=self._work.checkpoint.upstream,
            days=None if days is None or self._full else sorted(days),
        )
        if self._work.remade or not self._there:
            writer = self._writer(rows, name, name)
            if model.partition:
                writer = writer.partitionedBy(functions.col(model.partition))
        else:
            writer = rows.writeTo(self._site.named(name))
        writer = writer.option(f"snapshot-property.{PROPERTY}", said.encode())
        if self._work.remade or not self._there:
            writer.createOrReplace()
        elif days is None or not model.partition:
            writer.overwrite(functions.lit(True))
        else:
            writer.overwrite(functions.expr(_in_days(model.partition, days)))

    def _writer(self, rows: "DataFrame", table: str, folder: str) -> Any:
        writer = rows.writeTo(self._site.named(table)).using("iceberg")
        for name, value in _PROPERTIES.items():
            writer = writer.tableProperty(name, value)
        if self._site.warehouse:
            place = f"{self._site.warehouse.rstrip('/')}/{folder}"
            writer = writer.tableProperty("location", place)
        return writer

    def _tidy(self) -> None:
        for view in self._views:
            self._site.spark.catalog.dropTempView(view)
        for table in self._staged:
            self._site.spark.sql(f"DROP TABLE IF EXISTS {self._site.named(table)} PURGE")

    # --- audit --------------------------------------------------------------------------------

    def _audit(self, staged: str, days: Days) -> tuple[Answer, list[TestFailure]]:
        model = self._compiled
        of = days if model.partition else None
        query = sql.audit_query(model, self._db, staged, {}, of, counted=self._there)
        (said,) = self._ask(query)

        def ask(example: str) -> list[Answer]:
            return self._ask(sql.example_query(example, self._db, staged, {}))

        return said, failures_in(model, said, ask, counted=self._there and not self._full)

    def _ask(self, query: str) -> list[Answer]:
        return [row.asDict() for row in self._site.run(query).collect()]


def forget_old(
    site: Site,
    table: str,
    history: History,
    kept: timedelta = KEPT,
    spare: timedelta = timedelta(days=1),  # so that it isn't done by every run
) -> None:
    """Forget snapshots that are older than `kept`, with the files that only they need; nothing is
    done while none is older by `spare`.
    """
    newest = history.at
    if newest is None or not history.older_than(newest - kept - spare):
        return
    before = (newest - kept).strftime("%Y-%m-%d %H:%M:%S.%f")
    site.spark.sql(
        f"CALL {quoted(site.catalog, 'spark')}.system.expire_snapshots("
        f"table => '{site.database}.{table}', older_than => TIMESTAMP_LTZ '{before}')"
    )


def message_of(error: Exception) -> str:
    """What went wrong and why, in a line, of what Spark says in hundreds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    return " ".join([*lines[:2], *causes[-1:]])[:1_000]


def _snapshot(java: Any) -> Snapshot:
    """Of Iceberg's own."""
    said = java.summary().get(PROPERTY)
    return Snapshot(
        id=java.snapshotId(),
        parent=java.parentId(),
        at=datetime.fromtimestamp(java.timestampMillis() / 1e3, UTC),
        tidied=java.operation() == "replace",
        checkpoint=msgspec.json.decode(said, type=Checkpoint) if said else None,
    )


def _in_days(column: str, days: Collection[str]) -> str:
    """Spark's SQL: whether a row is of one of `days`."""
    dates = ", ".join(f"DATE '{day}'" for day in sorted(days))
    return f"{quoted(column, 'spark')} IN ({dates})" if days else "FALSE"


def _within(at: str, wanted: Wanted) -> str:
    """Spark's SQL: whether the day of a time is in the range that was asked for."""
    day = f"CAST({quoted(at, 'spark')} AS DATE)"
    parts = [f"{day} >= DATE '{wanted.since}'"] if wanted.since else []
    parts += [f"{day} <= DATE '{wanted.until}'"] if wanted.until else []
    return " AND ".join(parts) or "TRUE"
