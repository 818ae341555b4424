"""Commands that ask the tables: SQL, what there is, exports."""

import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

import typer

from shopstream.cli.app import app
from shopstream.cli.layout import shown_text
from shopstream.cli.options import DataDir, EngineName, Format
from shopstream.cli.printing import say, settings_of, show
from shopstream.cli.tables import answer_table, as_rows, known_table_rows
from shopstream.domain.plurals import counted
from shopstream.errors import ConfigError
from shopstream.stopping import INTERRUPTED, interrupt, leave

if TYPE_CHECKING:
    from shopstream.ask.box import Box
    from shopstream.ask.formats import Answer, FileFormat
    from shopstream.ask.tables import Described, Published
    from shopstream.aws.asking import Asker
    from shopstream.settings import Settings

AnswerFormat: TypeAlias = Literal["table", "csv", "json", "parquet"]
Known = TypeVar("Known", bound=str)
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write to this file, whole or not at all."),
]
At = Annotated[
    str | None,
    typer.Option(
        metavar="SNAPSHOT|TIME",
        help="As the tables were then: 2026-11-21T12:00:00Z, or a snapshot.",
    ),
]


@app.command()
def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="One SELECT; without it a prompt opens.", show_default=False),
    ] = None,
    format: Annotated[
        AnswerFormat | None,
        typer.Option("--format", help="A table on a terminal, else as the file ends, else JSON."),
    ] = None,
    output: Output = None,
    at: At = None,
    data_dir: DataDir = None,
    engine: EngineName = None,
) -> None:
    """Ask the tables in SQL (DuckDB's dialect). It only reads, in bounded time and memory.

    `live.offers`, `live.orders` and `live.events` are the tables as they are
    now; all others are as of the last build. Ctrl-C ends a query.

    On AWS it is Athena's SQL (Trino's dialect), of the tables that Glue knows;
    Athena bills what a query scans, and the workgroup bounds it.

    \b
    Examples:
      $ shopstream sql "SELECT category, sum(amount) FROM gold_daily_sales GROUP BY category"
      $ shopstream sql "FROM silver_orders" --format csv -o orders.csv
      $ shopstream sql "FROM gold_funnel" --at 2026-11-21T12:00:00Z
      $ shopstream sql "SELECT * FROM gold_funnel" --engine aws --format csv
      $ shopstream sql
    """
    settings = settings_of(data_dir, engine=engine)
    wanted: AnswerFormat | None = format or _ending_of(output, "csv", "json", "parquet")
    if settings.engine == "aws":
        with _ending():
            _ask_athena(settings, query, at, wanted, output)
        return
    prompting = query is None and sys.stdin.isatty()
    with _ending(prompting=prompting):
        asker = _Asker(settings, at)
        if query is not None:
            _tell_what_waits(settings)
            asker.answer(query, wanted, output)
        elif prompting:
            _prompt(asker, format)
        else:
            asker.answer(sys.stdin.read(), wanted, output)


@app.command()
def tables(data_dir: DataDir = None, format: Format = None, engine: EngineName = None) -> None:
    """List the tables: how many rows, what a row is, which snapshot of when.

    \b
    Examples:
      $ shopstream tables
      $ shopstream tables --format json
    """
    from shopstream.ask.tables import list_tables

    settings = settings_of(data_dir, engine=engine)
    found = _athena(settings).tables() if settings.engine == "aws" else list_tables(settings)
    if settings.engine != "aws":
        _tell_what_is_old(settings)
    show(found, format, known_table_rows)


@app.command()
def describe(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Its name.")],
    data_dir: DataDir = None,
    format: Format = None,
    engine: EngineName = None,
) -> None:
    """Show a table's columns, their types and what they mean.

    \b
    Examples:
      $ shopstream describe gold_daily_sales
      $ shopstream describe live.offers --format json
    """
    from shopstream.ask.tables import describe as described

    settings = settings_of(data_dir, engine=engine)
    aws = settings.engine == "aws"
    found = _athena(settings).describe(table) if aws else described(settings, table)
    if not aws:
        _tell_what_is_old(settings)
    _show_described(found, format)


