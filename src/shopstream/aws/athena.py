"""Queries on Athena: started, waited for, stopped; small answers as rows, large ones as a stream.

Every wait has an end. What Athena bills is the workgroup's business: it bounds what a query scans.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from shopstream.aws.clients import asked
from shopstream.errors import AwsError, SqlError

if TYPE_CHECKING:
    from mypy_boto3_athena.type_defs import QueryExecutionTypeDef

    from shopstream.aws.clients import Clients

POLL_FIRST_S, POLL_MAX_S = 0.25, 5.0
START_TRIES_MAX = 8
"""As often an account that runs as many queries as it may is asked for one more."""
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
_CELL = re.compile(r'(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))')
"""Of Athena's CSV: all text is quoted, so an empty cell that isn't is NULL."""
Row = dict[str, str | None]


class QueryFailed(SqlError):
    """A query ended without an answer. `again`: Athena says that it may succeed another time."""

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class NotInTime(Exception):  # control flow
    """A query goes on after the time given to wait for it."""


class Column(NamedTuple):
    """A column of an answer, its type in Athena's words (`varchar`, `decimal`, `timestamp`)."""

    name: str
    type: str
    precision: int = 0
    scale: int = 0


class Athena:
    """One workgroup and database. `sleep` and `now_s` are the clock's."""

    def __init__(
        self,
        clients: Clients,
        workgroup: str,
        database: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients = clients
        self.workgroup = workgroup
        self.database = database
        self._sleep = sleep
        self._now_s = now_s

    def start(self, sql: str) -> str:
        """Start a query and return its id. Tries again, with jitter, while too many are running.

        Raises AwsError, SqlError for text that Athena takes for no statement at all.
        """
        for n in range(1, START_TRIES_MAX + 1):
            try:
                with asked(f"start a query in workgroup {self.workgroup}"):
                    return self._clients.athena.start_query_execution(
                        QueryString=sql,
                        QueryExecutionContext={"Database": self.database},
                        WorkGroup=self.workgroup,
                    )["QueryExecutionId"]
            except AwsError as e:
                if e.code == "InvalidRequestException":
                    raise SqlError(str(e)) from None
                if e.code != "TooManyRequestsException" or n == START_TRIES_MAX:
                    raise
                self._sleep(random.uniform(0, min(30.0, 2.0**n)))  # noqa: S311  # jitter
        raise AssertionError

    def wait(self, query: str, wait_s: float) -> QueryExecutionTypeDef:
        """Wait until a query has succeeded. Raises QueryFailed, and NotInTime after `wait_s`."""
        ends = self._now_s() + wait_s
        pause_s = POLL_FIRST_S
        while True:
            with asked("ask how a query stands (athena:GetQueryExecution)"):
                found = self._clients.athena.get_query_execution(QueryExecutionId=query)
            execution = found["QueryExecution"]
            status = execution.get("Status", {})
            state = status.get("State", "QUEUED")
            if state == "SUCCEEDED":
                return execution
            if state in _ENDED:
                why = status.get("StateChangeReason") or state.lower()
                error = status.get("AthenaError", {})
                raise QueryFailed(why, again=bool(error.get("Retryable")) or _passes(why))
            if self._now_s() >= ends:
                raise NotInTime
            self._sleep(min(pause_s, max(0.0, ends - self._now_s())))
            pause_s = min(pause_s * 1.5, POLL_MAX_S)

    def rows(self, query: str) -> list[Row]:
        """All rows of a query that has succeeded; for answers that are known to be small."""
        names: list[str] = []
        rows: list[Row] = []
        pages = self._clients.athena.get_paginator("get_query_results")
        with asked("read a query's answer (athena:GetQueryResults)"):
            for page in pages.paginate(QueryExecutionId=query):
                answer = page["ResultSet"]
                info = answer.get("ResultSetMetadata", {}).get("ColumnInfo", [])
                values = [
                    [cell.get("VarCharValue") for cell in row.get("Data", [])]
                    for row in answer.get("Rows", [])
                ]
                if not names:
                    names = [column["Name"] for column in info]
                    if values and values[0] == names:
                        del values[0]  # the first row of a SELECT is its header
                rows += [dict(zip(names, row, strict=True)) for row in values]
        return rows

    def columns(self, query: str) -> list[Column]:
        """The columns of the answer of a query that has succeeded."""
        with asked("read a query's columns (athena:GetQueryResults)"):
            found = self._clients.athena.get_query_results(QueryExecutionId=query, MaxResults=1)
        info = found["ResultSet"].get("ResultSetMetadata", {}).get("ColumnInfo", [])
        return [
            Column(c["Name"], c["Type"], c.get("Precision", 0), c.get("Scale", 0)) for c in info
        ]

    def answer(self, execution: QueryExecutionTypeDef) -> Iterator[list[str | None]]:
        """The rows of a SELECT, read from its file in S3 as they are asked for."""
        place = execution.get("ResultConfiguration", {}).get("OutputLocation", "")
        bucket, _, key = place.removeprefix("s3://").partition("/")
        with asked(f"read {place}"):
            body = self._clients.s3.get_object(Bucket=bucket, Key=key)["Body"]
        try:
            lines = _lines(body.iter_chunks(1 << 16))
            rows = _cells(lines)
            next(rows, None)  # the header
            yield from rows
        finally:
            body.close()

    def text(self, execution: QueryExecutionTypeDef) -> str:
        """The answer of a statement that gives plain text (SHOW, DESCRIBE, EXPLAIN)."""
        place = execution.get("ResultConfiguration", {}).get("OutputLocation", "")
        bucket, _, key = place.removeprefix("s3://").partition("/")
        with asked(f"read {place}"):
            return self._clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()

    def stop(self, query: str) -> None:
        """Ask Athena to end a query; one that has ended is left as it is."""
        with asked("stop a query (athena:StopQueryExecution)"):
            self._clients.athena.stop_query_execution(QueryExecutionId=query)


def _passes(why: str) -> bool:
    """Whether Athena's reason is one of a moment. Source: Athena, "Error catalog"."""
    signs = ("ICEBERG_COMMIT_ERROR", "exhausted resources", "INTERNAL_ERROR", "SlowDown", "throttl")
    return any(sign.lower() in why.lower() for sign in signs)


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Text line by line, ends kept; no character is cut in two."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode() + "\n"
    if rest:
        yield rest.decode()


def _cells(lines: Iterator[str]) -> Iterator[list[str | None]]:
    """Rows of cells; text may have line ends in it."""
    record = ""
    for line in lines:
        record += line
        if record.count('"') % 2 == 0:
            yield _row(record.rstrip("\n"))
            record = ""
    if record:
        yield _row(record.rstrip("\n"))


def _row(record: str) -> list[str | None]:
    return [
        quoted.replace('""', '"') if quoted is not None else bare or None
        for quoted, bare in (match.groups() for match in _CELL.finditer(record))
    ]
