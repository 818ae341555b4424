"""SQL for people, on Athena: tables as they are published, answers read from S3 as they are asked.

Athena bills what a query scans; the workgroup ends one that scans more than it allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from shopstream.ask.guard import nearest
from shopstream.ask.tables import Described, Table
from shopstream.ask.trino_guard import judge_trino
from shopstream.aws.athena import Athena, Column, NotInTime, QueryFailed
from shopstream.aws.build_memory import BuildMemory, TableState
from shopstream.aws.clients import asked
from shopstream.errors import SqlError
from shopstream.lake.compiled import TALLY
from shopstream.lake.landed_tables import LandedTable, landed_tables
from shopstream.lake.model import Column as ModelColumn
from shopstream.lake.model import Model, load_models, load_sources
from shopstream.settings import show_duration

if TYPE_CHECKING:
    from mypy_boto3_athena.type_defs import QueryExecutionTypeDef

    from shopstream.aws.engine import AwsEngine

BATCH_ROWS = 10_000
_PLAIN_TYPES = {
    **dict.fromkeys(("tinyint", "smallint", "integer", "bigint"), "int64"),
    **dict.fromkeys(("float", "real", "double"), "float64"),
    "boolean": "bool_",
    "date": "date32",
}


class AthenaAnswer:
    """What a query gives, like `ask.box.Answer`: columns, and rows that are read once."""

    def __init__(
        self, athena: Athena, execution: QueryExecutionTypeDef, columns: list[Column], *, text: bool
    ) -> None:
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

        self._athena, self._execution, self._text = athena, execution, text
        self.schema: Any = pa.schema([(c.name, _arrow_type(c)) for c in columns])

    def batches(self) -> Iterator[Any]:
        """The rows as `pyarrow.RecordBatch`es, once."""
        import pyarrow as pa

        rows = self._lines() if self._text else self._athena.answer(self._execution)
        while some := list(islice(rows, BATCH_ROWS)):
            columns = [
                _cast(list(cells), field.type)
                for cells, field in zip(zip(*some, strict=True), self.schema, strict=True)
            ]
            yield pa.record_batch(columns, schema=self.schema)

    def _lines(self) -> Iterator[list[str | None]]:
        """Plain text, as SHOW and EXPLAIN give it: a column more for each tab."""
        width = len(self.schema)
        for line in self._athena.text(self._execution).splitlines():
            cells: list[str | None] = [cell.strip() for cell in line.split("\t", width - 1)]
            yield cells + [None] * (width - len(cells))


class Asker:
    """Asks one deployment."""

    def __init__(self, engine: AwsEngine) -> None:
        self._settings, self._clients = engine.settings, engine.clients
        self._athena = Athena(engine.clients, engine.names.workgroup, engine.names.database)
        self._memory = BuildMemory(engine.tables())

    def ask(self, text: str) -> AthenaAnswer:
        """Run a query to its end; Ctrl-C and the setting `sql_timeout` stop it on AWS too.

        Raises SqlError for SQL that isn't allowed or is wrong, and for a query over its limits.
        """
        statement = judge_trino(text)
        query = self._athena.start(statement)
        limit = self._settings.sql_timeout
        try:
            execution = self._athena.wait(query, limit.total_seconds())
        except NotInTime:
            self._athena.stop(query)
            raise SqlError(
                f"the query took longer than {show_duration(limit)}; ask for less, or raise"
                " sql_timeout"
            ) from None
        except QueryFailed:
            raise
        except BaseException:
            self._athena.stop(query)
            raise
        columns = self._athena.columns(query)
        place = execution.get("ResultConfiguration", {}).get("OutputLocation", "")
        return AthenaAnswer(self._athena, execution, columns, text=not place.endswith(".csv"))

    def tables(self) -> list[Table]:
        """All tables that there are to ask: gold, silver, and what landed. Those that a Spark job
        makes have no rows here.
        """
        states = self._memory.tables()
        found = [_table(model, states.get(name)) for name, model in load_models().items()]
        tally = load_sources()[TALLY]
        found.append(_table_of(TALLY, "bronze", tally.description, states.get(TALLY)))
        found += [
            _table_of(name, "bronze", table.description, None)
            for name, table in landed_tables().items()
        ]
        # What the Spark job makes, only the catalog knows.
        there = self._in_catalog() | {*landed_tables()}
        built = [t for t in found if t.built_at is not None or t.table in there]
        order = {"gold": 0, "silver": 1, "bronze": 2}
        return sorted(built, key=lambda t: (order[t.layer], t.table))

    def _in_catalog(self) -> set[str]:
        glue = self._clients.glue
        with asked(f"list the tables of {self._athena.database} (glue:GetTables)"):
            try:
                pages = glue.get_paginator("get_tables").paginate(
                    DatabaseName=self._athena.database
                )
                return {table["Name"] for page in pages for table in page["TableList"]}
            except glue.exceptions.EntityNotFoundException:
                return set()

    def describe(self, name: str) -> Described:
        """A table's columns and meaning. Raises SqlError for one that isn't there."""
        wanted = name.replace('"', "").lower().rpartition(".")[2]
        models, landed = load_models(), landed_tables()
        states = self._memory.tables()
        if wanted in models:
            model = models[wanted]
            return _described(model, _table(model, states.get(wanted)))
        if wanted in landed:
            return _described_landed(wanted, landed[wanted])
        raise SqlError(f"there is no table {name!r}; {nearest(wanted, [*models, *landed])}")


def _table(model: Model, state: TableState | None) -> Table:
    return _table_of(model.name, model.layer, model.description, state)


def _table_of(name: str, layer: str, description: str, state: TableState | None) -> Table:
    first, _, more = " ".join(description.split()).partition(". ")
    table = Table(name, layer, None, f"{first}." if more else first)
    if state is not None and state.build:
        table.rows, table.built_at = state.rows, state.built_at
    return table


def _described(model: Model, table: Table) -> Described:
    return Described(
        model.name,
        " ".join(model.description.split()),
        model.grain,
        table.rows,
        None,
        table.built_at,
        model.columns,
    )


def _described_landed(name: str, table: LandedTable) -> Described:
    columns = [ModelColumn(name=c.name, type=c.type, description=c.comment) for c in table.columns]
    columns += [
        ModelColumn(name=part, type="string", description=f"The partition: {part} of arrival.")
        for part in table.partitions
    ]
    return Described(name, table.description, ["position", "n"], None, None, None, columns)


def _arrow_type(column: Column) -> Any:
    import pyarrow as pa

    if column.type == "decimal":
        return pa.decimal128(column.precision or 38, column.scale)
    if column.type == "timestamp":
        return pa.timestamp("us")
    plain = _PLAIN_TYPES.get(column.type)
    return getattr(pa, plain)() if plain else pa.string()


def _cast(cells: list[str | None], kind: Any) -> Any:
    import pyarrow as pa

    return pa.array(cells, pa.string()).cast(kind)
