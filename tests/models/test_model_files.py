"""The files of the models: what is wrong with one is said, and those shipped are right."""

import re
import zipfile
from pathlib import Path

import duckdb
import pytest
from tests.models.unit_tests import make, relation

from shopstream.errors import ConfigError
from shopstream.lake.model import LAYERS, Model, load_models, load_sources, tables_read

MODELS = load_models()
SOURCES = load_sources()
FILES = Path(__file__).parents[2] / "src" / "shopstream" / "lake" / "models"

SOURCES_YML = """
meta:
  - {name: position, type: BIGINT, description: Place in the log.}
sources:
  - name: bronze_clicks
    description: Clicks.
    topic: clicks
    columns:
      - {name: event_id, type: VARCHAR, description: Its id.}
      - {name: timestamp, type: TIMESTAMP, description: When.}
"""
CLICKS_SQL = "SELECT CAST(timestamp AS DATE) AS day, event_id, timestamp FROM bronze_clicks"
CLICKS_YML = """
name: silver_clicks
layer: silver
description: Clicks.
grain: [event_id]
partition: day
build: merge
merge: {source: bronze_clicks}
columns:
  - {name: day, type: DATE, description: Its day.}
  - {name: event_id, type: VARCHAR, description: Its id., tests: [not_null]}
  - {name: timestamp, type: TIMESTAMP, description: When.}
tests:
  - row_count: {drop_percent_max: 50}
unit_test:
  given: {bronze_clicks: [{event_id: a}]}
  expect: [{event_id: a}]
"""


