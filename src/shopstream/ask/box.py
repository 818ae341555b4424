"""The box that SQL runs in: a DuckDB connection that reads the tables and reaches nothing else.

Four walls, each enough for most attacks:

1. `guard` lets only statements through that read tables (not for `connect`: see there).
2. The database is a file opened read-only that holds nothing but views; its name is gone at once.
3. No path and no network: `enable_external_access` is off and no file is allowed but the names of
   `files.LakeFiles`, which can't write. Extensions are neither installed nor loaded, and the
   configuration is locked.
4. Time and memory are bounded, and nothing is spilled to disk. DuckDB checks neither inside one
   function on one huge value, so a program of its own also bounds its process (`bound_memory`).
"""

import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shopstream.ask.files import LakeFiles, live_url, url
from shopstream.ask.guard import LIVE, Judged, judge, said
from shopstream.ask.live import LIVE_TABLES
from shopstream.ask.live import view_sql as live_view_sql
from shopstream.ask.tables import Published
from shopstream.errors import DataDirError, SqlError
from shopstream.lake.current import view_sql
from shopstream.lake.model import NAMESPACE
from shopstream.settings import MIB, Settings, show_duration

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

BATCH_ROWS = 10_000
"""Rows that leave DuckDB at once."""
STOP_S = 5.0
"""How long an interrupted query may take to notice."""
_EXPRESSION_DEPTH = 250


class Stuck(SqlError):
    """A query over its limit that doesn't end: the process should."""


class Answer:
    """What a query gives, read from DuckDB as it is asked for: nothing is held in full."""

    def __init__(self, run: "_Run", reader: Any) -> None:
        self._run = run
        self._reader = reader
        self.schema: Any = reader.schema
        """The columns: a `pyarrow.Schema`."""

    def batches(self) -> Iterator[Any]:
        """The rows as `pyarrow.RecordBatch`es, once. Raises SqlError and KeyboardInterrupt."""
        while (batch := self._run.bounded(lambda: next(self._reader, None))) is not None:
            yield batch


class Box:
    """The tables of one build, to be asked in SQL. Not for several threads at once."""

    def __init__(self, settings: Settings, tables: Published) -> None:
        self.settings = settings
        self.tables = tables
        self._con, self._files, self._broken = open_box(settings, tables)

    def judge(self, sql: str) -> Judged:
        """See `guard.judge`."""
        return judge(self._con, sql, self.tables.names)

    def ask(self, sql: str, *, timeout: bool = True) -> Answer:
        """Start a query. The time limit counts DuckDB's time, not that of who reads the answer.

        Raises SqlError for SQL that isn't allowed or is wrong, and for a query over the limits;
        DataDirError when a live table is named and there are none, or a file is missing.
        """
        con = self._con.cursor()
        run = _Run(con, self._files, self.settings, timeout=timeout)
        judged = run.bounded(lambda: judge(con, sql, self.tables.names))
        for name in judged.tables:
            if why := self._broken.get(name):
                raise DataDirError(f"{name} can't be read: {why}; run `shopstream build`")
        return Answer(run, run.bounded(lambda: run.start(judged.text)))

    def close(self) -> None:
        self._con.close()


class _Run:
    """One query under its limits, in a thread of its own so that this one can be interrupted."""

    def __init__(
        self,
        con: "duckdb.DuckDBPyConnection",
        files: LakeFiles,
        settings: Settings,
        *,
        timeout: bool,
    ) -> None:
        self._con = con
        self._files = files
        self._files.failure = None
        self._settings = settings
        self._left_s = settings.sql_timeout.total_seconds() if timeout else None

    def start(self, sql: str) -> Any:
        relation = self._con.sql(sql)
        if relation is None:
            raise SqlError("this statement gives no rows")
        return relation.to_arrow_reader(BATCH_ROWS)

    def bounded(self, work: Callable[[], T]) -> T:
        """Do `work` in DuckDB in the time that is left; then, and at Ctrl-C, it is interrupted."""
        outcome: Future[T] = Future()

        def run() -> None:
            try:
                outcome.set_result(work())
            except BaseException as e:  # noqa: BLE001 (the one who waits gets it)
                outcome.set_exception(e)

        begun_s = time.monotonic()
        # A daemon: one that can't be interrupted must not keep the process from ending.
        threading.Thread(target=run, name="sql", daemon=True).start()
        try:
            return outcome.result(self._left_s)
        except NotInTime:
            limit = show_duration(self._settings.sql_timeout)
            text = f"the query took longer than {limit}; ask for less, or raise sql_timeout"
            raise (SqlError if self._stop(outcome) else Stuck)(text) from None
        except KeyboardInterrupt:
            self._stop(outcome)
            raise
        except SqlError:
            raise
        except Exception as e:  # noqa: BLE001 (pyarrow hands on what DuckDB raises in many types)
            raise self._translated(e) from None
        finally:
            if self._left_s is not None:
                self._left_s = max(0.0, self._left_s - (time.monotonic() - begun_s))

    def _stop(self, outcome: "Future[Any]") -> bool:
        """Interrupt the query; returns whether it ended."""
        self._con.interrupt()
        with suppress(Exception):
            outcome.exception(STOP_S)
        return outcome.done()

    def _translated(self, error: Exception) -> Exception:
        import duckdb
        import pyarrow  # type: ignore[import-untyped]  # it ships no types

        if self._files.failure is not None:
            return self._files.failure
        if "Out of Memory" in str(error) or isinstance(error, MemoryError):
            mib = self._settings.sql_memory // MIB
            return SqlError(
                f"the query needs more than {mib} MiB; ask for less, or raise sql_memory"
            )
        if isinstance(error, duckdb.Error | pyarrow.ArrowException):
            return SqlError(said(error))
        return error


