"""The tests of a model as Trino's SQL: the same that `quality` asks of DuckDB.

Each becomes a query of one row over the table of staged rows, so that all are asked at once.
"""

from collections.abc import Iterator, Mapping

from shopstream.errors import ConfigError
from shopstream.lake.compiled import STAGED, CompiledTest
from shopstream.lake.model import Freshness, Model, Relationship, Source
from shopstream.settings import parse_duration


def compile_tests(model: Model, sources: Mapping[str, Source]) -> list[CompiledTest]:
    """All tests of `model` but that of the number of rows, which needs the published table.

    Raises ConfigError for one that can't be asked.
    """
    found = [*_row_tests(model), _unique(model, model.grain)]
    for column in model.columns:
        for test in column.tests:
            if test == "unique":
                found.append(_unique(model, [column.name]))
            elif not isinstance(test, str) and test.relationships:
                found.append(_relationship(model, column.name, test.relationships))
    found += [_freshness(model, t.freshness, sources) for t in model.tests if t.freshness]
    return found


def _row_tests(model: Model) -> Iterator[CompiledTest]:
    for column in model.columns:
        name = _quoted(column.name)
        if "not_null" in column.tests or column.name == model.partition:
            fails = f"{name} IS NULL"
            yield CompiledTest(
                test="not_null",
                column=column.name,
                wanted="NULL",
                fails=fails,
                example=_example(model, [column.name], fails),
            )
        for test in column.tests:
            if not isinstance(test, str) and test.accepted_values is not None:
                shown = ", ".join(map(str, test.accepted_values))
                values = ", ".join(map(_literal, test.accepted_values))
                fails = f"{name} NOT IN ({values})" if values else f"{name} IS NOT NULL"
                yield CompiledTest(
                    test="accepted_values",
                    column=column.name,
                    wanted=f"none of {shown}",
                    fails=fails,
                    example=_example(model, [column.name], fails),
                )


def _unique(model: Model, key: list[str]) -> CompiledTest:
    """Rows beyond the first of each key. NULLs are equal in a grain and pass in a single column."""
    names = ", ".join(map(_quoted, key))
    among = f" WHERE {_quoted(key[0])} IS NOT NULL" if key != model.grain else ""
    groups = f"SELECT {names}, COUNT(*) AS times FROM {STAGED}{among} GROUP BY {names}"
    return CompiledTest(
        test="unique",
        column=", ".join(key),
        wanted="too many: others have the same key",
        count=f"SELECT COALESCE(SUM(times - 1), 0) AS failing FROM ({groups})",
        example=f"SELECT {_texts(key)} FROM ({groups}) WHERE times > 1 ORDER BY {names} LIMIT 1",
    )


def _relationship(model: Model, column: str, wanted: Relationship) -> CompiledTest:
    there = STAGED if wanted.to == model.name else f"{{table:{wanted.to}}}"
    name, other = _quoted(column), _quoted(wanted.column)
    fails = (
        f"{name} IS NOT NULL AND {name} NOT IN"
        f" (SELECT {other} FROM {there} WHERE {other} IS NOT NULL)"
    )
    return CompiledTest(
        test="relationships",
        column=column,
        wanted=f"not in {wanted.to}.{wanted.column}",
        count=f"SELECT COUNT(*) AS failing FROM {STAGED} WHERE {fails}",
        example=_example(model, [column], fails),
    )


def _freshness(model: Model, wanted: Freshness, sources: Mapping[str, Source]) -> CompiledTest:
    """The staged rows against what the model read, which the names of its file stand for."""
    if wanted.column not in _columns_read(model, sources):
        raise ConfigError(
            f"{model.name}: freshness: none of the tables that it reads has a column"
            f" {wanted.column} to compare with"
        )
    name, source = _quoted(wanted.column), model.reads[0]  # it reads just one
    within_s = int(parse_duration(wanted.within).total_seconds())
    own = f"SELECT MAX({name}) AS top FROM {STAGED}"
    in_time = f"DATE_DIFF('second', here.top, {{0}}) <= {within_s}"
    keys = model.merge.copied if model.merge else []
    if keys:
        # A newer copy of a row that is there is not lost; hardly any row is that new.
        names = ", ".join(map(_quoted, keys))
        late = (
            f"SELECT {names}, {name} AS at FROM {source} CROSS JOIN ({own}) AS here"
            f" WHERE here.top IS NULL OR NOT ({in_time.format(name)})"
        )
        same = " AND ".join(f"kept.{_quoted(key)} = late.{_quoted(key)}" for key in keys)
        landed = (
            f"SELECT MAX(late.at) AS top FROM {STAGED} AS kept RIGHT JOIN ({late}) AS late"
            f" ON {same} WHERE kept.{_quoted(keys[0])} IS NULL"
        )
    else:
        landed = f"SELECT MAX({name}) AS top FROM {source}"
    return CompiledTest(
        test="freshness",
        column=wanted.column,
        wanted=wanted.within,
        count=(
            "SELECT CASE WHEN there.top IS NULL THEN 0"
            f" WHEN {in_time.format('there.top')} THEN 0"
            " ELSE 1 END AS failing,"
            " CAST(there.top AS VARCHAR) AS landed, CAST(here.top AS VARCHAR) AS own"
            f" FROM ({landed}) AS there CROSS JOIN ({own}) AS here"
        ),
    )


def _columns_read(model: Model, sources: Mapping[str, Source]) -> set[str]:
    if len(model.reads) != 1:
        raise ConfigError(f"{model.name}: freshness: wanted a model that reads one table")
    source = sources.get(model.reads[0])
    return set(source.types) if source else set(model.types)


def _example(model: Model, columns: list[str], fails: str) -> str:
    """The first failing row by grain: what it is and what is wrong with it."""
    names = list(dict.fromkeys([*model.grain, *columns]))
    grain = ", ".join(map(_quoted, model.grain))
    return f"SELECT {_texts(names)} FROM {STAGED} WHERE {fails} ORDER BY {grain} LIMIT 1"


def _texts(names: list[str]) -> str:
    return ", ".join(f"CAST({_quoted(name)} AS VARCHAR) AS {_quoted(name)}" for name in names)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _literal(value: str | int | bool) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).upper()
