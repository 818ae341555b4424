"""Rows of CSV, NDJSON and Parquet files, each with its line number; bad ones don't spoil others.

CSV is taken apart line by line here: a line without quotes is one `split`, any other goes through
the standard library's reader alone. So the line number is right after quoted newlines too, the
raw bytes of a bad row are at hand, and a quote that never closes costs its own line only.
Measured on REES46 rows, one core: 820,000 rows/s, the csv module alone 1,210,000, pyarrow.csv with
its columns as Python values 720,000; making events of the rows (180,000/s) is what takes the time.
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from shopstream.errors import SourceError
from shopstream.events import Failure
from shopstream.mapping import FileFormat

LINE_BYTES_MAX = 1536 * 1024
QUOTED_LINES_MAX = 1_000
PARQUET_ROWS = 5_000
BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One row. `cells` is a list in the columns' order, an object by name, or None if bad."""

    line: int
    cells: Any
    raw: bytes = b""
    failure: Failure | None = None


class Lines:
    """Physical lines of a file with their numbers. A line taken back comes again."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._back: deque[bytes] = deque()
        self.number = 0

    def take(self) -> bytes:
        """The next line with its line end, b"" at the end of the file."""
        line = self._back.popleft() if self._back else self._stream.readline(LINE_BYTES_MAX + 1)
        if line:
            self.number += 1
            if self.number == 1:
                line = line.removeprefix(BOM) or b"\n"
        return line

    def give_back(self, lines: Sequence[bytes]) -> None:
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)

    def too_long(self, line: bytes) -> bool:
        """Whether the line just taken is longer than a row may be; its rest is passed over."""
        if len(line) <= LINE_BYTES_MAX:
            return False
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(LINE_BYTES_MAX)
        return True


def _overlong(line: int, raw: bytes) -> Record:
    wanted = f"at most {LINE_BYTES_MAX} bytes (these are the first)"
    raw = raw[:LINE_BYTES_MAX]
    return Record(line, None, raw, Failure("too_large", "line", "a longer line", wanted))


class CsvFile:
    """A CSV file: `columns` from its header (or the mapping), then its rows.

    Raises SourceError when there is no usable header.
    """

    def __init__(self, path: Path, stream: IO[bytes], format: FileFormat, *, tabbed: bool) -> None:
        self._lines = Lines(stream)
        self._encoding = "utf-8" if format.encoding == "utf-8-sig" else format.encoding
        self._delimiter = format.delimiter or ("\t" if tabbed else ",")
        self._quote = format.quote
        self._quote_byte = format.quote.encode(self._encoding)
        self.columns = list(format.columns) or self._header(path)

    def _header(self, path: Path) -> list[str]:
        first = next(self._rows(0), None)
        if first is None:
            raise SourceError(f"{path}: has no lines, not even a header")
        if first.failure is not None:
            raise SourceError(f"{path}: its first line is no header: {first.failure.message}")
        names = [name.strip() for name in first.cells]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise SourceError(f"{path}: its header has the column {twice[0]!r} more than once")
        return names

    def records(self) -> Iterator[Record]:
        return self._rows(len(self.columns))

    def _rows(self, width: int) -> Iterator[Record]:
        """Rows of `width` cells, of any number when it is 0. Empty lines are passed over."""
        lines, delimiter, quote, encoding = (
            self._lines,
            self._delimiter,
            self._quote_byte,
            self._encoding,
        )
        while line := lines.take():
            number = lines.number
            if lines.too_long(line):
                yield _overlong(number, line)
                continue
            bare = line.rstrip(b"\r\n")
            if not bare.strip():
                continue
            try:
                text = bare.decode(encoding)
            except UnicodeDecodeError as e:
                yield Record(number, None, bare, self._wrong_encoding(e))
                continue
            quoted = quote and quote in bare
            cells = self._quoted(line, width) if quoted else text.split(delimiter)
            if cells is None or (width and len(cells) != width):
                yield Record(number, None, bare, _ragged(cells, width))
            else:
                yield Record(number, cells)

    def _wrong_encoding(self, error: UnicodeDecodeError) -> Failure:
        wanted = f'{self._encoding}; if the whole file is, say encoding = "latin-1" in the mapping'
        return Failure("encoding", "line", f"byte {error.start}", wanted)

    def _quoted(self, first: bytes, width: int) -> list[str] | None:
        """The cells of a row that starts with the line `first`, None if its quotes don't close.

        Lines that turn out not to belong to it are given back.
        """
        more: list[bytes] = []
        with suppress(csv.Error, UnicodeDecodeError):
            reader = csv.reader(
                self._text_of(first, more),
                delimiter=self._delimiter,
                quotechar=self._quote,
                strict=True,
            )
            cells = next(reader)
            if not more or not width or len(cells) == width:
                return cells
        self._lines.give_back(more)
        return None

    def _text_of(self, first: bytes, more: list[bytes]) -> Iterator[str]:
        yield first.decode(self._encoding)
        size = len(first)
        while len(more) < QUOTED_LINES_MAX and size <= LINE_BYTES_MAX:
            line = self._lines.take()
            if not line:
                break
            more.append(line)
            size += len(line)
            yield line.decode(self._encoding)
        raise csv.Error("a quote is never closed")


def _ragged(cells: list[str] | None, width: int) -> Failure:
    if cells is None:
        return Failure("columns", "line", "a quote that never closes", f"{width or 'some'} columns")
    return Failure("columns", "line", f"{len(cells)} columns", f"{width}, as the header has")


_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


def json_records(stream: IO[bytes]) -> Iterator[Record]:
    """Objects of an NDJSON file. Empty lines are passed over."""
    lines = Lines(stream)
    while line := lines.take():
        number = lines.number
        if lines.too_long(line):
            yield _overlong(number, line)
            continue
        bare = line.strip()
        if not bare:
            continue
        try:
            yield Record(number, _decode(bare))
        except UnicodeDecodeError as e:
            yield Record(number, None, bare, Failure("encoding", "line", str(e.start), "UTF-8"))
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as e:
            why = str(e).split(" - at ")[0][:200]
            yield Record(number, None, bare, Failure("json", "line", why, "a JSON object"))


def raw_records(stream: IO[bytes]) -> Iterator[Record]:
    """Lines of an NDJSON file untouched, for events that are ours already."""
    lines = Lines(stream)
    while line := lines.take():
        number = lines.number
        if lines.too_long(line):
            yield _overlong(number, line)
        elif bare := line.strip():
            yield Record(number, bare)


class ParquetFile:
    """A Parquet file's columns and rows; a row's number is its line. Raises SourceError."""

    def __init__(self, path: Path) -> None:
        import pyarrow  # type: ignore[import-untyped]  # it ships no types
        import pyarrow.parquet as parquet  # type: ignore[import-untyped]  # it ships no types

        try:
            self._file: Any = parquet.ParquetFile(path)
        except (pyarrow.ArrowException, OSError) as e:
            raise SourceError(f"{path}: can't be read as Parquet: {e}") from None
        self._path = path
        self.columns: list[str] = list(self._file.schema_arrow.names)

    def records(self) -> Iterator[Record]:
        import pyarrow

        number = 0
        try:
            for batch in self._file.iter_batches(batch_size=PARQUET_ROWS):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    # pandas writes a missing number as NaN.
                    yield Record(number, [None if cell != cell else cell for cell in row])
        except (pyarrow.ArrowException, OSError) as e:
            raise SourceError(f"{self._path}: is damaged after row {number}: {e}") from None