def open_box(
    settings: Settings, tables: Published, *, timeout: bool = False
) -> "tuple[duckdb.DuckDBPyConnection, LakeFiles, dict[str, str]]":
    """A connection with a view for each table, walled in; the files it reads; and for tables that
    can't be read, why. With `timeout`, DuckDB itself ends what takes longer than `sql_timeout`.
    """
    import duckdb

    paths = {name: tables.lake_dir / name for found in tables.files.values() for name in found}
    files = LakeFiles(settings, paths)
    with tempfile.TemporaryDirectory(prefix="shopstream-sql-") as folder:
        # The name of the file is the name of the database: `ecommerce_analytics_db.silver_clicks`.
        path = Path(folder) / f"{NAMESPACE}.db"
        with duckdb.connect(path) as made:
            made.register_filesystem(files)
            broken = _make_views(made, files, tables)
        con = duckdb.connect(path, read_only=True)
    con.register_filesystem(files)
    allowed = [url(name) for name in paths] + [live_url(name) for name in LIVE_TABLES]
    for name, value in {
        "TimeZone": "'UTC'",
        "threads": "least(4, current_setting('threads'))",
        "memory_limit": f"'{settings.sql_memory}B'",
        "temp_directory": "''",
        "max_execution_time": str(
            int(settings.sql_timeout.total_seconds() * 1000) if timeout else 0
        ),
        "max_expression_depth": str(_EXPRESSION_DEPTH),
        "python_enable_replacements": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_persistent_secrets": "false",
        "allowed_paths": "[" + ", ".join(map(quoted, allowed)) + "]",
        "enable_external_access": "false",
        "lock_configuration": "true",
    }.items():
        con.execute(f"SET GLOBAL {name} = {value}")
    return con, files, broken


def _make_views(
    con: "duckdb.DuckDBPyConnection", files: LakeFiles, tables: Published
) -> dict[str, str]:
    """Make a view for each table; returns why for those whose files don't hold what they should
    (a file that is damaged or gone; tables built before a model got a new column).
    """
    import duckdb

    broken = {}
    for name, model in tables.models.items():
        names = [url(file) for file in tables.files[name]]
        try:
            con.execute(f'CREATE VIEW "{name}" AS {view_sql(model, names)}')
        except duckdb.Error as e:
            broken[name] = str(files.failure or said(e))
            files.failure = None
    con.execute(f"CREATE SCHEMA {LIVE}")
    for name, table in LIVE_TABLES.items():
        con.execute(f"CREATE VIEW {name} AS {live_view_sql(table, live_url(name))}")
    return broken


def quoted(text: str) -> str:
    """`text` as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def bound_memory(settings: Settings) -> None:
    """Bound the memory of this whole process, for one that does nothing but ask.

    DuckDB's `memory_limit` doesn't count one function's work on one value: under a limit of 512 MB
    `repeat('x', 2000000000)` took 4 GB. Where the system can't do this it isn't done.
    """
    with suppress(OSError, ValueError, StopIteration):
        status = Path("/proc/self/status").read_text("utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmData:"))
        now = int(line.split()[1]) * 1024
        most = now + 2 * settings.sql_memory + 512 * MIB
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
