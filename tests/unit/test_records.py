"""Rows of files: right line numbers, and a bad row spoils no other."""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shopstream.errors import SourceError
from shopstream.mapping import FileFormat
from shopstream.records import LINE_BYTES_MAX, CsvFile, ParquetFile, Record, json_records


def rows(text: bytes, *, tabbed: bool = False, **format: Any) -> list[Record]:
    file = CsvFile(Path("x.csv"), io.BytesIO(text), FileFormat(**format), tabbed=tabbed)
    return list(file.records())


def cells(text: bytes, **format: Any) -> list[tuple[int, Any]]:
    return [(r.line, r.cells) for r in rows(text, **format)]


def test_line_numbers_count_the_header_quoted_newlines_and_empty_lines() -> None:
    text = b'a,b\n1,"two\nlines"\n\n3,4\n'
    assert cells(text) == [(2, ["1", "two\nlines"]), (5, ["3", "4"])]


def test_a_byte_order_mark_and_windows_line_ends_are_no_data() -> None:
    text = b"\xef\xbb\xbfa,b\r\n1,2\r\n"
    file = CsvFile(Path("x.csv"), io.BytesIO(text), FileFormat(), tabbed=False)
    assert file.columns == ["a", "b"]
    assert [r.cells for r in file.records()] == [["1", "2"]]


def test_a_ragged_line_is_rejected_with_its_bytes_and_spoils_no_other() -> None:
    found = rows(b"a,b\n1,2\n3\n4,5,6\n7,8")
    assert [(r.line, r.cells) for r in found if not r.failure] == [(2, ["1", "2"]), (5, ["7", "8"])]
    bad = [r for r in found if r.failure]
    assert [(r.line, r.raw) for r in bad] == [(3, b"3"), (4, b"4,5,6")]
    assert bad[0].failure is not None
    assert bad[0].failure.reason == "columns"
    assert bad[0].failure.message == "line: 1 columns is not 2, as the header has"


@pytest.mark.parametrize(
    "bad", [b'1,"open', b'1,"open" shut', b'"1,2', b'"a"b"', b'1,"two\nx'], ids=repr
)
def test_a_quote_that_never_closes_costs_its_own_line_only(bad: bytes) -> None:
    text = b"a,b\n" + bad.split(b"\n")[0] + b'\n3,"4"\n5,6\n'
    found = rows(text)
    assert [r.line for r in found if r.failure] == [2]
    assert [(r.line, r.cells) for r in found if not r.failure] == [(3, ["3", "4"]), (4, ["5", "6"])]


def test_a_quote_inside_a_cell_is_text() -> None:
    assert cells(b'a,b\n6" ruler,2\n') == [(2, ['6" ruler', "2"])]


def test_a_line_in_another_encoding_is_rejected_alone() -> None:
    found = rows("a,b\nü,1\n".encode() + "ü,2\n".encode("latin-1") + b"3,4\n")
    assert [r.failure.reason if r.failure else r.cells for r in found] == [
        ["ü", "1"],
        "encoding",
        ["3", "4"],
    ]
    assert cells("a,b\nü,2\n".encode("latin-1"), encoding="latin-1") == [(2, ["ü", "2"])]


def test_an_overlong_line_is_cut_and_the_next_one_is_whole() -> None:
    found = rows(b"a,b\n" + b"x" * (3 * LINE_BYTES_MAX) + b"\n1,2\n")
    assert found[0].failure is not None
    assert found[0].failure.reason == "too_large"
    assert len(found[0].raw) == LINE_BYTES_MAX
    assert (found[1].line, found[1].cells) == (3, ["1", "2"])


def test_delimiters_quotes_and_columns_are_as_the_mapping_says() -> None:
    assert cells(b"a;b\n1;'2;3'\n", delimiter=";", quote="'") == [(2, ["1", "2;3"])]
    assert cells(b"1,2\n", columns=("a", "b")) == [(1, ["1", "2"])]
    assert cells(b"a\tb\n1\t2\n", tabbed=True) == [(2, ["1", "2"])]
    assert cells(b'a,b\n"1,2"\n', quote="") == [(2, ['"1', '2"'])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\n\n", "has no lines"),
        (b"a,b,a\n", "has the column 'a' more than once"),
        (b"\xff\xfe\xfd\n", "first line is no header"),
    ],
)
def test_a_file_without_a_usable_header_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        rows(text)


def test_lines_of_json_keep_their_decimals() -> None:
    found = list(json_records(io.BytesIO(b'{"a":33.20}\n\nnope\n[1]\n{"a":"\xff"}\n{"b":1}')))
    assert [(r.line, r.cells) for r in found if not r.failure] == [
        (1, {"a": Decimal("33.20")}),
        (6, {"b": 1}),
    ]
    bad = [(r.line, r.failure.reason) for r in found if r.failure]
    assert bad[:2] == [(3, "json"), (4, "json")]
    assert bad[2][0] == 5


def test_parquet_rows_are_numbered(tmp_path: Path) -> None:
    import pyarrow  # type: ignore[import-untyped]  # pyarrow has no types
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]  # the same

    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"a": [1, 2], "b": [1.5, float("nan")]}), path)
    file = ParquetFile(path)
    assert file.columns == ["a", "b"]
    assert [(r.line, r.cells) for r in file.records()] == [(1, [1, 1.5]), (2, [2, None])]
