"""Which SQL may be asked: one statement that only reads, of tables that are there.

DuckDB itself parses it, so there is no second opinion on what a text means. Its type of statement
is not enough: `WITH x AS (COPY t TO 'file') FROM x` is a SELECT to it. So the tree of the statement
is walked, and only what is known to be harmless passes. The settings of the connection (see `box`)
are the wall behind this one.
"""

import json
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from shopstream.errors import SqlError
from shopstream.lake.model import NAMESPACE

if TYPE_CHECKING:
    import duckdb

LIVE = "live"
"""The schema of the live tables."""
READ_ONLY = (
    "only SELECT, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN can be asked here,"
    " one statement at a time"
)
TEXT_MAX = 100_000
NESTED_MAX = 61
NESTED_WITHS_MAX = 4
_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_FUNCTIONS = {"range", "generate_series", "generate_subscripts", "unnest"} | {
    *("json_each", "json_tree")
}
_NO_FUNCTIONS = {"getenv", "query", "query_table", "write_log", "pg_sleep", "sleep_ms"}
_SHOWN = {"__show_tables_expanded", '"tables"', '"databases"', '"schemas"'}
_CATALOG_VIEWS = {"tables", "columns", "schemata", "views"}
_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*EXPLAIN\b(?:\s*\([^()]*\)|\s+ANALYZE\b)*",
    re.IGNORECASE | re.DOTALL,
)


class Judged(Struct):
    """A statement that may be asked: its text, whether it only explains, and the tables it names
    (those of the lake by their bare name, the live ones as `live.offers`).
    """

    text: str
    explains: bool
    tables: list[str]


def judge(con: "duckdb.DuckDBPyConnection", text: str, known: Collection[str]) -> Judged:
    """The one statement that `text` is. `known` are the names of the tables, live ones included.

    Nothing of it is run. Raises SqlError for what can't be parsed, isn't one statement, does
    anything but read, or names a table that isn't there.
    """
    import duckdb

    _bound(text)
    try:
        found = con.extract_statements(text)
    except duckdb.Error as e:
        raise SqlError(said(e)) from None
    if not found:
        raise SqlError("there is no statement; try `shopstream tables`")
    if len(found) > 1:
        raise SqlError(f"these are {len(found)} statements; {READ_ONLY}")
    kind, query = found[0].type, found[0].query
    explained = query
    if kind == duckdb.StatementType.EXPLAIN:
        explained = _EXPLAIN.sub("", query, count=1)
    elif kind != duckdb.StatementType.SELECT:
        raise SqlError(_refusal(kind.name))
    tree = _tree(con, explained)
    _only_reads(tree)
    return Judged(query, explained is not query, sorted(_tables(tree, known)))


def _bound(text: str) -> None:
    """Refuse what DuckDB would parse for too long: its parser can't be interrupted, and 8 nested
    WITHs with a mistake inside take it 6 seconds, each one more 5 times as long. All other
    constructs were tried 60 deep and took less than a second.
    """
    import duckdb

    if len(text) > TEXT_MAX:
        raise SqlError(f"this statement is longer than {TEXT_MAX:,} characters")
    try:
        characters = text.encode()
    except UnicodeEncodeError:
        raise SqlError("this statement is not UTF-8") from None
    withs = [False]
    """Of each bracket that is open, and of the statement: whether a WITH stands in it."""
    for place, kind in duckdb.tokenize(text):
        word = characters[place : place + 5].upper()
        if kind == duckdb.token_type.operator and word[:1] in (b"(", b"[", b"{"):
            withs.append(False)
        elif kind == duckdb.token_type.operator and word[:1] in (b")", b"]", b"}"):
            withs = withs[:-1] or [False]
        elif kind == duckdb.token_type.keyword and word.rstrip() == b"WITH":
            withs[-1] = True
        if len(withs) > NESTED_MAX or sum(withs) > NESTED_WITHS_MAX:
            raise SqlError(
                f"this statement is nested too deep: at most {NESTED_MAX - 1} brackets"
                f" and {NESTED_WITHS_MAX} WITHs within each other"
            )


