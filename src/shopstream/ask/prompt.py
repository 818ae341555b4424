"""The prompt of `shopstream sql`: history, completion, statements over several lines.

What is typed here never leaves the machine; the history is a file in the data directory that only
its owner can read.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shopstream.ask.live import LIVE_TABLES
from shopstream.ask.tables import Published
from shopstream.errors import ShopstreamError
from shopstream.lake.model import NAMESPACE

if TYPE_CHECKING:
    from prompt_toolkit.completion import CompleteEvent, Completion
    from prompt_toolkit.document import Document

COMMANDS = {
    ".tables": "list the tables",
    ".describe": "TABLE: show a table's columns",
    ".help": "this list",
    ".quit": "leave (so does Ctrl-D)",
}
_KEYWORDS = """
    SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET WITH AS JOIN LEFT RIGHT FULL INNER CROSS
    ON USING UNION ALL EXCEPT INTERSECT DISTINCT CASE WHEN THEN ELSE END AND OR NOT IN IS NULL
    BETWEEN LIKE ILIKE EXISTS CAST DATE TIMESTAMP INTERVAL ASC DESC NULLS FIRST LAST OVER PARTITION
    QUALIFY VALUES DESCRIBE SHOW SUMMARIZE EXPLAIN COUNT SUM AVG MIN MAX ROUND COALESCE
"""
_WORD = re.compile(r"[\w.]+$")
_PIECE = re.compile(r"""'[^']*'|"[^"]*"|--[^\n]*|/\*.*?\*/|.""", re.DOTALL)
"""A string, a name, a comment or any other character of SQL."""
_HISTORY = "sql_history"
WELCOME = "SQL to the end with `;`. `.tables` lists the tables, `.help` says more, Ctrl-D leaves."


def words_for(before: str, tables: Published) -> list[str]:
    """What the word being typed at the end of `before` can become, best first."""
    found = _WORD.search(before)
    word = found[0].lower() if found else ""
    if before.lstrip().startswith(".") and " " not in before.strip():
        return [name for name in COMMANDS if name.startswith(word)]
    columns = [c.name for model in tables.models.values() for c in model.columns]
    columns += [c.name for live in LIVE_TABLES.values() for c in live.columns]
    names = [*tables.names, NAMESPACE, *sorted(set(columns))]
    if not word:
        return list(tables.names)
    close = [name for name in names if name.startswith(word)]
    return close + [k for k in _KEYWORDS.split() if k.lower().startswith(word)]


def is_whole(text: str) -> bool:
    """Whether what is typed can be sent: a command, nothing, or SQL that ends with `;`."""
    stripped = text.strip()
    if not stripped or stripped.startswith(".") or stripped.endswith(";"):
        return True
    pieces = _PIECE.findall(stripped)
    return "".join(p for p in pieces if not p.startswith(("--", "/*"))).rstrip().endswith(";")


def run_prompt(
    run_dir: Path,
    tables: Callable[[], Published],
    do: Callable[[str, str], None],
    say: Callable[[str], None],
    session: Any = None,
) -> None:
    """Ask for statements until Ctrl-D or `.quit`. `do(kind, text)` does what was typed, `kind`
    being `sql`, `.tables` or `.describe`; what it raises of ours, and Ctrl-C, ends that one only.
    `tables` gives what can be completed. `session` is a prompt_toolkit one, made when absent.
    """
    session = session or _session(run_dir, tables)
    while True:
        try:
            typed = session.prompt().strip()
        except KeyboardInterrupt:
            continue  # Ctrl-C at the prompt takes back what was typed
        except EOFError:
            return
        command, _, rest = typed.rstrip(";").strip().partition(" ")
        if command in (".quit", ".exit"):
            return
        try:
            if command == ".help":
                say("\n".join(f"{name:10} {meaning}" for name, meaning in COMMANDS.items()))
            elif command in (".tables", ".describe"):
                do(command, rest.strip())
            elif command.startswith("."):
                say(f"error: there is no {command}; try .help")
            elif command:
                do("sql", typed)
        except ShopstreamError as e:
            say(f"error: {e}")
        except KeyboardInterrupt:
            say("cancelled")


def _session(run_dir: Path, tables: Callable[[], Published]) -> Any:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import ThreadedCompleter
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @Condition
    def may_send() -> bool:
        return is_whole(session.default_buffer.text)

    @keys.add("enter", filter=may_send)
    def send(event: Any) -> None:
        event.current_buffer.validate_and_handle()

    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        history = run_dir / _HISTORY
        history.touch(mode=0o600)
        kept: Any = FileHistory(str(history))
    except OSError:
        kept = InMemoryHistory()  # a data directory that can only be read
    session: Any = PromptSession(
        "shopstream> ",
        multiline=True,
        prompt_continuation="        ...> ",
        history=kept,
        completer=ThreadedCompleter(_completer(tables)),
        complete_while_typing=False,
        key_bindings=keys,
    )
    return session


def _completer(tables: Callable[[], Published]) -> Any:
    from prompt_toolkit.completion import Completer, Completion

    class Names(Completer):
        def get_completions(
            self,
            document: "Document",
            complete_event: "CompleteEvent",  # noqa: ARG002 (prompt_toolkit's name)
        ) -> "Iterator[Completion]":
            before = document.text_before_cursor
            found = _WORD.search(before)
            typed = -len(found[0]) if found else 0
            for word in words_for(before, tables()):
                yield Completion(word, start_position=typed)

    return Names()
