"""The statements by which a build on Athena makes a table: text in, text out.

Rows are staged in a table of their own, audited there, and published by one MERGE, which deletes
what is replaced and inserts what is new in one commit: readers see the rows of before or these.
Sources: Athena's guides "Create Iceberg tables", "CTAS", "MERGE INTO", "Partition projection".
"""

from collections.abc import Collection, Iterable, Mapping

from shopstream.lake.compiled import LANDED, STAGED, WHERE, CompiledModel, CompiledSource
from shopstream.lake.plan import grown

DAYS_AT_ONCE_MAX = 90
"""Athena writes at most 100 partitions in one statement."""
Ctes = Mapping[str, str]
"""What names in a model's SELECT stand for: a query for each."""


def named(database: str, table: str) -> str:
    """A table's full name in queries."""
    return f'"{database}"."{table}"'


def create_table(model: CompiledModel, database: str, table: str, location: str) -> str:
    """DDL of an Iceberg table with the model's columns, parted by its days."""
    columns = ",\n".join(
        f"  `{name}` {kind} COMMENT {_comment(model.comments.get(name, ''))}"
        for name, kind in model.hive.items()
    )
    parted = f"PARTITIONED BY (`{model.partition}`)\n" if model.partition else ""
    return (
        f"CREATE TABLE IF NOT EXISTS `{database}`.`{table}` (\n{columns}\n)\n{parted}"
        f"LOCATION {literal(location)}\n"
        "TBLPROPERTIES ('table_type' = 'ICEBERG', 'format' = 'parquet',"
        " 'write_compression' = 'zstd')"
    )


def add_columns(model: CompiledModel, database: str, table: str, names: Iterable[str]) -> str:
    """DDL for columns that the model has gained."""
    columns = ", ".join(f"`{name}` {model.hive[name]}" for name in names)
    return f"ALTER TABLE `{database}`.`{table}` ADD COLUMNS ({columns})"


def columns_of(database: str, table: str) -> str:
    """A query for the names of a table's columns, as `column_name`."""
    return (
        "SELECT column_name FROM information_schema.columns"
        f" WHERE table_schema = {literal(database)} AND table_name = {literal(table)}"
    )


def drop(database: str, table: str) -> str:
    """DDL that takes away a staged table with its files."""
    return f"DROP TABLE IF EXISTS `{database}`.`{table}`"


def stage(database: str, table: str, location: str, query: str) -> str:
    """A table of its own, not parted, of what `query` gives."""
    return (
        f"CREATE TABLE {named(database, table)} WITH (table_type = 'ICEBERG', is_external = false,"
        f" location = {literal(location)}, format = 'PARQUET') AS\n{query}"
    )


def landed_rows(source: CompiledSource, database: str, where: str) -> str:
    """The rows of a source in the partitions that `where` says."""
    landed = named(database, source.landed)
    return source.select.replace(LANDED, landed).replace(WHERE, where)


def arrivals(model: CompiledModel, database: str, where: str) -> str:
    """The tally of the partitions that `where` says."""
    text = model.select.replace(WHERE, where)
    while "{landed:" in text:
        before, _, rest = text.partition("{landed:")
        name, _, after = rest.partition("}")
        text = f"{before}{named(database, name)}{after}"
    return text


def rows_of(model: CompiledModel, ctes: Ctes, days: Collection[str] | None) -> str:
    """The model's rows, of `days` only if given, of what `ctes` say that it reads."""
    within = f"\nWHERE {in_days(model.partition, days)}" if days is not None else ""
    return f"{with_(ctes)}SELECT * FROM (\n{model.select}\n) AS rows_made{within}"


def rows_in(table: str, where: str) -> str:
    """A table's rows that fulfil a condition."""
    return f"SELECT * FROM {table} WHERE {where}"


def days_of_arrival(database: str, tables: Iterable[str], where: str) -> str:
    """A query for the days, as `day`, on which lines of any of these tables arrived."""
    return " UNION ".join(
        f"SELECT DISTINCT dt AS day FROM {named(database, table)} WHERE {where}" for table in tables
    )


def between(day: str, since: str, until: str) -> str:
    """The condition that text holds a day of a range, whose ends may be open."""
    bounds = [f"{day} >= {literal(since)}"] if since else []
    bounds += [f"{day} <= {literal(until)}"] if until else []
    return " AND ".join(bounds) or "TRUE"


