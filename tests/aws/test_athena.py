"""Queries on Athena, against an emulator that runs none of them and answers what it was told."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.aws.conftest import Stack
from tests.engines.aws_resources import ACCOUNT, REGION, clients_of
from typer.testing import CliRunner

import shopstream.engine
from shopstream.aws.athena import Athena, NotInTime, QueryFailed
from shopstream.aws.build_memory import BuildMemory, Change, TableState
from shopstream.aws.clients import Clients
from shopstream.aws.engine import AwsEngine
from shopstream.cli import app
from shopstream.errors import AwsError, SqlError
from shopstream.settings import load_settings

Answers = Callable[..., None]


@pytest.fixture(scope="module")
def workgroup(stack: Stack) -> Stack:
    bucket = stack.names.bucket("results")
    stack.clients.s3.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    stack.clients.athena.create_work_group(Name=stack.names.workgroup)
    return stack


@pytest.fixture
def clients(workgroup: Stack, emulator: str) -> Clients:
    """Clients for which the workgroup says where answers go, which the emulator doesn't heed."""
    made = clients_of(emulator)
    place = {"OutputLocation": f"s3://{workgroup.names.bucket('results')}/results/"}

    def say_where(**said: Any) -> None:
        said["params"]["ResultConfiguration"] = place

    made.session.register("provide-client-params.athena.StartQueryExecution", say_where)
    return made


@pytest.fixture
def answers(emulator: str) -> Answers:
    """Has the emulator answer the next query: the columns with their types, then rows."""

    def answer(columns: dict[str, str], *rows: tuple[str | None, ...]) -> None:
        info = [
            {
                "CatalogName": "hive",
                "SchemaName": "",
                "TableName": "",
                "Name": name,
                "Label": name,
                "Type": kind.partition("(")[0],
                "Precision": 38 if "decimal" in kind else 0,
                "Scale": 4 if "decimal" in kind else 0,
                "Nullable": "UNKNOWN",
                "CaseSensitive": True,
            }
            for name, kind in columns.items()
        ]
        cells = [
            {"Data": [{} if cell is None else {"VarCharValue": cell} for cell in row]}
            for row in (tuple(columns), *rows)
        ]
        result = {"rows": cells, "column_info": info}
        said = httpx.post(
            f"{emulator}/moto-api/static/athena/query-results",
            json={"account_id": ACCOUNT, "region": REGION, "results": [result]},
        )
        assert said.status_code == 201

    return answer


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def athena_of(stack: Stack, clients: Clients, clock: Clock | None = None) -> Athena:
    clock = clock or Clock()
    names = stack.names
    return Athena(
        clients, names.workgroup, names.database, sleep=clock.sleep, now_s=lambda: clock.now_s
    )


def answering(clients: Clients, operation: str, *answers: dict[str, Any] | None) -> list[str]:
    """Has AWS answer these calls so, one after the other; None lets the emulator answer."""
    waiting, calls = list(answers), []

    def answer(**_: Any) -> Any:
        calls.append(operation)
        said = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if said is None:
            return None

        status = 400 if "Error" in said else 200
        return SimpleNamespace(status_code=status), said | {"ResponseMetadata": {}}

    clients.session.register(f"before-call.athena.{operation}", answer)
    return calls


def execution(state: str, **more: Any) -> dict[str, Any]:
    return {"QueryExecution": {"QueryExecutionId": "q", "Status": {"State": state, **more}}}


def test_a_query_is_waited_for_and_gives_its_rows(
    workgroup: Stack, clients: Clients, answers: Answers
) -> None:
    clock = Clock()
    athena = athena_of(workgroup, clients, clock)
    answers({"n": "bigint", "name": "varchar"}, ("1", "a"), ("2", None))
    answering(clients, "GetQueryExecution", execution("QUEUED"), execution("RUNNING"), None)
    query = athena.start("SELECT n, name FROM t")
    athena.wait(query, 60)
    assert clock.slept == sorted(clock.slept)  # ever longer
    assert 2 <= len(clock.slept) < 8
    assert athena.rows(query) == [{"n": "1", "name": "a"}, {"n": "2", "name": None}]


