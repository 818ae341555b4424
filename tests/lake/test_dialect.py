"""The models' SQL in other engines' words. That they run it is shown in tests/models/engines."""

from pathlib import Path

import pytest
import sqlglot
from msgspec import structs
from typer.testing import CliRunner

from shopstream.cli import app
from shopstream.errors import ConfigError
from shopstream.lake.dialect import DIALECTS, compile_model, compile_source, type_of
from shopstream.lake.model import Dialect, load_models, load_sources

MODELS = load_models()
SOURCES = load_sources()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_is_a_query_of_its_columns_in_every_dialect(name: str, dialect: Dialect) -> None:
    tree = sqlglot.parse_one(compile_model(MODELS[name], dialect), dialect=dialect)
    assert isinstance(tree, sqlglot.exp.Select)
    assert tree.named_selects == [*MODELS[name].types]
    read = {table.name for table in tree.find_all(sqlglot.exp.Table) if table.db}
    assert read == set(MODELS[name].reads)


def test_a_table_has_the_name_that_is_asked_for_and_columns_still_find_it() -> None:
    sql = compile_model(MODELS["silver_clicks"], "trino", lambda name: f'cat.db."{name}"')
    assert 'FROM cat.db."bronze_clicks" AS bronze_clicks' in sql


@pytest.mark.parametrize(
    ("kind", "trino", "spark"),
    [
        ("VARCHAR", "VARCHAR", "STRING"),
        ("TIMESTAMP", "TIMESTAMP(6)", "TIMESTAMP_NTZ"),
        ("DECIMAL(18,4)", "DECIMAL(18, 4)", "DECIMAL(18, 4)"),
        (
            "STRUCT(a VARCHAR, t TIMESTAMP)[]",
            "ARRAY(ROW(a VARCHAR, t TIMESTAMP(6)))",
            "ARRAY<STRUCT<a: STRING, t: TIMESTAMP_NTZ>>",
        ),
    ],
)
def test_types_keep_their_meaning(kind: str, trino: str, spark: str) -> None:
    assert (type_of(kind, "trino"), type_of(kind, "spark")) == (trino, spark)


def test_a_source_that_is_taken_apart_says_how_in_each_dialect() -> None:
    lines = SOURCES["bronze_order_lines"]
    assert "POSEXPLODE" in compile_source(lines, "spark", "raw")
    assert "WITH ORDINALITY" in compile_source(lines, "trino", "raw")
    only_duckdb = structs.replace(lines, sql={"duckdb": lines.sql["duckdb"]})
    with pytest.raises(ConfigError, match="bronze_order_lines: sql: trino is not given"):
        compile_source(only_duckdb, "trino", "raw")


def test_the_command_writes_a_file_for_each_table(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["lake", "compile", "--dialect", "spark", "-o", str(tmp_path)])
    assert done.exit_code == 0
    assert {path.stem for path in tmp_path.glob("*.sql")} == set(MODELS)
    assert "TIMESTAMP_NTZ" in (tmp_path / "silver_carts.sql").read_text("utf-8")
