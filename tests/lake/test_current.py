"""What readers read: one file that names all tables' files, whole at any time."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from shopstream.errors import DataDirError
from shopstream.lake.current import Current, TableNow, read_current, view_sql, write_current
from shopstream.lake.model import load_models

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
MODEL = load_models()["gold_traffic"]


def current(build: int) -> Current:
    """Every number in it is the build's."""
    now = TableNow(snapshot=build, files=[f"warehouse/t/data/{build}.parquet"], rows=build)
    return Current(build=build, built_at=AT, tables=dict.fromkeys(("a", "b"), now))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "lake").mkdir()
    return tmp_path


def test_what_was_written_is_read(data_dir: Path) -> None:
    whole = TableNow(
        snapshot=1, files=["f"], rows=2, metadata="m", landed="7", upstream={"a": 3}, model="x"
    )
    written = Current(build=9, built_at=AT, tables={"t": whole})
    write_current(data_dir, written)
    assert read_current(data_dir) == written
    assert [path.name for path in (data_dir / "lake").iterdir()] == ["current.json"]


def test_without_tables_one_is_told_to_build(data_dir: Path) -> None:
    with pytest.raises(DataDirError, match=r"no tables in .* yet; run `shopstream build`"):
        read_current(data_dir)


@pytest.mark.parametrize("text", ["", "{", '{"build":1}', "[]", '{"build":"x","tables":{}}'])
def test_a_spoilt_file_is_named(data_dir: Path, text: str) -> None:
    (data_dir / "lake" / "current.json").write_text(text)
    with pytest.raises(DataDirError, match=r"current\.json can't be read"):
        read_current(data_dir)


def test_what_a_killed_writer_left_is_written_over(data_dir: Path) -> None:
    write_current(data_dir, current(1))
    (data_dir / "lake" / ".current.json.tmp").write_text('{"build":2,"bu')
    assert read_current(data_dir) == current(1)
    write_current(data_dir, current(3))
    assert read_current(data_dir) == current(3)


def test_a_reader_beside_a_writer_sees_whole_builds_that_never_go_back(data_dir: Path) -> None:
    write_current(data_dir, current(1))
    last = 300

    def write() -> None:
        for build in range(2, last + 1):
            write_current(data_dir, current(build))

    writer = threading.Thread(target=write)
    writer.start()
    seen = [1]
    while seen[-1] < last:
        now = read_current(data_dir)
        assert now == current(now.build)
        assert now.build >= seen[-1]
        seen.append(now.build)
    writer.join()


def described(con: duckdb.DuckDBPyConnection, sql: str) -> dict[str, str]:
    return {row[0]: row[1] for row in con.execute(f"DESCRIBE {sql}").fetchall()}


@pytest.mark.parametrize("name", load_models())
def test_a_table_without_files_has_no_rows_and_all_columns(name: str) -> None:
    model = load_models()[name]
    with duckdb.connect() as con:
        sql = view_sql(model, [])
        assert con.execute(sql).fetchall() == []
        assert described(con, sql) == model.types


def test_files_lack_columns_that_the_model_gained_and_have_others_that_it_lost(
    tmp_path: Path,
) -> None:
    odd = tmp_path / "it's a folder" / "day=2026-01-01"
    odd.mkdir(parents=True)
    files = [odd / "a.parquet", odd / "b.parquet"]
    with duckdb.connect() as con:
        for day, file in enumerate(files, 1):
            con.execute(
                f"COPY (SELECT DATE '2026-01-{day:02}' AS day, 7 AS lost)"
                f" TO '{str(file).replace(chr(39), chr(39) * 2)}'"
            )
        sql = view_sql(MODEL, [str(file) for file in files])
        assert described(con, sql) == MODEL.types
        found = con.execute(f"SELECT CAST(day AS VARCHAR), browser FROM ({sql}) ORDER BY day")
        assert found.fetchall() == [("2026-01-01", None), ("2026-01-02", None)]
