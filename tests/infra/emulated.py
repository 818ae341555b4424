"""The emulator's program, started as a process: `python -m tests.infra.emulated PROGRAM HOST PORT`.

Loads the program for its changes to moto and serves what it would, after some more changes. Some
alter no answer: a query looks at one partition and not at the sorted whole table, what depends on
no request is found out once. A function that AWS would invoke by itself (for a rule of EventBridge,
say) is written down for the test's own driver, a line of JSON each, instead of being run. And
Athena's questions are answered as if the lake had one day, today, in which no row fails a test:
moto runs no SQL and answers nothing; that the statements are right is shown on a real Trino.
"""

import copy
import functools
import importlib.util
import inspect
import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = "SHOPSTREAM_TEST_FOLDER"
"""Names where these files are."""
INVOCATIONS, FAILING = "invocations.jsonl", "failing.json"
_COLUMN = re.compile(r"^  `(\w+)` ", re.MULTILINE)
_COUNTED = re.compile(r"\bAS (staged_count|t\d+|published|replaced)\b")
_DAYS = re.compile(r"\bAS (own\d+|landed\d+|day)\b")
_ASKED_OF = re.compile(r"information_schema\.columns WHERE .* AND table_name = '(\w+)'")


def _look_at_one_partition() -> None:
    from moto.dynamodb.models.table import Table

    every_item: Any = Table.query

    bind = inspect.signature(every_item).bind

    def query(self: Any, *given: Any, **named: Any) -> Any:
        asked = bind(self, *given, **named).arguments
        key = asked["hash_key"]
        if asked.get("index_name") is None and self.range_key_attr and key is not None:
            self = copy.copy(self)
            self.items = {key: self.items[key]} if key in self.items else {}
        return every_item(self, *given, **named)

    Table.query = query  # type: ignore[method-assign]  # moto's, bettered


def _find_out_once() -> None:
    from moto import backends
    from moto.core import utils
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    modules = list(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    utils.method_names_from_class = functools.cache(utils.method_names_from_class)
    of_host = functools.cache(DomainDispatcherApplication.get_backend_for_host)
    DomainDispatcherApplication.get_backend_for_host = of_host  # type: ignore[method-assign]  # moto's, bettered


def _let_delete_markers_go() -> None:
    """Emptying a bucket with versions also deletes the marks of what was deleted before."""
    from moto.s3.models import FakeDeleteMarker

    FakeDeleteMarker.dispose = lambda *_: None  # type: ignore[attr-defined]  # moto's, bettered


def _write_down_invocations(path: Path) -> None:
    from moto.awslambda.models import LambdaFunction

    def written_down(self: Any, event: Any = None) -> tuple[str, bool, str]:
        given = json.loads(event or "{}") if isinstance(event, str) else event
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"function": self.function_name, "event": given}) + "\n")
        return "null", False, ""

    LambdaFunction._invoke_lambda = written_down  # type: ignore[method-assign]  # moto's, watched


def _answer_queries(failing: Path) -> None:
    from moto.athena.models import AthenaBackend, Execution, QueryResults

    start: Any = AthenaBackend.start_query_execution

    def start_or_fail(self: Any, *given: Any, **named: Any) -> Any:
        query = start(self, *given, **named)
        execution: Execution = self.executions[query]
        texts = json.loads(failing.read_text("utf-8")) if failing.exists() else []
        if any(text in execution.query for text in texts):
            execution._transitions = []
            execution.status = "FAILED"
        return query

    def answer(self: Any, exec_id: str) -> QueryResults:
        asked = self.executions[exec_id].query
        earlier = [one.query for one in self.executions.values()]
        rows = _rows(asked, earlier)
        names = list(rows[0]) if rows else []
        values = [names, *(list(row.values()) for row in rows)] if rows else []
        return QueryResults(
            rows=[{"Data": [{"VarCharValue": v} for v in row]} for row in values],
            column_info=[{"Name": name, "Label": name, "Type": "varchar"} for name in names],
        )

    AthenaBackend.start_query_execution = start_or_fail  # type: ignore[method-assign]  # moto has no engine
    AthenaBackend.get_query_results = answer  # type: ignore[method-assign]  # moto has no engine


def _rows(asked: str, earlier: list[str]) -> list[dict[str, str]]:
    """What Athena answers: the columns that a table was made with, counts of 0, today."""
    if table := _ASKED_OF.search(asked):
        made = [one for one in earlier if one.startswith("CREATE") and f"`{table[1]}`" in one]
        return [{"column_name": name} for one in made for name in _COLUMN.findall(one)]
    if not asked.startswith(("SELECT", "WITH")):
        return []
    if "staged_count" in asked:
        days = {name: _today() for name in _DAYS.findall(asked) if name != "day"}
        return [dict.fromkeys(_COUNTED.findall(asked), "0") | days]
    return [{"day": _today()}] if "day" in _DAYS.findall(asked) else []


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _main() -> None:
    program, host, port = sys.argv[1:]
    # As a module under another name than a program's, so that it changes moto and doesn't start.
    spec = importlib.util.spec_from_file_location("emulator_program", program)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _look_at_one_partition()
    _find_out_once()
    _let_delete_markers_go()
    folder = Path(os.environ[FOLDER])
    _write_down_invocations(folder / INVOCATIONS)
    _answer_queries(folder / FAILING)
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from tests.infra.front import serve

    application: Any = DomainDispatcherApplication(create_backend_app)
    serve(host, int(port), application)


if __name__ == "__main__":
    _main()