def test_a_query_that_fails_says_why_and_whether_to_try_again(
    workgroup: Stack, clients: Clients
) -> None:
    athena = athena_of(workgroup, clients)
    for why, retryable, again in (
        ("SYNTAX_ERROR: line 1:8: Column 'x' cannot be resolved", False, False),
        ("ICEBERG_COMMIT_ERROR: Failed to commit", False, True),
        ("something of a moment", True, True),
    ):
        said = execution("FAILED", StateChangeReason=why, AthenaError={"Retryable": retryable})
        clients_now = clients_of(clients.athena.meta.endpoint_url)
        answering(clients_now, "GetQueryExecution", said)
        with pytest.raises(QueryFailed, match=why[:20]) as failed:
            athena_of(workgroup, clients_now).wait("q", 60)
        assert failed.value.again is again
    assert athena.workgroup == workgroup.names.workgroup


def test_a_query_that_takes_too_long_is_not_waited_for(workgroup: Stack, clients: Clients) -> None:
    clock = Clock()
    answering(clients, "GetQueryExecution", execution("RUNNING"))
    with pytest.raises(NotInTime):
        athena_of(workgroup, clients, clock).wait("q", 60)
    assert clock.now_s == pytest.approx(60)
    assert len(clock.slept) < 25


def test_while_too_many_queries_run_one_more_waits_its_turn(
    workgroup: Stack, clients: Clients
) -> None:
    busy = {"Error": {"Code": "TooManyRequestsException", "Message": "busy"}}
    clock = Clock()
    calls = answering(clients, "StartQueryExecution", busy, busy, {"QueryExecutionId": "q"})
    assert athena_of(workgroup, clients, clock).start("SELECT 1") == "q"
    assert (len(calls), len(clock.slept)) == (3, 2)


def test_while_too_many_queries_run_for_long_it_gives_up(
    workgroup: Stack, clients: Clients
) -> None:
    busy = {"Error": {"Code": "TooManyRequestsException", "Message": "busy"}}
    calls = answering(clients, "StartQueryExecution", busy)
    with pytest.raises(AwsError, match="TooManyRequestsException"):
        athena_of(workgroup, clients).start("SELECT 1")
    assert len(calls) == 8


def test_text_that_is_no_statement_is_said_to_be_none(workgroup: Stack, clients: Clients) -> None:
    wrong = {"Error": {"Code": "InvalidRequestException", "Message": "mismatched input 'SELEC'"}}
    answering(clients, "StartQueryExecution", wrong)
    with pytest.raises(SqlError, match="mismatched input"):
        athena_of(workgroup, clients).start("SELEC 1")


# --- for people ---------------------------------------------------------------------------------


