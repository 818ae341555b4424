"""Whose fault an error of a library is, and what it says in one line."""

import errno
import re

_OF_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EACCES,
    errno.EPERM, errno.ENOMEM,
}  # fmt: skip
_IN_WANT = re.compile(
    r"no space left|disk quota|(could not|failed to|cannot) (write|create|truncate)"
    r"|too many open files|permission denied|read-only file system",
    re.IGNORECASE,
)
"""In what DuckDB says of a file, without a number, when not the file is at fault."""


def of_machine(error: BaseException) -> bool:
    """Whether the machine is at fault (no room, no access): no other table would get on either."""
    import duckdb
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, OSError):
        return error.errno in _OF_MACHINE
    if isinstance(error, duckdb.IOException):
        return bool(_IN_WANT.search(str(error)))
    return isinstance(error, (MemoryError, DBAPIError))


def first_line(error: BaseException) -> str:
    """What an error says, without the SQL that DuckDB points at or SQLAlchemy adds."""
    return str(error).strip().partition("\n")[0].strip()