def with_(ctes: Ctes) -> str:
    parts = ",\n".join(f"{name} AS (\n{query}\n)" for name, query in ctes.items())
    return f"WITH {parts}\n" if parts else ""


def merged(
    model: CompiledModel,
    source: CompiledSource,
    database: str,
    new: str,
    own_where: str,
    again: bool,
) -> str:
    """New rows of a source (a table `new`) with the model's own rows as rows of the source; with
    `again` those only that `new` lacks: what bronze still has is taken from there.
    """
    columns = ", ".join(f'new_rows."{name}"' for name in source.types)
    back = ", ".join(
        f'CAST({_own(model, name)} AS {kind}) AS "{name}"' for name, kind in source.types.items()
    )
    own = f"SELECT {back} FROM {named(database, model.name)} AS own_rows WHERE {own_where}"
    if again:
        same = " AND ".join(
            f'new_rows."{name}" = own_rows."{model.back.get(name, name)}"'
            for name in _identity(model, source)
        )
        own += f" AND NOT EXISTS (SELECT 1 FROM {named(database, new)} AS new_rows WHERE {same})"
    return f"SELECT {columns} FROM {named(database, new)} AS new_rows\nUNION ALL\n{own}"


def _own(model: CompiledModel, name: str) -> str:
    own = model.back.get(name, name)
    return f'own_rows."{own}"' if own in model.types else "NULL"


def _identity(model: CompiledModel, source: CompiledSource) -> list[str]:
    """The columns by which a row is known again: positions are unique for one user only."""
    places = [name for name in ("position", "n") if name in source.types]
    return places + [name for name in model.grain if name in source.types]


def publish(model: CompiledModel, database: str, staged: str, days: Collection[str] | None) -> str:
    """Replace the rows of `days` (of all there are, for None) by the staged ones of these days.

    Each row of the table meets at most one row of the source, the one that takes it away; staged
    rows meet none, as nothing equals NULL.
    """
    target = named(database, model.name)
    columns = [f'"{name}"' for name in model.types]
    key = f'"{model.partition or model.grain[0]}"'
    kind = model.types[model.partition or model.grain[0]]
    new = ", ".join(f"staged_rows.{name}" for name in columns)
    nulls = ", ".join(f"CAST(NULL AS {kind})" for kind in model.types.values())
    within = in_days(model.partition, days) if days is not None else "TRUE"
    gone = f"SELECT DISTINCT {key} AS gone FROM {target} WHERE {within}"
    pruned = f" AND {in_days(model.partition, days, 'kept')}" if days is not None else ""
    return (
        f"MERGE INTO {target} AS kept\nUSING (\n"
        f"  SELECT CAST(NULL AS {kind}) AS gone, {new}\n"
        f"  FROM {named(database, staged)} AS staged_rows WHERE {within}\n"
        f"  UNION ALL\n  SELECT gone_rows.gone, {nulls} FROM ({gone}) AS gone_rows\n"
        f") AS said\nON kept.{key} = said.gone{pruned}\n"
        "WHEN MATCHED THEN DELETE\n"
        f"WHEN NOT MATCHED AND said.gone IS NULL THEN INSERT ({', '.join(columns)})\n"
        f"VALUES ({', '.join(f'said.{name}' for name in columns)})"
    )


def days_in(database: str, table: str, column: str) -> str:
    """A query for the days in a table, as `day`."""
    return (
        f'SELECT DISTINCT CAST(CAST("{column}" AS DATE) AS VARCHAR) AS day'
        f" FROM {named(database, table)}"
    )


def days_sharing(model: CompiledModel, database: str, new: str, days: Collection[str]) -> str:
    """A query for the days of own rows whose keys a new row has too; `days` are the new rows'."""
    keys = ", ".join(f'"{key}"' for key in model.keys)
    same = " AND ".join(f'own_rows."{key}" = shared."{key}"' for key in model.keys)
    near = grown(frozenset(days), model.days_apart_max) or ()
    return (
        f'SELECT DISTINCT CAST(own_rows."{model.partition}" AS VARCHAR) AS day'
        f" FROM {named(database, model.name)} AS own_rows"
        f" JOIN (SELECT DISTINCT {keys} FROM {named(database, new)}) AS shared ON {same}"
        + (f" WHERE {in_days(model.partition, near, 'own_rows')}" if model.days_apart_max else "")
    )


