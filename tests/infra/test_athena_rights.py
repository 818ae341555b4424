"""Which rights the builder's statements take on Athena."""

import pytest
from tests.infra.athena_rights import Lake, athena_rights

from shopstream.lake import statements as sql
from shopstream.lake.compiled import compile_lake

HERE = "eu-central-1:123456789012"
LAKE = Lake(HERE, "db", {"bronze_clicks": "l/bronze/clicks"}, "l/warehouse", "r/athena")
MODEL = compile_lake().models["silver_clicks"]
PLACE = "s3://l/warehouse/silver_clicks/"


def glue(*actions: str, table: str) -> set[str]:
    return {f"glue:{action} table/db/{table}" for action in actions}


def s3(*actions: str, path: str) -> set[str]:
    return {f"s3:{action} {path}/any" for action in actions}


def needed(text: str) -> set[str]:
    """Actions on tables and objects, results apart."""
    found = athena_rights(text, LAKE)
    ends = {f"{one.action} {one.resource.rpartition(':')[2]}" for one in found}
    return {one for one in ends if ("table/" in one or "/any" in one) and " r/" not in one}


WRITTEN = ("AbortMultipartUpload", "GetObject", "PutObject")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            'SELECT 1 FROM "db"."bronze_clicks"',
            glue("GetTable", table="bronze_clicks") | s3("GetObject", path="l/bronze/clicks"),
        ),
        (
            sql.create_table(MODEL, "db", MODEL.name, PLACE),
            glue("GetTable", "CreateTable", table="silver_clicks")
            | s3(*WRITTEN, path="l/warehouse/silver_clicks"),
        ),
        (
            sql.stage("db", "staged_1", "s3://l/elsewhere/", 'SELECT 1 FROM "db"."bronze_clicks"'),
            glue("GetTable", "CreateTable", table="staged_1")
            | glue("GetTable", table="bronze_clicks")
            | s3(*WRITTEN, path="l/elsewhere")
            | s3("GetObject", path="l/warehouse/staged/staged_1")
            | s3("GetObject", path="l/bronze/clicks"),
        ),
        (
            sql.add_columns(MODEL, "db", MODEL.name, ["user_id"]),
            glue("GetTable", "UpdateTable", table="silver_clicks")
            | s3(*WRITTEN, path="l/warehouse/silver_clicks"),
        ),
        (
            sql.publish(MODEL, "db", "staged_1", None),
            glue("GetTable", "UpdateTable", table="silver_clicks")
            | glue("GetTable", table="staged_1")
            | s3(*WRITTEN, path="l/warehouse/silver_clicks")
            | s3("GetObject", path="l/warehouse/staged/staged_1"),
        ),
        (
            sql.drop("db", "staged_1"),
            glue("GetTable", "DeleteTable", "GetPartitions", table="staged_1")
            | s3("DeleteObject", "GetObject", path="l/warehouse/staged/staged_1"),
        ),
        (
            sql.vacuum("db", MODEL.name),
            glue("GetTable", "UpdateTable", table="silver_clicks")
            | s3(*WRITTEN, "DeleteObject", path="l/warehouse/silver_clicks"),
        ),
        (
            sql.optimize(MODEL, "db", "2025-11-21"),
            glue("GetTable", "UpdateTable", table="silver_clicks")
            | s3(*WRITTEN, path="l/warehouse/silver_clicks"),
        ),
        (
            sql.columns_of("db", MODEL.name),
            glue("GetTables", table="*"),
        ),
    ],
)
def test_a_statement_takes_these_rights_on_tables_and_objects(text: str, wanted: set[str]) -> None:
    assert needed(text) == wanted


def test_every_action_on_a_table_also_takes_the_right_on_what_it_is_in() -> None:
    found = {(one.action, one.resource) for one in athena_rights(sql.drop("db", "x"), LAKE)}
    for part in ("catalog", "database/db", "table/db/x"):
        assert ("glue:DeleteTable", f"arn:aws:glue:{HERE}:{part}") in found


def test_every_answer_is_written_to_the_results() -> None:
    found = {(one.action, one.resource) for one in athena_rights('SELECT "db"."x"', LAKE)}
    assert ("s3:PutObject", "arn:aws:s3:::r/athena/any") in found
    assert ("s3:GetBucketLocation", "arn:aws:s3:::r") in found


@pytest.mark.parametrize("text", ["SHOW TABLES", "SELECT 1", 'MSCK REPAIR TABLE "db"."x"'])
def test_a_statement_that_is_not_known_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"not known here|names no table"):
        athena_rights(text, LAKE)