@app.command()
def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="promotions|abandoned-products|TABLE",
            help="`promotions`: for each customer what they left in carts; `abandoned-products`:"
            " what is left most often; or any table.",
        ),
    ],
    format: Annotated[
        Literal["csv", "parquet"] | None,
        typer.Option("--format", help="As the file ends, else csv."),
    ] = None,
    output: Output = None,
    at: At = None,
    data_dir: DataDir = None,
) -> None:
    """Write a table as a file for another tool.

    CSV cells of text that a spreadsheet would run as a formula get a ' in front.

    \b
    Examples:
      $ shopstream export promotions -o promotions.csv
      $ shopstream export gold_daily_sales --format parquet -o sales.parquet
    """
    from shopstream.ask.export import export as exported
    from shopstream.ask.export import table_of

    settings = settings_of(data_dir)
    wanted = format or _ending_of(output, "csv", "parquet") or "csv"
    if settings.engine == "aws":
        raise ConfigError(
            "export works on this machine; on AWS ask: shopstream sql 'SELECT * FROM …' -o FILE"
        )
    with _ending():
        asker = _Asker(settings, at)
        table = table_of(name, asker.tables())
        _tell_what_waits(settings)
        _write(exported(asker.box_of(table), table), wanted, output)


def _athena(settings: "Settings") -> "Asker":
    from shopstream.engine import open_aws_engine

    return open_aws_engine(settings).asker()


def _ask_athena(
    settings: "Settings",
    query: str | None,
    at: str | None,
    format: AnswerFormat | None,
    output: Path | None,
) -> None:
    if at is not None:
        raise ConfigError(
            "--at: on AWS say it in the SQL: FROM t FOR TIMESTAMP AS OF TIMESTAMP '…'"
        )
    if query is None and sys.stdin.isatty():
        raise ConfigError("on AWS there is no prompt; give the query: shopstream sql 'SELECT …'")
    text = sys.stdin.read() if query is None else query
    _give(_athena(settings).ask(text), format, output, settings.sql_rows_max)


class _Asker:
    """Answers statements, each from the tables as they are published (or were, with `at`)."""

    def __init__(self, settings: "Settings", at: str | None) -> None:
        from shopstream.ask.box import bound_memory
        from shopstream.ask.tables import published

        self.settings = settings
        self._at = at
        self._published: Callable[[], Published] = lambda: published(settings)
        self._box: Box | None = None
        self.tables()  # says at once when there are none
        bound_memory(settings)

    def tables(self) -> "Published":
        return self._published()

    def answer(self, text: str, format: AnswerFormat | None, output: Path | None = None) -> None:
        found = self._box_for(text).ask(text)
        _give(found, format, output, self.settings.sql_rows_max)

    def box_of(self, table: str) -> "Box":
        """A box to export `table` from."""
        from shopstream.ask.box import Box

        return Box(self.settings, self._then([table]))

    def _box_for(self, text: str) -> "Box":
        """The box of the last statement, unless there was a build since; with `at` one that has
        only what the statement names.
        """
        from shopstream.ask.box import Box

        found = self.tables()
        if self._box is None or self._box.tables.build != found.build:
            self._box = Box(self.settings, found)
        if self._at is None:
            return self._box
        return Box(self.settings, self._then(self._box.judge(text).tables))

    def _then(self, names: Collection[str]) -> "Published":
        """The tables, with `at` those of `names` as they were (live ones are always as now)."""
        from shopstream.ask.travel import as_of, point_of

        found = self.tables()
        if self._at is None:
            return found
        return as_of(found, point_of(self._at), [name for name in names if name in found.models])


def _prompt(asker: _Asker, format: AnswerFormat | None) -> None:
    from shopstream.ask.prompt import WELCOME, run_prompt
    from shopstream.ask.tables import describe as described
    from shopstream.ask.tables import list_tables

    def do(kind: str, text: str) -> None:
        if kind == "sql":
            asker.answer(text, format)
        elif kind == ".tables":
            show(list_tables(asker.settings), "table", known_table_rows)
        else:
            _show_described(described(asker.settings, text), "table")

    say(WELCOME)
    _tell_what_waits(asker.settings)
    run_prompt(asker.settings.data_dir / "run", asker.tables, do, say)


