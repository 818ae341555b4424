"""Write, audit, publish: what a table must hold before readers see it.

A model's YAML asks for it; each test becomes SQL over the rows that a build has staged:

- `not_null` (also implied for the partition column), `accepted_values`, `relationships`: column by
  column; NULLs pass the last two.
- `unique`: of a column, and always of the grain. A build stages whole days, so rows of one day are
  unique there; that no row is in two days is the model's affair.
- `freshness`: the newest value of a column against the newest value of that column in the tables
  that the model reads, as the build read them. There is no clock in it. A load of the invoices of
  2010 is as fresh as can be, and so is a shop that was closed for a week; what fails is a model
  that lost what landed last. A newer copy of a row that is there is not lost.
- `row_count`: the table as it will be (published rows, less those replaced, plus those staged)
  against the published one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec
from msgspec import Struct

from shopstream.domain.orders import alert_id
from shopstream.errors import ConfigError
from shopstream.events import Alert
from shopstream.settings import parse_duration

if TYPE_CHECKING:
    import duckdb

    from shopstream.lake.model import Freshness, Model, Relationship, RowCount

VALUE_CHARS_MAX = 80
FAILURES_SHOWN = 20


class TestFailure(Struct, frozen=True):
    """A test that a table's staged rows fail.

    `column` is empty for tests of the whole table and a list for a grain. `failing_rows` is how
    many rows would have to go or change; `example` is one of them, by column, cut and escaped.
    """

    __test__: ClassVar[bool] = False  # not a class of tests, whatever pytest makes of its name

    model: str
    test: str
    column: str
    failing_rows: int
    example: dict[str, str]
    message: str

    def __str__(self) -> str:
        place = f"{self.model}.{self.column}" if self.column else self.model
        shown = ", ".join(f"{name}={value}" for name, value in self.example.items())
        return f"{place}: {self.test}: {self.message}" + (f"; e.g. {shown}" if shown else "")

    @property
    def key(self) -> str:
        """The same for the same test of the same model, whatever fails it."""
        return f"{self.test}:{self.column}"


class _RowTest(NamedTuple):
    """A test of each row by itself; `fails` is SQL, `wanted` ends the message."""

    test: str
    column: str
    fails: str
    wanted: str


def audit(
    con: duckdb.DuckDBPyConnection,
    model: Model,
    staged: str,
    tables: Mapping[str, str],
    *,
    published_rows: int | None = None,
    replaced_rows: int = 0,
) -> list[TestFailure]:
    """Run all tests of `model` on the relation `staged`; [] when it may be published.

    `tables` names the relation of `con` that each model or source is bound to: what the model read,
    and whole tables for `relations_of(model)`. `published_rows` is how many rows readers see now
    and `replaced_rows` how many of these `staged` replaces; None (nothing is published, or a full
    build: who asks for one wants what it gives) leaves `row_count` out.

    Raises ConfigError when a test can't be asked, duckdb.Error when a relation isn't there.
    """
    found = list(_audit_rows(con, model, staged))
    found += _audit_unique(con, model, staged, model.grain)
    for column in model.columns:
        for test in column.tests:
            if test == "unique":
                found += _audit_unique(con, model, staged, [column.name])
            elif not isinstance(test, str) and test.relationships:
                found += _audit_relationship(
                    con, model, staged, column.name, test.relationships, tables
                )
    for table_test in model.tests:
        if table_test.freshness:
            found += _audit_freshness(con, model, staged, table_test.freshness, tables)
        if table_test.row_count and published_rows is not None:
            after = published_rows - replaced_rows + _count(con, staged)
            found += _audit_row_count(model, table_test.row_count, published_rows, after)
    return found


def relations_of(model: Model) -> set[str]:
    """The tables that `relationships` tests of `model` look into."""
    return {
        test.relationships.to
        for column in model.columns
        for test in column.tests
        if not isinstance(test, str) and test.relationships
    } - {model.name}


def alert_of(model: str, failures: Sequence[TestFailure], build: int, at: datetime) -> Alert:
    """The alert about tests that `model` began to fail in `build`; `failures` are at least one."""
    tests = ", ".join(dict.fromkeys(failure.test for failure in failures))
    return Alert(
        alert_id=alert_id("model_failed", model, failures[0].key, str(build), at.isoformat()),
        kind="model_failed",
        subject=f"Table {model} failed its tests: {tests}",
        body="\n".join(
            [
                *(str(failure) for failure in failures[:FAILURES_SHOWN]),
                f"Build {build} did not publish it, nor what depends on it: readers still see the"
                " last good rows.",
            ]
        ),
        at=at,
        data={
            "model": model,
            "build": build,
            "failures": [msgspec.to_builtins(failure) for failure in failures[:FAILURES_SHOWN]],
        },
    )


def _row_tests(model: Model) -> Iterator[_RowTest]:
    for column in model.columns:
        name = quoted(column.name)
        if "not_null" in column.tests or column.name == model.partition:
            yield _RowTest("not_null", column.name, f"{name} IS NULL", "NULL")
        for test in column.tests:
            if not isinstance(test, str) and test.accepted_values is not None:
                values = ", ".join(_literal(value) for value in test.accepted_values) or "NULL"
                fails = f"{name} NOT IN ({values})" if test.accepted_values else f"{name} NOT NULL"
                shown = ", ".join(str(value) for value in test.accepted_values)
                yield _RowTest("accepted_values", column.name, fails, f"none of {shown}")


def _audit_rows(con: duckdb.DuckDBPyConnection, model: Model, staged: str) -> Iterator[TestFailure]:
    """All tests of single rows in one pass over them."""
    tests = list(_row_tests(model))
    if not tests:
        return
    counts = ", ".join(f"count(*) FILTER (WHERE {test.fails})" for test in tests)
    row = con.execute(f"SELECT {counts} FROM {quoted(staged)}").fetchone()
    for test, failing in zip(tests, row or (), strict=True):
        if failing:
            example = _example(con, model, staged, [test.column], test.fails)
            message = f"{_rows(failing)} {'is' if failing == 1 else 'are'} {test.wanted}"
            yield TestFailure(model.name, test.test, test.column, failing, example, message)


def _audit_unique(
    con: duckdb.DuckDBPyConnection, model: Model, staged: str, key: list[str]
) -> Iterator[TestFailure]:
    """Rows beyond the first of each key. NULLs are equal in a grain and pass in a single column.

    Rows are told apart by 64-bit hashes first: as many hashes as rows proves that no key is there
    twice, in a fraction of the time and memory that the keys themselves would take.
    """
    names = ", ".join(quoted(name) for name in key)
    among = f"{quoted(key[0])} IS NOT NULL" if key != model.grain else "TRUE"
    rows = f"FROM {quoted(staged)} WHERE {among}"
    row = con.execute(f"SELECT count(*), count(DISTINCT hash({names})) {rows}").fetchone()
    if row is None or row[0] == row[1]:
        return
    groups = f"SELECT {names}, count(*) AS n {rows} GROUP BY {names} HAVING count(*) > 1"
    (surplus,) = con.execute(f"SELECT coalesce(sum(n - 1), 0) FROM ({groups})").fetchone() or (0,)
    if surplus:
        texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in key)
        found = con.execute(f"SELECT {texts} FROM ({groups}) ORDER BY {names} LIMIT 1").fetchone()
        example = {name: shown(value) for name, value in zip(key, found or (), strict=True)}
        message = f"{_rows(int(surplus))} too many: others have the same key"
        yield TestFailure(model.name, "unique", ", ".join(key), int(surplus), example, message)


def _audit_relationship(
    con: duckdb.DuckDBPyConnection,
    model: Model,
    staged: str,
    column: str,
    wanted: Relationship,
    tables: Mapping[str, str],
) -> Iterator[TestFailure]:
    there = staged if wanted.to == model.name else tables.get(wanted.to)
    if there is None:
        raise ConfigError(
            f"{model.name}.{column}: relationships: {wanted.to} is not built yet; build it first"
        )
    fails = (
        f"{quoted(column)} IS NOT NULL AND {quoted(column)} NOT IN (SELECT"
        f" {quoted(wanted.column)} FROM {quoted(there)} WHERE {quoted(wanted.column)} IS NOT NULL)"
    )
    failing = _count(con, staged, fails)
    if failing:
        example = _example(con, model, staged, [column], fails)
        verb = "has a value that is" if failing == 1 else "have values that are"
        message = f"{_rows(failing)} {verb} not in {wanted.to}.{wanted.column}"
        yield TestFailure(model.name, "relationships", column, failing, example, message)


def _audit_freshness(
    con: duckdb.DuckDBPyConnection,
    model: Model,
    staged: str,
    wanted: Freshness,
    tables: Mapping[str, str],
) -> Iterator[TestFailure]:
    within_s = int(parse_duration(wanted.within).total_seconds())
    read = [tables[name] for name in model.reads if name in tables]
    landed = [relation for relation in read if wanted.column in _columns(con, relation)]
    if not landed:
        raise ConfigError(
            f"{model.name}: freshness: none of the tables that it reads has a column"
            f" {wanted.column} to compare with"
        )
    name = quoted(wanted.column)
    newest = " UNION ALL ".join(f"SELECT max({name}) AS top FROM {quoted(r)}" for r in landed)
    row = con.execute(
        "SELECT CAST(there.top AS VARCHAR), CAST(here.top AS VARCHAR), here.top IS NOT NULL AND"
        " epoch_us(CAST(there.top AS TIMESTAMP)) - epoch_us(CAST(here.top AS TIMESTAMP))"
        f" <= {within_s}000000 FROM (SELECT max(top) AS top FROM ({newest})) AS there,"
        f" (SELECT max({name}) AS top FROM {quoted(staged)}) AS here"
    ).fetchone()
    if row is None or row[0] is None or row[2]:
        return
    landed_at, own = row[0], row[1] or "nothing"
    if row[1] and model.merge and model.merge.copied:
        landed_at = _newest_lost(con, landed[0], staged, name, within_s, model.merge.copied)
        if landed_at is None:
            return
    message = (
        f"the newest row is of {own}, more than {wanted.within} before what landed: {landed_at}"
    )
    yield TestFailure(model.name, "freshness", wanted.column, 1, {wanted.column: own}, message)


def _newest_lost(
    con: duckdb.DuckDBPyConnection,
    landed: str,
    staged: str,
    column: str,
    within_s: int,
    keys: Sequence[str],
) -> str | None:
    """The newest of what landed and is too new for what is staged, copies of that left out."""
    newest = f"(SELECT max({column}) FROM {quoted(staged)}) + INTERVAL {within_s} SECOND"
    row = con.execute(
        f"SELECT CAST(max(landed.{column}) AS VARCHAR) FROM {quoted(landed)} AS landed"
        f" ANTI JOIN {quoted(staged)} USING ({', '.join(map(quoted, keys))})"
        f" WHERE landed.{column} > {newest}"
    ).fetchone()
    return row[0] if row else None


def _audit_row_count(
    model: Model, wanted: RowCount, before: int, after: int
) -> Iterator[TestFailure]:
    lost = before - after
    if lost > 0 and lost * 100 > before * wanted.drop_percent_max:
        message = (
            f"{after:,} rows where {before:,} are published: more than"
            f" {wanted.drop_percent_max}% fewer; if that is right, build it with --full"
        )
        yield TestFailure(model.name, "row_count", "", lost, {}, message)


def _columns(con: duckdb.DuckDBPyConnection, relation: str) -> set[str]:
    return {row[0] for row in con.execute(f"DESCRIBE {quoted(relation)}").fetchall()}


def _count(con: duckdb.DuckDBPyConnection, relation: str, where: str = "TRUE") -> int:
    row = con.execute(f"SELECT count(*) FROM {quoted(relation)} WHERE {where}").fetchone()
    return int(row[0]) if row else 0


def _example(
    con: duckdb.DuckDBPyConnection, model: Model, staged: str, columns: list[str], fails: str
) -> dict[str, str]:
    """The first failing row by grain: what it is and what is wrong with it."""
    names = list(dict.fromkeys([*model.grain, *columns]))
    texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in names)
    grain = ", ".join(quoted(name) for name in model.grain)
    found = con.execute(
        f"SELECT {texts} FROM {quoted(staged)} WHERE {fails} ORDER BY {grain} LIMIT 1"
    ).fetchone()
    return {name: shown(value) for name, value in zip(names, found or (), strict=True)}


def shown(value: Any) -> str:
    """A value of the data as a message may show it: on one line, quoted, cut, nothing hidden."""
    if value is None:
        return "NULL"
    text = str(value)
    cut = "".join(_visible(char) for char in text[:VALUE_CHARS_MAX])
    return f"'{cut}…'" if len(text) > VALUE_CHARS_MAX else f"'{cut}'"


def _visible(char: str) -> str:
    if unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp"):
        return char.encode("unicode_escape").decode()
    return char


def quoted(name: str) -> str:
    """`name` as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str | int | bool) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).upper()


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"