def said(error: Exception) -> str:
    """What DuckDB says is wrong, on one line, without the picture of where. It quotes values of
    rows: no sender's text moves the cursor.
    """
    text = re.split(r"\n+LINE \d+:|\n\nPossible solutions|\nTraceback ", str(error))[0]
    line = " ".join(text.split()) or type(error).__name__
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in line)


def nearest(name: str, known: Collection[str]) -> str:
    """A hint that names what `name` may have meant and where all names are listed."""
    bare = {found.rpartition(".")[2]: found for found in known}
    close = [bare[found] for found in get_close_matches(name.rpartition(".")[2], bare, n=3)]
    asked = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{asked}`shopstream tables` lists all"


def _refusal(kind: str) -> str:
    if kind == "MULTI":
        return "a PIVOT must name its values here: PIVOT t ON column IN ('a', 'b') USING sum(x)"
    return f"{kind.replace('_', ' ')} is not allowed; {READ_ONLY}"


def _tree(con: "duckdb.DuckDBPyConnection", query: str) -> dict[str, Any]:
    import duckdb

    options = "skip_null := true, skip_empty := true, skip_default := true"
    try:
        row = con.execute(f"SELECT json_serialize_sql(?, {options})", [query]).fetchall()
    except duckdb.Error as e:
        raise SqlError(said(e)) from None
    tree: dict[str, Any] = json.loads(row[0][0]) if row else {"error": True}
    if tree.get("error") or len(tree.get("statements", ())) != 1:
        raise SqlError(READ_ONLY)
    return tree


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _only_reads(tree: dict[str, Any]) -> None:
    for part in _parts(tree):
        kind = part.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _NODES:
            name = kind.removesuffix("_NODE").removesuffix("_QUERY")
            raise SqlError(_refusal(name))
        if "cte_map" in part and kind not in _NODES:
            raise SqlError(READ_ONLY)
        if kind == "TABLE_FUNCTION":
            name = str(part.get("function", {}).get("function_name", "")).lower()
            if name not in _TABLE_FUNCTIONS:
                raise SqlError(
                    f"the table function {name} is not allowed: SQL reads the tables that"
                    " `shopstream tables` lists, no file and no setting"
                )
        elif part.get("class") == "FUNCTION":
            name = str(part.get("function_name", "")).lower()
            if name in _NO_FUNCTIONS:
                raise SqlError(f"the function {name} is not allowed")


def _tables(tree: dict[str, Any], known: Collection[str]) -> set[str]:
    own = {
        str(entry.get("key", "")).lower()
        for part in _parts(tree)
        for entry in part.get("cte_map", {}).get("map", ())
    }
    own |= {str(p["cte_name"]).lower() for p in _parts(tree) if "cte_name" in p}
    found = set()
    for part in _parts(tree):
        kind = part.get("type")
        if kind == "SHOW_REF" and part.get("show_type") == "SHOW_SPECIAL":
            if part.get("table_name") not in _SHOWN:
                raise SqlError(f"SHOW {part.get('table_name')} is not allowed; try SHOW TABLES")
        elif kind == "BASE_TABLE" or (kind == "SHOW_REF" and "query" not in part):
            path = [str(step) for step in part.get("qualified_name", {}).get("path", ())]
            if not (len(path) == 1 and path[0].lower() in own) and (name := _name(path, known)):
                found.add(name)
    return found


def _name(path: list[str], known: Collection[str]) -> str:
    """The table that a name means, "" for a list of what there is (information_schema)."""
    *outer, table = [step.lower().strip('"') for step in path] or [""]
    schema = outer[-1] if outer else ""
    if outer == ["information_schema"] and table in _CATALOG_VIEWS:
        return ""
    if outer in ([], [NAMESPACE], ["main"], [NAMESPACE, "main"]) and table in known:
        return table
    if outer in ([LIVE], [NAMESPACE, LIVE]) and f"{LIVE}.{table}" in known:
        return f"{LIVE}.{table}"
    shown = ".".join(path)
    wanted = f"{LIVE}.{table}" if schema == LIVE else table
    raise SqlError(f"there is no table {shown!r}; {nearest(wanted, known)}")
