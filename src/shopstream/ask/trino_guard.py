"""Which SQL may be asked of Athena: one statement that only reads.

What a reader of the lake may do is what their role may; this keeps a slip of the hand from doing
more than ask. sqlglot takes the text apart as Trino does; what it can't is refused.
"""

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from shopstream.ask.guard import TEXT_MAX
from shopstream.errors import SqlError

READ_ONLY = (
    "only SELECT, WITH, VALUES, SHOW, DESCRIBE and EXPLAIN can be asked here, one statement at a"
    " time"
)
_EXPLAIN = re.compile(r"EXPLAIN(?:\s+ANALYZE)?(?:\s+VERBOSE)?(?:\s*\([^()]*\))?\s", re.IGNORECASE)
_SHOWS = re.compile(
    r"(?:SHOW\s+(?:TABLES|COLUMNS|SCHEMAS|DATABASES|VIEWS|PARTITIONS|TBLPROPERTIES|FUNCTIONS"
    r"|CREATE\s+(?:TABLE|VIEW)|STATS)|DESCRIBE|DESC)\b",
    re.IGNORECASE,
)
_WRITES = (exp.DDL, exp.DML, exp.Command, exp.Into)


def judge_trino(text: str) -> str:
    """The one statement that `text` is, without what stands around it. Raises SqlError for text
    that isn't one statement, or does anything but read.
    """
    if len(text) > TEXT_MAX:
        raise SqlError(f"the statement is longer than {TEXT_MAX:,} characters")
    try:
        tokens = sqlglot.tokenize(text, dialect="trino")
    except SqlglotError as e:
        raise SqlError(f"this can't be read as SQL: {_said(e)}") from None
    while tokens and tokens[-1].token_type == sqlglot.TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise SqlError("there is no statement; try `shopstream tables`")
    if any(token.token_type == sqlglot.TokenType.SEMICOLON for token in tokens):
        raise SqlError(f"these are several statements; {READ_ONLY}")
    # Comments before the first word and behind the last are left out.
    statement = text[tokens[0].start : tokens[-1].end + 1].strip()
    if _SHOWS.match(statement):
        return statement
    explained = _EXPLAIN.match(statement)
    _ensure_reads(statement[explained.end() :] if explained else statement)
    return statement


def _ensure_reads(query: str) -> None:
    try:
        tree = sqlglot.parse_one(query, dialect="trino")
    except (SqlglotError, RecursionError) as e:
        raise SqlError(f"this can't be read as Trino's SQL: {_said(e)}") from None
    if not isinstance(tree, exp.Query | exp.Values) or any(
        isinstance(part, _WRITES) and not isinstance(part, exp.Query) for part in tree.walk()
    ):
        raise SqlError(READ_ONLY)


def _said(error: Exception) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().partition("\n")[0] or "too deep"