def own_with_keys(model: CompiledModel, database: str, new: str, days: Collection[str]) -> str:
    """The condition on own rows that they belong together with a new row or a row of `days`."""
    if model.days_apart_max:
        return in_days(model.partition, days)  # of copies it has but one
    keys = ", ".join(f'"{key}"' for key in model.keys)
    own = ", ".join(f'own_rows."{key}"' for key in model.keys)
    return (
        f"({own}) IN (SELECT {keys} FROM {named(database, new)}"
        f" UNION SELECT {keys} FROM {named(database, model.name)}"
        f" WHERE {in_days(model.partition, days)})"
    )


def in_days(column: str, days: Collection[str], table: str = "") -> str:
    """The condition that a row is of one of `days`."""
    if not days:
        return "FALSE"
    place = f'{table}."{column}"' if table else f'"{column}"'
    return f"{place} IN ({', '.join(f'DATE {literal(day)}' for day in sorted(days))})"


def in_partitions(partitions: Collection[str]) -> str:
    """The condition that a line is in one of the partitions `dt` or `dt/hour`."""
    hours: dict[str, list[int]] = {}
    for partition in sorted(partitions):
        day, _, hour = partition.partition("/")
        hours.setdefault(day, []).extend([int(hour)] if hour else [])
    parts = [
        f"(dt = {literal(day)} AND hour IN ({', '.join(map(str, of_day))}))"
        if of_day
        else f"dt = {literal(day)}"
        for day, of_day in hours.items()
    ]
    return f"({' OR '.join(parts)})" if parts else "FALSE"


def audit_query(
    model: CompiledModel,
    database: str,
    staged: str,
    ctes: Ctes,
    days: Collection[str] | None,
    *,
    counted: bool,
) -> str:
    """All tests of the staged rows: one row with `rows`, and `t0`, `t1`, … how many rows fail each;
    of freshness also `landed0`, `own0`; if `counted`, `published` and `replaced` rows.
    """
    table = named(database, staged)
    rows = ["COUNT(*) AS staged_count"]
    rows += [f"COUNT_IF({test.fails}) AS t{n}" for n, test in enumerate(model.tests) if test.fails]
    parts = [f"(SELECT {', '.join(rows)} FROM {table})"]
    for n, test in enumerate(model.tests):
        if test.count:
            names = f"failing AS t{n}, landed AS landed{n}, own AS own{n}"
            shown = names if test.test == "freshness" else f"failing AS t{n}"
            parts.append(f"(SELECT {shown} FROM ({_asked(test.count, database, staged)}))")
    if counted:
        own = named(database, model.name)
        gone = "TRUE" if days is None else in_days(model.partition, days)
        parts.append(f"(SELECT COUNT(*) AS published, COUNT_IF({gone}) AS replaced FROM {own})")
    return f"{with_(ctes)}SELECT * FROM " + "\nCROSS JOIN ".join(parts)


def example_query(query: str, database: str, staged: str, ctes: Ctes) -> str:
    """The first row that fails a test."""
    return f"{with_(ctes)}{_asked(query, database, staged)}"


def _asked(query: str, database: str, staged: str) -> str:
    text = query.replace(STAGED, named(database, staged))
    while "{table:" in text:
        before, _, rest = text.partition("{table:")
        name, _, after = rest.partition("}")
        text = f"{before}{named(database, name)}{after}"
    return text


def optimize(model: CompiledModel, database: str, since: str) -> str:
    """Put small files together, and what was deleted out of them, in the days from `since` on."""
    days = f' WHERE "{model.partition}" >= DATE {literal(since)}' if since else ""
    # Athena takes no quotes around the name here; ours need none.
    return f"OPTIMIZE {database}.{model.name} REWRITE DATA USING BIN_PACK{days}"


def vacuum(database: str, table: str) -> str:
    """Forget old snapshots and files that nothing needs."""
    return f"VACUUM {database}.{table}"


def _comment(text: str) -> str:
    """A literal for Athena's DDL, which takes a semicolon for the end and has other escapes."""
    return literal(text.replace(";", ",").replace("'", "’").replace("\\", "/")[:255])


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
