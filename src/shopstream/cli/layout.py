"""How rows are laid out on a terminal: ids, times and numbers whole, however narrow it is."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.padding import Padding
    from rich.table import Table

Rows = Sequence[Mapping[str, Any]]
WIDTH = 80
SHORT = 12
"""Cells of at most so many characters stay on one line."""
ID_MOST = 60
"""So do ids, addresses and times, unless one is longer than this."""
PROSE_LEAST, PROSE_WANTED, WORD_MOST = 20, 30, 40
"""The narrowest that sentences are set at: the longer they are and their words, the wider."""
BETWEEN, EDGE, INDENT = 3, 1, 4
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?")


class _Column(NamedTuple):
    """A column, the narrowest that it can be read at and the widest that it has use for."""

    head: str
    cells: list[str]
    numbers: bool
    prose: bool
    least: int
    most: int


def as_table(rows: Rows, columns: Sequence[str] = (), width: int = WIDTH) -> "RenderableType":
    """Rows as a table of `columns`, by default every key that some row has a value for.

    What doesn't fit into `width` characters goes below its row: sentences first, then whatever
    comes last. The first column names the row and stays.
    """
    names = list(columns) or list(dict.fromkeys(k for row in rows for k, v in row.items() if v))
    found = [_column(name, rows, first=place == 0) for place, name in enumerate(names)]
    beside = list(found)
    while len(beside) > 1 and _width(beside) > width:
        prose = [column for column in beside[1:] if column.prose]
        beside.remove((prose or beside)[-1])
    if len(beside) == len(found):
        return _grid(found)
    return _stack(beside, [column for column in found if column not in beside], width)


def _column(name: str, rows: Rows, *, first: bool) -> _Column:
    values = [row.get(name) for row in rows]
    head, cells = shown_text(name.replace("_", " ")), [cell_text(value) for value in values]
    most = max(map(_wide, (head, *cells)))
    whole = most <= SHORT or (most <= ID_MOST and (first or all(map(_unbroken, cells))))
    word = max((_wide(word) for cell in cells for word in cell.split()), default=0)
    sentence = max(PROSE_LEAST, min(most // 3, PROSE_WANTED), min(word, WORD_MOST))
    return _Column(
        head,
        cells,
        numbers=all(isinstance(value, int | float | None) for value in values),
        prose=not whole,
        least=most if whole else min(most, sentence),
        most=most,
    )


def _unbroken(cell: str) -> bool:
    return " " not in cell or _TIME.fullmatch(cell) is not None


def _wide(text: str) -> int:
    """The places that a text takes on a terminal: some characters take two."""
    from rich.cells import cell_len

    return cell_len(text)


def _width(columns: Sequence[_Column]) -> int:
    return sum(c.least for c in columns) + BETWEEN * (len(columns) - 1) + 2 * EDGE


def _grid(columns: Sequence[_Column]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            Text(column.head),
            justify="right" if column.numbers else "left",
            overflow="fold",
            no_wrap=not column.prose,
            min_width=column.least,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _stack(beside: Sequence[_Column], below: Sequence[_Column], width: int) -> "RenderableType":
    """Rows that go on below themselves. The first sentence there needs no name, as every row has
    it; all else is told with its name, where there is something to tell.
    """
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    widths = _widths(beside, width)
    rule = "─" * (sum(widths) + BETWEEN * (len(widths) - 1))
    heads = [column.head for column in beside]
    shown: list[RenderableType] = ["", _line(beside, widths, heads, style="bold"), f" {rule}"]
    told = sorted(below, key=lambda column: not column.prose)
    for place in range(len(beside[0].cells)):
        shown.append(_line(beside, widths, [column.cells[place] for column in beside]))
        for column in told:
            if cell := column.cells[place]:
                named = cell if column is told[0] and column.prose else f"{column.head}: {cell}"
                shown.append(Padding(Text(named, overflow="fold"), (0, 0, 0, INDENT)))
    return Group(*shown, "")


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """How wide each is: what room is left goes to the sentences, from the first on."""
    room = max(0, width - _width(columns))
    found = []
    for column in columns:
        more = min(room, column.most - column.least)
        room -= more
        found.append(column.least + more)
    return found


def _line(
    columns: Sequence[_Column], widths: Sequence[int], cells: Sequence[str], style: str = ""
) -> "Padding":
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, BETWEEN, 0, 0), pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        line.add_column(
            justify="right" if column.numbers else "left", width=width, overflow="fold", style=style
        )
    line.add_row(*map(Text, cells))
    return Padding(line, (0, 0, 0, EDGE))


def cell_text(value: Any) -> str:
    """A value as a table shows it; "" for none."""
    match value:
        case None | "" | [] | {}:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}"
        case str():
            return shown_text(value)
        case list() if all(isinstance(v, str | int) for v in value):
            return shown_text(", ".join(str(v) for v in value))
        case _:
            return shown_text(msgspec.json.encode(value, enc_hook=str).decode())


def shown_text(text: str) -> str:
    """`text` as a terminal may have it: what senders wrote must not move the cursor."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    return char if char.isprintable() else f"\\u{ord(char):04x}"
