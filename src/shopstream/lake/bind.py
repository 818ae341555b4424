"""What the names in a model's SQL stand for in a build: bronze files, published tables, both.

All functions give SQL for DuckDB. Paths are absolute; files are read with the types that the source
declares, so a file that says otherwise fails and isn't guessed at.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from shopstream.lake.current import view_sql
from shopstream.lake.model import Model, Source

OBJECT_BYTES_MAX = 16 * 1024 * 1024
"""Of one line of JSON: twice what the settings let an event have. Up to this DuckDB reads 32 MiB at
a time for each thread, and counts them as used; above it twice this.
"""
AS_WRITTEN = "records = true, hive_partitioning = false"
"""Of a reader of JSON: a line is a row, also where but one column is asked for, which DuckDB else
finds out by beginning all files at once; and folders of the path, `customer_id=7`, are no columns.
"""
EVENT_TIME = {"archive": "made_at", "topic": "timestamp"}


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def nothing(types: Mapping[str, str]) -> str:
    """A SELECT of no rows in these columns."""
    columns = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in types.items())
    return f"SELECT {columns} WHERE false"


def source_sql(source: Source, files: Sequence[Path]) -> str:
    """The rows of landed files, in the source's columns."""
    if not files:
        return nothing(source.types)
    columns = ", ".join(f"{quoted(name)}: {literal(kind)}" for name, kind in source.raw.items())
    names = ", ".join(literal(str(path)) for path in files)
    packed = ", compression = 'zstd'" if source.topic else ""
    raw = (
        f"SELECT * FROM read_json([{names}], format = 'newline_delimited', columns = {{{columns}}},"
        f" maximum_object_size = {OBJECT_BYTES_MAX}, {AS_WRITTEN}{packed})"
    )
    if not source.sql:
        return raw
    name = f"raw_{source.topic or source.archive}"
    return f"WITH {name} AS ({raw}) SELECT * FROM ({source.sql['duckdb']})"


def table_sql(model: Model, files: Sequence[Path], days: Collection[str] | None = None) -> str:
    """The rows of a table's data files; of `days` only, if given."""
    if days is None:
        return view_sql(model, [str(path) for path in files])
    rows = view_sql(model, [str(path) for path in of_days(files, days)])
    return f"SELECT * FROM ({rows}) WHERE {in_days(model, days)}"


def of_days(files: Iterable[Path], days: Collection[str]) -> list[Path]:
    """The files that may hold one of `days`."""
    return [path for path in files if (day := day_of(path)) is None or day in days]


def day_of(path: Path) -> str | None:
    """The day of a data file, which its folder names; None where it doesn't."""
    name, equals, day = path.parent.name.partition("=")
    return day if equals and name == "day" else None


def in_days(model: Model, days: Collection[str]) -> str:
    """The condition that a row is of one of `days`."""
    if not days:
        return "false"
    dates = ", ".join(f"DATE {literal(day)}" for day in sorted(days))
    return f"{quoted(model.partition or 'day')} IN ({dates})"


def taken_back(model: Model, source: Source, rows: str) -> str:
    """A table's own rows as rows of its source; NULL where the table keeps no such column."""
    back = model.merge.back if model.merge else {}
    columns = []
    for name, kind in source.types.items():
        own = back.get(name, name)
        found = quoted(own) if own in model.types else "NULL"
        columns.append(f"CAST({found} AS {kind}) AS {quoted(name)}")
    return f"SELECT {', '.join(columns)} FROM ({rows})"
