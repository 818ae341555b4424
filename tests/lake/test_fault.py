"""Whose fault an error is: the machine's, where no table would get on, or of one table."""

import errno

import duckdb
import pytest
from sqlalchemy.exc import OperationalError

from shopstream.lake.fault import first_line, of_machine

NO_ROOM = 'IO Error: Could not write file "/x/rows.parquet": No space left on device'


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        MemoryError(),
        duckdb.IOException(NO_ROOM),
        duckdb.IOException("IO Error: Cannot open file: Too many open files"),
        OperationalError("UPDATE iceberg_tables", {}, Exception("database is locked")),
    ],
)
def test_the_machine_is_at_fault(error: Exception) -> None:
    assert of_machine(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        ValueError("no space left"),
        duckdb.IOException("IO Error: No files found that match the pattern"),
        duckdb.InvalidInputException(NO_ROOM),
    ],
)
def test_one_table_is_at_fault(error: Exception) -> None:
    assert not of_machine(error)


def test_what_an_error_says_is_one_line() -> None:
    said = "Binder Error: no column x\n\nLINE 1: SELECT x\n               ^"
    assert first_line(duckdb.BinderException(said)) == "Binder Error: no column x"
