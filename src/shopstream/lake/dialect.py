"""The models' SQL in the words of another engine: DuckDB's own, Trino's (Athena) or Spark's (Glue).

sqlglot translates; what it can't know is said here: the types of columns, and what a model's table
names stand for there. All is pure: text in, text out.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import sqlglot
from sqlglot import exp

from shopstream.errors import ConfigError
from shopstream.lake.model import NAMESPACE, Dialect, Model, Source

DIALECTS: tuple[Dialect, ...] = ("duckdb", "trino", "spark")
Naming: TypeAlias = Callable[[str], str]
"""The full name, quoted where it must be, of the table that a model calls by this name."""


def in_namespace(name: str) -> str:
    """As a reader writes it: `ecommerce_analytics_db.gold_daily_sales`."""
    return f"{NAMESPACE}.{name}"


def compile_model(model: Model, dialect: Dialect, naming: Naming = in_namespace) -> str:
    """The SELECT that makes the model's table: its columns in their order, each of its type.

    Types are said outright, as engines differ in what a sum or a length is.
    """
    tree = _parsed(model.sql, f"{model.layer}/{model.name}.sql")
    _name_tables(tree, set(model.reads), dialect, naming)
    comments, tree.comments = tree.comments, None
    inner = tree.sql(dialect, pretty=True, comments=False)
    columns = ",\n".join(
        f"  CAST({quoted(name, dialect)} AS {type_of(kind, dialect)}) AS {quoted(name, dialect)}"
        for name, kind in model.types.items()
    )
    said = "".join(f"-- {line.strip()}\n" for line in comments or ())
    return f"{said}SELECT\n{columns}\nFROM (\n{_indented(inner)}\n) AS made\n"


def compile_source(source: Source, dialect: Dialect, raw: str) -> str:
    """The SELECT that makes a source's columns of the table `raw` of its files' fields.

    Raises ConfigError when the source isn't written in that dialect.
    """
    if not source.sql:
        columns = ", ".join(quoted(name, dialect) for name in source.types)
        return f"SELECT {columns} FROM {raw}"
    if dialect not in source.sql:
        raise ConfigError(f"sources.yml: {source.name}: sql: {dialect} is not given")
    name = f"raw_{source.topic or source.archive}"
    return f"WITH {name} AS (SELECT * FROM {raw})\nSELECT * FROM (\n{source.sql[dialect]}) AS made"


def type_of(kind: str, dialect: Dialect) -> str:
    """A DuckDB type in the engine's words; times have microseconds and no zone."""
    built = exp.DataType.build(kind, dialect="duckdb")
    for part in built.find_all(exp.DataType):
        if part.this in (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ):
            part.replace(_TIMESTAMPS[dialect].copy())
    if built.this in (exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ):
        built = _TIMESTAMPS[dialect]
    return built.sql(dialect)


def hive_type(kind: str) -> str:
    """A DuckDB type as Glue's catalog and Athena's DDL write it."""
    built = exp.DataType.build(kind, dialect="duckdb")
    written = built.sql("hive").lower()
    return re.sub(r"([,:]) ", r"\1", written)


_TIMESTAMPS: Mapping[Dialect, exp.DataType] = {
    "duckdb": exp.DataType.build("TIMESTAMP", dialect="duckdb"),
    "trino": exp.DataType.build("TIMESTAMP(6)", dialect="trino"),
    "spark": exp.DataType.build("TIMESTAMP_NTZ", dialect="spark"),
}


def quoted(name: str, dialect: Dialect) -> str:
    """A name that is taken as it is, whatever it means to the engine."""
    return exp.to_identifier(name, quoted=True).sql(dialect)


def _parsed(sql: str, at: str) -> exp.Expr:
    try:
        return sqlglot.parse_one(sql, dialect="duckdb")
    except sqlglot.ParseError as e:
        raise ConfigError(f"{at}: can't be read as SQL: {e}") from e


def _name_tables(tree: exp.Expr, tables: set[str], dialect: Dialect, naming: Naming) -> None:
    """Give the tables that are read their full names; columns go on calling them as they did."""
    for table in list(tree.find_all(exp.Table)):
        if table.name in tables:
            full = exp.to_table(naming(table.name), dialect=dialect)
            table.replace(exp.alias_(full, table.alias or table.name, table=True))


def _indented(sql: str) -> str:
    return "\n".join(f"  {line}" if line else line for line in sql.splitlines())
