"""Answers as CSV, JSON and Parquet: exact, harmless, a batch at a time."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as parquet  # type: ignore[import-untyped]  # it ships no types
import pytest
from tests.ask.published import box_of

from shopstream.ask.box import Answer, Box
from shopstream.ask.formats import write_csv, write_json, write_parquet

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "－1"]


@pytest.fixture(scope="module")
def box(data_dir: Path) -> Box:
    return box_of(data_dir)


def written(writer: Callable[[Answer, IO[bytes]], int], box: Box, sql: str) -> bytes:
    out = io.BytesIO()
    writer(box.ask(sql), out)
    return out.getvalue()


def as_json(box: Box, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(written(write_json, box, sql))
    return found


def as_csv(box: Box, sql: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(written(write_csv, box, sql).decode(), newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_in_a_text_column_of_csv_is_made_harmless(text: str, box: Box) -> None:
    sql = "SELECT " + " || ".join(f"chr({ord(c)})" for c in text) + " AS cell"
    assert as_csv(box, sql) == [["cell"], ["'" + text]]
    assert as_json(box, sql) == [{"cell": text}]


def test_other_text_and_numbers_of_csv_are_as_they_are(box: Box) -> None:
    sql = "SELECT -1 AS a, -1.50::DECIMAL(18,4) AS b, -0.5::DOUBLE AS c, 'a=b' AS d, '' AS e, NULL"
    assert (
        written(write_csv, box, sql) == b'"a","b","c","d","e","NULL"\n-1,-1.5000,-0.5,"a=b","",\n'
    )


def test_names_of_columns_and_lists_are_made_harmless_too(box: Box) -> None:
    assert as_csv(box, "SELECT 1 AS \"=x\", ['=1'] AS list") == [["'=x", "list"], ["1", '["=1"]']]


def test_amounts_are_exact(box: Box) -> None:
    sql = (
        "SELECT sum(a) AS total FROM"
        " (SELECT 4064726.591::DECIMAL(18,4) - 0.3 AS a UNION ALL SELECT 0.1 UNION ALL SELECT 0.2)"
    )
    assert as_json(box, sql) == [{"total": "4064726.5910"}]
    assert as_csv(box, sql)[1] == ["4064726.5910"]
    huge = "SELECT 99999999999999999999999999999999.9999::DECIMAL(38,4) AS a, 0::DECIMAL(18,4) AS z"
    assert as_json(box, huge) == [{"a": "99999999999999999999999999999999.9999", "z": "0.0000"}]
    assert as_csv(box, huge)[1] == ["99999999999999999999999999999999.9999", "0.0000"]


def test_json_has_plain_values(box: Box) -> None:
    sql = """SELECT sum(range) AS whole, TIMESTAMP '2026-11-21 12:00:00.5' AS at,
        DATE '2026-11-21' AS day, true AS yes, NULL AS nothing, 1.5::DOUBLE AS ratio,
        {'a': [1, 2]} AS nested, MAP {'k': 1} AS map, 'nan'::DOUBLE AS nan,
        INTERVAL 1 DAY AS gap, 1 AS twice, 2 AS twice, 'infinity'::TIMESTAMP AS ever
        FROM range(4)"""
    (row,) = as_json(box, sql)
    assert row.pop("ever") == "infinity"
    assert row.pop("gap") == "0 months 1 days 0 seconds"
    assert row == {
        "whole": 6,
        "at": "2026-11-21T12:00:00.500000Z",
        "day": "2026-11-21",
        "yes": True,
        "nothing": None,
        "ratio": 1.5,
        "nested": {"a": [1, 2]},
        "map": {"k": 1},
        "nan": "NaN",
        "twice": 1,
        "twice_2": 2,
    }


def test_what_no_number_and_no_time_can_say_is_told_in_words(box: Box) -> None:
    sql = """SELECT '-infinity'::TIMESTAMP AS never, 'infinity'::TIMESTAMPTZ AS ever,
        'inf'::DOUBLE AS most, ['-inf'::DOUBLE] AS least"""
    row = {"never": "-infinity", "ever": "infinity", "most": "Infinity", "least": ["-Infinity"]}
    assert as_json(box, sql) == [row]
    assert as_csv(box, sql)[1] == ["-infinity", "infinity", "inf", '["-Infinity"]']


def test_dates_that_never_come_are_told_in_words_also_inside_of_others(box: Box) -> None:
    sql = """SELECT 'infinity'::DATE AS ever, '-infinity'::DATE AS never, NULL::DATE AS day,
        DATE '2026-11-21' AS today, ['infinity'::DATE, '2026-11-21'] AS list,
        {'at': 'infinity'::TIMESTAMP, 'n': 1} AS struct, MAP {'k': '-infinity'::DATE} AS map"""
    list_, struct, map_ = ["infinity", "2026-11-21"], {"at": "infinity", "n": 1}, {"k": "-infinity"}
    row = {"ever": "infinity", "never": "-infinity", "day": None, "today": "2026-11-21"}
    assert as_json(box, sql) == [row | {"list": list_, "struct": struct, "map": map_}]
    cells = ["infinity", "-infinity", "", "2026-11-21"]
    nested = ['["infinity","2026-11-21"]', '{"at":"infinity","n":1}', '{"k":"-infinity"}']
    assert as_csv(box, sql)[1] == [*cells, *nested]


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_S", "TIMESTAMP_MS"])
def test_a_year_that_has_not_four_digits_is_no_other_year(kind: str, box: Box) -> None:
    years = ["0001-01-01 (BC)", "0001-01-01", "9999-12-31", "10000-01-01", "290000-01-01"]
    values = ", ".join(f"('{year}'::{kind})" for year in (*years, "-infinity", "infinity"))
    sql = f"SELECT moment FROM (VALUES {values}) AS t(moment)"
    shown = [row[0] for row in as_csv(box, sql)[1:]]
    assert [cell[:20].rstrip("Z.0") for cell in shown[1:3]] == [
        "0001-01-01T00:00:",
        "9999-12-31T00:00:",
    ]
    assert shown[-2:] == ["-infinity", "infinity"]
    far = [shown[0], *shown[3:5]]
    assert all(cell.startswith("timestamp[") for cell in far)
    said = [row["moment"] for row in as_json(box, sql)]
    assert [said[0], *said[3:5]] == far
    assert as_csv(box, f"SELECT '2200-01-01'::TIMESTAMP_NS, NULL::{kind}")[1] == [
        "2200-01-01T00:00:00.000000000Z",
        "",
    ]


def test_times_of_day_and_bytes_of_csv_have_no_quotes_of_their_own(box: Box) -> None:
    sql = "SELECT TIME '10:00:00' AS at, 'abc'::BLOB AS body, [TIME '10:00:00'] AS list"
    assert as_csv(box, sql)[1] == ["10:00:00", "YWJj", '["10:00:00"]']


def test_json_has_no_character_that_moves_a_cursor(box: Box) -> None:
    sql = "SELECT chr(27) || '[31m' || chr(155) || '2J' || chr(8238) || chr(127) AS a"
    assert written(write_json, box, sql).isascii()
    assert as_json(box, sql) == [{"a": "\x1b[31m\x9b2J\u202e\x7f"}]


def test_an_answer_without_rows_is_still_one(box: Box) -> None:
    sql = "SELECT day, amount FROM gold_daily_sales WHERE false"
    assert as_json(box, sql) == []
    assert as_csv(box, sql) == [["day", "amount"]]
    assert parquet.read_table(io.BytesIO(written(write_parquet, box, sql))).num_rows == 0


def test_parquet_keeps_the_types(box: Box) -> None:
    sql = "SELECT day, amount, category AS c, product_id AS c FROM gold_daily_sales ORDER BY amount"
    table = parquet.read_table(io.BytesIO(written(write_parquet, box, sql)))
    assert [str(field.type) for field in table.schema][:2] == ["date32[day]", "decimal128(38, 4)"]
    assert table.schema.names == ["day", "amount", "c", "c_2"]
    assert table.column("amount").to_pylist() == [Decimal("-7.5"), Decimal("0.2"), Decimal("100.1")]
    assert table.column("c_2").to_pylist()[0] == "=2+3"


def test_a_large_answer_is_never_held_in_full(box: Box) -> None:
    answer = box.ask("SELECT range AS a, repeat('x', 100) AS b FROM range(50_000_000)")
    first = next(answer.batches())
    assert 0 < first.num_rows <= 10_000