@pytest.fixture
def engine(workgroup: Stack, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> AwsEngine:
    """The deployment, as commands open it."""
    made = AwsEngine(load_settings({"sql_timeout": "30s"}), clients)
    monkeypatch.setattr(shopstream.engine, "open_aws_engine", lambda _: made)
    return made


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--engine", "aws"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


TYPES = {
    "day": "date",
    "amount": "decimal(38,4)",
    "orders": "bigint",
    "share": "double",
    "at": "timestamp",
    "name": "varchar",
    "ok": "boolean",
}
FIRST = ("2026-11-20", "12.5000", "3", "0.25", "2026-11-20 10:00:00.000001", '=1+1,"x"', "true")
# moto doesn't double quotes inside of cells, as Athena does.
AS_ATHENA = (*FIRST[:5], '=1+1,""x""', FIRST[6])
EMPTY: tuple[str | None, ...] = (None,) * 7


def test_an_answer_has_the_forms_that_it_has_locally(engine: AwsEngine, answers: Answers) -> None:
    answers(TYPES, AS_ATHENA, EMPTY)
    assert json.loads(run("sql", "SELECT 1", "--format", "json")) == [
        {
            "day": "2026-11-20",
            "amount": "12.5000",
            "orders": 3,
            "share": 0.25,
            "at": "2026-11-20T10:00:00.000001Z",
            "name": '=1+1,"x"',
            "ok": True,
        },
        dict.fromkeys(TYPES),
    ]
    answers(TYPES, AS_ATHENA, EMPTY)
    header, first, second = run("sql", "SELECT 1", "--format", "csv").splitlines()
    assert header == ",".join(f'"{name}"' for name in TYPES)
    assert first == (
        '"2026-11-20",12.5000,3,0.25,"2026-11-20T10:00:00.000001Z","\'=1+1,""x""",true'
    )
    assert second == ",,,,,,"


def test_what_writes_is_not_even_sent(engine: AwsEngine, clients: Clients) -> None:
    calls = answering(clients, "StartQueryExecution", None)
    with pytest.raises(SqlError, match="only SELECT"):
        run("sql", "DROP TABLE silver_orders")
    assert calls == []


def test_a_query_that_is_given_up_is_stopped_on_aws(
    engine: AwsEngine, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = answering(clients, "StopQueryExecution", {})
    answering(clients, "GetQueryExecution", execution("RUNNING"))

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    asker = engine.asker()
    monkeypatch.setattr(asker._athena, "_sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        asker.ask("SELECT 1")
    assert len(stopped) == 1


def test_a_query_over_the_time_limit_is_stopped_on_aws(
    engine: AwsEngine, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = answering(clients, "StopQueryExecution", {})
    answering(clients, "GetQueryExecution", execution("RUNNING"))
    asker, clock = engine.asker(), Clock()
    monkeypatch.setattr(asker, "_athena", athena_of_engine(engine, clock))
    with pytest.raises(SqlError, match="took longer than 30s"):
        asker.ask("SELECT 1")
    assert len(stopped) == 1


def athena_of_engine(engine: AwsEngine, clock: Clock) -> Athena:
    names = engine.names
    return Athena(
        engine.clients,
        names.workgroup,
        names.database,
        sleep=clock.sleep,
        now_s=lambda: clock.now_s,
    )


def test_tables_are_listed_with_what_the_last_build_made_of_them(engine: AwsEngine) -> None:
    memory = BuildMemory(engine.tables())
    built = TableState(rows=42, model="m", built_at=datetime(2026, 11, 21, tzinfo=UTC))
    built.changed(Change(7, 1, None))
    memory.keep("gold_funnel", built)
    found = {row["table"]: row for row in json.loads(run("tables", "--format", "json"))}
    assert found["gold_funnel"]["rows"] == 42
    assert "bronze_clicks" in found
    assert "gold_traffic" not in found  # it was not built yet
    glue, database = engine.clients.glue, engine.names.database
    glue.create_database(DatabaseInput={"Name": database})
    glue.create_table(DatabaseName=database, TableInput={"Name": "gold_traffic"})
    found = {row["table"]: row for row in json.loads(run("tables", "--format", "json"))}
    assert found["gold_traffic"]["rows"] is None  # a Spark job made it
    described = json.loads(run("describe", "gold_funnel", "--format", "json"))
    assert (described["rows"], described["table"]) == (42, "gold_funnel")
    landed = json.loads(run("describe", "bronze_orders", "--format", "json"))
    assert {"lines", "dt", "hour"} <= {column["name"] for column in landed["columns"]}
    with pytest.raises(SqlError, match="did you mean gold_funnel"):
        run("describe", "gold_funel")


def test_what_athena_cannot_do_is_said(engine: AwsEngine) -> None:
    from shopstream.errors import ConfigError

    with pytest.raises(ConfigError, match="FOR TIMESTAMP AS OF"):
        run("sql", "SELECT 1", "--at", "2026-11-21T12:00:00Z")


def test_a_dry_build_says_what_would_be_built_and_starts_nothing(
    engine: AwsEngine, clients: Clients
) -> None:
    calls = answering(clients, "StartQueryExecution", None)
    steps = json.loads(run("build", "--dry-run", "--format", "json"))
    assert {step["mode"] for step in steps} == {"full"}
    assert steps[0]["why"] == "not built by this model yet"
    assert calls == []
    assert BuildMemory(engine.tables()).open_build() is None


def test_a_build_whose_queries_give_nothing_fails_and_says_so(engine: AwsEngine) -> None:
    done = run("build", "--select", "silver_carts", "--format", "json", code=1)
    (built,) = json.loads(done)["tables"]
    assert "its tests gave no answer" in built["failures"][0]
    last = BuildMemory(engine.tables()).last()
    assert last is not None
    assert last.failed == ["silver_carts"]