@contextmanager
def _ending(*, prompting: bool = False) -> Iterator[None]:
    """Ends as a command does: Ctrl-C, however often, with 130, a reader that went away quietly,
    and a query that can't be stopped by ending the process. When `prompting`, Ctrl-C may come
    again for another statement. Where SIGINT is ignored already, as in the background of a shell
    script, it stays so.

    Python isn't taken down in order after Ctrl-C: a query that was cut short may hold objects of
    DuckDB's yet, and each of them would be complained of.
    """
    from shopstream.ask.box import Stuck

    def cancel(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupt(signum, frame)

    if not prompting and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, cancel)
    try:
        yield
    except KeyboardInterrupt:
        say("cancelled")
        leave(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Stuck as e:
        say(f"error: {e}")
        leave(2)


def _tell_what_waits(settings: "Settings") -> None:
    from shopstream.ask.waiting import events_waiting

    if waiting := events_waiting(settings):
        are = f"{counted(waiting, 'events')} {'is' if waiting == 1 else 'are'}"
        say(f"notice: {are} not in the tables yet; run `shopstream build`")
    _tell_what_is_old(settings)


def _tell_what_is_old(settings: "Settings") -> None:
    from shopstream.ask.waiting import kept_back

    for table, made_of_it in kept_back(settings).items():
        also = f", and so {', '.join(made_of_it)}" if made_of_it else ""
        say(
            f"notice: {table} is as it was before its last build, which failed its tests{also};"
            " see `shopstream doctor`"
        )


def _ending_of(output: Path | None, *known: Known) -> Known | None:
    """The format that a file's name says, None for a name without an ending. Raises ConfigError for
    another ending than these: what is in the file would not be what its name says.
    """
    ending = output.suffix.lower().removeprefix(".") if output else ""
    for format in known:
        if ending == format:
            return format
    if ending:
        raise ConfigError(
            f"--output {output}: the ending says none of {', '.join(known)}; give --format as well"
        )
    return None


def _usual(output: Path | None) -> AnswerFormat:
    return "table" if output is None and sys.stdout.isatty() else "json"


def _give(
    answer: "Answer", format: AnswerFormat | None, output: Path | None, rows_max: int
) -> None:
    """Show an answer, or write it, as asked for."""
    wanted = format or _usual(output)
    if wanted == "table" and output is None:
        _show_answer(answer, rows_max)
    elif wanted == "table":
        raise ConfigError("--format table is for the terminal; a file can be csv, json or parquet")
    else:
        _write(answer, wanted, output)


def _write(answer: "Answer", format: "FileFormat", output: Path | None) -> None:
    from shopstream.ask.export import whole_file
    from shopstream.ask.formats import WRITERS

    if output is None:
        terminal = sys.stdout.isatty()
        if format == "parquet" and terminal:
            raise ConfigError("Parquet is not for a terminal; name a file with -o")
        sink: Any = _Terminal() if terminal else sys.stdout.buffer
        with nullcontext(sink) as out:
            WRITERS[format](answer, out)
            out.flush()
        return
    with whole_file(output) as file:
        rows = WRITERS[format](answer, file)
    say(f"{counted(rows, 'rows')} in {output}")


class _Terminal:
    """Standard output for CSV and JSON on a terminal: no sender's text moves the cursor."""

    closed = False

    def write(self, data: bytes) -> int:
        text = bytes(data).decode("utf-8", "replace")
        sys.stdout.write("\n".join(map(shown_text, text.split("\n"))))
        return len(data)

    def flush(self) -> None:
        sys.stdout.flush()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        pass


def _show_answer(answer: "Answer", rows_max: int) -> None:
    from itertools import islice

    from rich.console import Console

    from shopstream.ask.formats import rows_of, unique

    rows = list(islice(rows_of(answer), rows_max + 1))
    if list(answer.schema.names) == ["explain_key", "explain_value"]:
        for _, plan in rows:
            print("\n".join(map(shown_text, str(plan).split("\n"))))
        return
    console = Console()
    console.print(answer_table(unique(answer.schema.names), rows[:rows_max], console.width))
    if len(rows) > rows_max:
        say(f"only the first {rows_max:,} rows are shown (sql_rows_max); --format csv gives all")


def _show_described(found: "Described", format: Any) -> None:
    if format != "json" and (format == "table" or sys.stdout.isatty()):
        plain = as_rows([found])[0]
        facts = {name: plain[name] for name in ("rows", "snapshot", "built_at")}
        print(f"{found.table}: {found.description}")
        print(f"one row for each {', '.join(found.grain)}")
        print(", ".join(f"{n.replace('_', ' ')} {v}" for n, v in facts.items() if v is not None))
        show(as_rows(found.columns), "table", columns=("name", "type", "description"))
    else:
        show(found, format)
