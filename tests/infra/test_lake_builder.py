"""LakeBuilder as applied: its clock, its rights, its environment, and what it asks of Athena.

The emulator's Athena runs nothing: it answers as if no row failed a test. That the same statements
make the right tables is shown on a real Trino (tests/models/engines/test_athena_build.py).
"""

import re
from typing import Any

import pytest
from tests.infra.drive import Drive, FunctionFailed
from tests.infra.mappings import Outcome
from tests.infra.subscribers import EVERYTHING
from tests.infra.test_events import now_us, offers_of, order, somebody, views

from shopstream.lake import statements as sql
from shopstream.lake.compiled import CompiledModel, compile_lake
from shopstream.lake.plan import selected

MODELS = compile_lake().models
# In scale the others are the Spark job's.
BUILT = {"starter": sorted(MODELS), "scale": sorted(selected(MODELS, ["bronze_tally+"]))}


def build(drive: Drive) -> tuple[dict[str, Any], list[str]]:
    """What the clock's call came to, and what Athena was asked."""
    before = len(drive.statements())
    outcome: Outcome = drive.clock("lake-builder", now_us())
    asked = drive.statements()[before:]
    places = {(one.workgroup, one.database) for one in asked}
    assert places <= {(drive.names.workgroup, drive.names.database)}
    return outcome.answer, [one.text for one in asked]


def tables_named(drive: Drive, text: str) -> set[str]:
    named = re.findall(rf'["`]{drive.names.database}["`]\.["`](\w+)["`]', text)
    return {name for name in named if not name.startswith("staged_")}


def test_the_clock_has_every_table_made_of_what_has_landed(drive: Drive) -> None:
    user, models = somebody(), [MODELS[name] for name in BUILT[drive.stack.profile]]
    drive.post("clicks", *views(user))
    drive.post("orders", order(somebody("customer")))
    drive.settle()
    assert offers_of(drive, user)
    answer, asked = build(drive)
    assert (answer["finished"], answer["failed"]) == (True, [])
    assert sorted(table["table"] for table in answer["tables"]) == [one.name for one in models]
    for model in models:
        location = f"s3://{drive.names.lake}/warehouse/{model.name}/"
        assert sql.create_table(model, drive.names.database, model.name, location) in asked
        assert [text for text in asked if text.startswith(published_into(drive, model))]
    known = set(MODELS) | set(drive.glue_tables())
    assert {name for text in asked for name in tables_named(drive, text)} <= known
    read = {name for text in asked for name in tables_named(drive, text)} - set(MODELS)
    assert read >= {"bronze_clicks", "bronze_orders", "bronze_quarantine"}
    assert ("archive_offers" in read) == (drive.stack.profile == "starter")
    landed = list(drive.objects("lake", "bronze/clicks/"))
    first = min(key.partition("dt=")[2][:10] for key in landed)
    assert any(f"dt >= '{first}'" in text and '"bronze_clicks"' in text for text in asked)
    left = {text.split("`")[3] for text in asked if text.startswith("DROP TABLE")}
    assert left == set(re.findall(r'CREATE TABLE "\w+"\."(staged_\w+)"', "\n".join(asked)))


def published_into(drive: Drive, model: CompiledModel) -> str:
    return f"MERGE INTO {sql.named(drive.names.database, model.name)} AS kept"


def test_where_nothing_has_landed_since_nothing_is_asked(drive: Drive) -> None:
    build(drive)
    answer, asked = build(drive)
    assert (answer["tables"], asked) == ([], [])


def test_a_table_that_athena_can_not_make_is_told_and_made_by_the_next_build(drive: Drive) -> None:
    build(drive)
    table = {"starter": "silver_clicks", "scale": "bronze_tally"}[drive.stack.profile]
    drive.post("clicks", *views(somebody()))
    drive.settle()
    drive.messages(EVERYTHING)
    drive.emulator.fail_queries(published_into(drive, MODELS[table]))
    try:
        answer, _ = build(drive)
    finally:
        drive.emulator.fail_queries()
    # An alert that waits is sent with the minute's round.
    drive.tick(now_us())
    assert answer["failed"] == [table]
    (alert,) = drive.messages(EVERYTHING)
    assert (alert["kind"], alert["data"]["model"]) == ("model_failed", table)
    answer, asked = build(drive)
    drive.tick(now_us())
    assert answer["failed"] == []
    assert [text for text in asked if text.startswith(published_into(drive, MODELS[table]))]
    assert drive.messages(EVERYTHING) == []


def test_a_build_that_fails_is_no_success(drive: Drive) -> None:
    """What the tests before take for granted: that they hear of an error."""
    drive.go_wrong("lake_builder", {"operation": "*", "kind": "killed"})
    with pytest.raises(FunctionFailed, match=r"Runtime\.ExitError"):
        build(drive)
