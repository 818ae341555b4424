"""The emulator's program, started as a process: `python -m tests.infra.emulated PROGRAM HOST PORT`.

Loads the program for its changes to moto and serves what it would, after some more changes that
alter no answer: a query looks at one partition and not at the sorted whole table, what depends on
no request is found out once, and a function that AWS would invoke by itself (for a rule of
EventBridge, say) is written down for the test's own driver, a line of JSON each, instead of being
run.
"""

import copy
import functools
import importlib.util
import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

INVOCATIONS = "SHOPSTREAM_TEST_INVOCATIONS"


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

    Table.query = query  # type: ignore[method-assign]


def _find_out_once() -> None:
    from moto import backends
    from moto.core import utils
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    modules = list(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    utils.method_names_from_class = functools.cache(utils.method_names_from_class)
    of_host = functools.cache(DomainDispatcherApplication.get_backend_for_host)
    DomainDispatcherApplication.get_backend_for_host = of_host  # type: ignore[method-assign]


def _let_delete_markers_go() -> None:
    """Emptying a bucket with versions also deletes the marks of what was deleted before."""
    from moto.s3.models import FakeDeleteMarker

    FakeDeleteMarker.dispose = lambda *_: None  # type: ignore[attr-defined]


def _write_down_invocations(path: Path) -> None:
    from moto.awslambda.models import LambdaFunction

    def written_down(self: Any, event: Any = None) -> tuple[str, bool, str]:
        given = json.loads(event or "{}") if isinstance(event, str) else event
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"function": self.function_name, "event": given}) + "\n")
        return "null", False, ""

    LambdaFunction._invoke_lambda = written_down  # type: ignore[method-assign]


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
    if path := os.environ.get(INVOCATIONS):
        _write_down_invocations(Path(path))
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from tests.infra.front import serve

    application: Any = DomainDispatcherApplication(create_backend_app)
    serve(host, int(port), application)


if __name__ == "__main__":
    _main()