class Files:
    """A folder of models: one source and one silver model that are right."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("sources.yml", SOURCES_YML)
        self.write("silver/silver_clicks.sql", CLICKS_SQL)
        self.write("silver/silver_clicks.yml", CLICKS_YML)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")

    def change(self, name: str, before: str, after: str) -> None:
        text = (self.root / name).read_text("utf-8")
        assert before in text
        self.write(name, text.replace(before, after, 1))

    def add(self, name: str, reads: str, build: str = "whole", more: str = "") -> None:
        """A second model that reads others."""
        self.write(f"gold/{name}.sql", f"SELECT day, event_id FROM {reads}")
        self.write(
            f"gold/{name}.yml",
            f"name: {name}\nlayer: gold\ndescription: More.\ngrain: [day]\nbuild: {build}\n"
            "columns:\n  - {name: day, type: DATE, description: Its day.}\n"
            "  - {name: event_id, type: VARCHAR, description: Its id.}\n"
            f"unit_test: {{given: {{}}, expect: []}}\n{more}",
        )


@pytest.fixture
def written(tmp_path: Path) -> Files:
    return Files(tmp_path)


def error(written: Files) -> str:
    with pytest.raises(ConfigError) as caught:
        load_models(written.root)
    return str(caught.value)


def test_models_are_read_in_an_order_in_which_each_has_what_it_reads(written: Files) -> None:
    written.add("gold_b", "gold_c JOIN silver_clicks USING (day)")
    written.add("gold_c", "silver_clicks", "days", "partition: day\n")
    assert list(load_models(written.root)) == ["silver_clicks", "gold_c", "gold_b"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("description: Clicks.", "comment: x", "unknown field `comment`"),
        ("grain: [event_id]\n", "", "missing required field `grain`"),
        ("build: merge", "build: sometimes", "Invalid enum value 'sometimes' - at `$.build`"),
        ("[not_null]", "[not_nul]", "at `$.columns[1].tests[0]`"),
        ("type: TIMESTAMP", "type: TIMESTAMPTZ", "columns.timestamp.type: TIMESTAMPTZ is not one"),
        ("name: timestamp", "name: event_id", "columns.event_id: is there twice"),
        ("name: timestamp", "name: Time", "'Time' is not a name in snake_case"),
        ("grain: [event_id]", "grain: [id]", "grain: id is not a column; there are day, event_id"),
        ("grain: [event_id]", "grain: []", "grain: names no column"),
        ("partition: day", "partition: event_id", "partition: event_id is not a column of type"),
        ("merge: {source: bronze_clicks}\n", "", "merge: goes with `build: merge`"),
        ("{source: bronze_clicks}", "{source: bronze_carts}", "merge.source: bronze_carts is no"),
        ("{source: bronze_clicks}", "{source: bronze_clicks, keys: [user]}", "merge.keys: user is"),
        (
            "{source: bronze_clicks}",
            "{source: bronze_clicks, back: {event_id: sent}}",
            "merge.back: sent is not a column",
        ),
        (
            "tests: [not_null]",
            "tests: [relationships: {to: silver_users, column: id}]",
            "columns.event_id.tests.relationships: there is no silver_users.id",
        ),
        ("merge: {", "last_days: 7\nmerge: {", "last_days: wanted a number from 0 on, with `build"),
        ("tests: [not_null]", "tests: [{}]", "wanted accepted_values or relationships"),
        (
            "row_count: {drop_percent_max: 50}",
            "freshness: {column: at, within: 1d}",
            "tests.freshness.column: at is not a column",
        ),
        ("given: {bronze_clicks", "given: {bronze_carts", "given: bronze_carts is not read by"),
        ("name: silver_clicks", "name: silver_click", "name: silver_click of layer silver is in"),
        ("description: Clicks.", "description: [", "cannot be read as YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_file_and_key(
    written: Files, before: str, after: str, said: str
) -> None:
    written.change("silver/silver_clicks.yml", before, after)
    message = error(written)
    assert message.startswith("silver/silver_clicks.yml: ")
    assert said in message


def test_a_model_has_sql_and_yaml(written: Files) -> None:
    (written.root / "silver" / "silver_clicks.sql").unlink()
    assert error(written) == "silver/silver_clicks.yml: silver_clicks.sql must stand beside it"


def test_a_model_reads_what_there_is(written: Files) -> None:
    written.change("silver/silver_clicks.sql", "FROM bronze_clicks", "FROM bronze_click")
    assert "silver/silver_clicks.sql: FROM bronze_click: no such model or source" in error(written)


def test_a_model_by_days_reads_no_table_without_days(written: Files) -> None:
    written.add("gold_b", "gold_c", "days", "partition: day\n")
    written.add("gold_c", "silver_clicks")
    assert "gold_b.sql reads gold_c, which has no days; wanted `build: whole`" in error(written)
    written.add("gold_b", "bronze_clicks", "days", "partition: day\n")
    assert "gold_b.sql reads bronze_clicks, which has no days" in error(written)
    written.add("gold_b", "silver_clicks", "days")
    assert "gold/gold_b.yml: partition: must be given with `build: days`" in error(written)


def test_models_do_not_read_each_other_in_a_circle(written: Files) -> None:
    written.add("gold_b", "gold_c")
    written.add("gold_c", "gold_b")
    assert "models read each other in a circle: gold_" in error(written)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("topic: clicks", "topic: click", "sources.yml: Invalid enum value 'click'"),
        ("topic: clicks", "tally: false", "bronze_clicks: exactly one of topic, archive and tally"),
        ("type: VARCHAR", "type: TEXT", "bronze_clicks: columns.event_id.type: TEXT is not one of"),
        ("topic: clicks", "topic: clicks\n    raw: {a: BIGINT}", "raw and sql go together"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(
    written: Files, before: str, after: str, said: str
) -> None:
    written.change("sources.yml", before, after)
    assert said in error(written)


def test_names_behind_from_and_join_are_read_and_its_own_parts_are_not() -> None:
    sql = """
    WITH a AS (SELECT * FROM silver_clicks), -- FROM nothing
    b AS NOT MATERIALIZED (SELECT EXTRACT(day FROM at), 'FROM that' FROM a)
    SELECT * FROM b LEFT JOIN silver_orders ON a.x IS DISTINCT FROM b.x
    """
    assert tables_read(sql) == {"silver_clicks", "silver_orders"}


def test_every_layer_has_models() -> None:
    assert {model.layer for model in MODELS.values()} == set(LAYERS)


def bound(model: Model) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(config={"threads": 1})
    for name in model.reads:
        types = SOURCES[name].types if name in SOURCES else MODELS[name].types
        make(con, name, relation(types, []))
    return con


each_model = pytest.mark.parametrize("model", list(MODELS.values()), ids=list(MODELS))


@each_model
def test_the_sql_makes_the_columns_that_the_yaml_describes(model: Model) -> None:
    with bound(model) as con:
        found = con.execute(f"DESCRIBE {model.sql}").fetchall()
    assert {row[0]: row[1] for row in found} == model.types


@each_model
def test_a_merged_table_keeps_every_source_column_that_its_sql_reads(model: Model) -> None:
    if model.merge is None:
        return
    back = model.merge.back
    lost = [
        name
        for name in SOURCES[model.merge.source].types
        if back.get(name, name) not in model.types
    ]
    words = set(re.findall(r"\w+", model.sql))
    assert not words & set(lost)


@each_model
def test_a_unit_test_expects_rows_and_names_columns_that_there_are(model: Model) -> None:
    assert model.unit_test.expect
    for row in model.unit_test.expect:
        assert row.keys() <= model.types.keys()


@each_model
def test_sql_asks_no_clock_and_says_nothing_that_only_one_engine_knows(model: Model) -> None:
    code = re.sub(r"--[^\n]*|'[^']*'", "", model.sql).upper()
    for word in (
        *("NOW", "CURRENT_DATE", "CURRENT_TIMESTAMP", "TODAY", "RANDOM", "UUID"),
        *("QUALIFY", "EXCLUDE", "GROUP BY ALL", "ORDER BY ALL", "LIST", "ARRAY_AGG", "STRING_AGG"),
        *("APPROX_COUNT_DISTINCT", "ARG_MAX", "ARG_MIN", "ANY_VALUE", "ASOF", "NOT MATERIALIZED"),
    ):
        assert not re.search(rf"\b{word}\b", code), word


@pytest.mark.parametrize("name", [n for n, source in SOURCES.items() if source.sql])
def test_the_sql_of_a_source_makes_its_columns(name: str) -> None:
    source = SOURCES[name]
    with duckdb.connect() as con:
        make(con, f"raw_{source.topic}", relation(source.raw, []))
        found = con.execute(f"DESCRIBE {source.sql['duckdb']}").fetchall()
    assert {row[0]: row[1] for row in found} == source.types


def test_lines_of_an_order_are_numbered_and_only_the_first_has_what_the_order_says() -> None:
    with duckdb.connect() as con:
        con.execute(
            """CREATE TABLE raw_orders AS SELECT 4 AS position, 0 AS n, NULL AS received_at,
            'http' AS source, FALSE AS historical, FALSE AS by_line, 'o' AS order_id,
            NULL AS customer_id, 3.5 AS amount, NULL AS shipping, NULL AS tax, NULL AS discount,
            'EUR' AS currency, 'paid' AS status, NULL AS payment_method, NULL AS timestamp,
            '{"a":1}' AS payload, '{"b":2}' AS extra, [
                {'product_id': 'p', 'name': NULL, 'category': NULL, 'quantity': 1,
                 'unit_price': 2.5, 'line': '7', 'extra': NULL},
                {'product_id': 'q', 'name': NULL, 'category': NULL, 'quantity': 1,
                 'unit_price': 1, 'line': '9223372036854775808', 'extra': '{}'}] AS lines"""
        )
        found = con.execute(
            "SELECT ordinal, line, product_id, payload, order_extra, order_amount, extra"
            f" FROM ({SOURCES['bronze_order_lines'].sql['duckdb']}) ORDER BY ordinal"
        ).fetchall()
    assert [row[:5] for row in found] == [
        (1, 7, "p", '{"a":1}', '{"b":2}'),
        (2, None, "q", None, None),
    ]
    assert [row[6] for row in found] == [None, "{}"]


def test_the_files_are_in_the_wheel(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    root = Path(__file__).parents[2]
    (built,) = WheelBuilder(str(root)).build(directory=str(tmp_path))
    inside = set(zipfile.ZipFile(built).namelist())
    files = {p.relative_to(root / "src").as_posix() for p in FILES.rglob("*.*")}
    assert files <= inside
