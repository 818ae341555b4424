"""An answer as CSV, JSON or Parquet, written batch by batch.

Amounts stay exact: decimals are text in JSON, as everywhere in shopstream, and digits in CSV. Times
are UTC, RFC 3339. What JSON has no number for is text: "NaN", "Infinity". CSV cells of text that a
spreadsheet would run as a formula get a `'` in front; numbers keep their minus sign.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import IO, Any, Literal, Protocol, TypeAlias

import msgspec

from shopstream.domain.formulas import FORMULA, harmless


class Answer(Protocol):
    """What a query gives: its columns (a `pyarrow.Schema`), and its rows, once."""

    schema: Any

    def batches(self) -> Iterator[Any]:
        """The rows as `pyarrow.RecordBatch`es."""
        ...


FileFormat: TypeAlias = Literal["csv", "json", "parquet"]

_UNSEEN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_NO_NUMBER = {math.inf: "Infinity", -math.inf: "-Infinity"}
_EVER, _EVER_DATE = (1 << 63) - 1, (1 << 31) - 1
_ENDLESS = {_EVER: "infinity", -_EVER: "-infinity"}
_ENDLESS |= {_EVER_DATE: "infinity", -_EVER_DATE: "-infinity"}
"""How DuckDB stores times that never come, whatever their unit, and dates, and how it says them."""
_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
"""When they begin, in seconds: what lies outside Python has no value for, and of years after 32,767
Arrow says others.
"""
_PER_S = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def write_json(answer: Answer, out: IO[bytes]) -> int:
    """The rows as an array of objects, one a line; returns how many."""
    names = unique(answer.schema.names)
    written = 0
    out.write(b"[")
    for row in rows_of(answer):
        line = msgspec.json.encode(dict(zip(names, row, strict=True)), enc_hook=str).decode()
        out.write(b",\n  " if written else b"\n  ")
        out.write(_UNSEEN.sub(lambda m: f"\\u{ord(m[0]):04x}", line).encode())
        written += 1
    out.write(b"\n]\n" if written else b"]\n")
    return written


def write_csv(answer: Answer, out: IO[bytes]) -> int:
    """The rows as CSV in UTF-8 with a header; NULL is an empty cell, empty text is `""`."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    import pyarrow.csv as csv  # type: ignore[import-untyped]  # it ships no types

    columns = [_csv_column(field.type) for field in answer.schema]
    names = [harmless(name) for name in unique(answer.schema.names)]
    kinds = [_csv_type(field.type) for field in answer.schema]
    written = 0
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    with csv.CSVWriter(out, schema) as writer:
        for batch in answer.batches():
            cells = [make(column) for make, column in zip(columns, batch.columns, strict=True)]
            writer.write_batch(pa.record_batch(cells, schema=schema))
            written += batch.num_rows
    return written


def write_parquet(answer: Answer, out: IO[bytes]) -> int:
    """The rows as Parquet, with the types they have."""
    import pyarrow as pa
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]  # it ships no types

    types = [pa.string() if _is_interval(f.type) else f.type for f in answer.schema]
    schema = pa.schema(list(zip(unique(answer.schema.names), types, strict=True)))
    written = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in answer.batches():
            cells = [
                _texts(column) if _is_interval(column.type) else column for column in batch.columns
            ]
            writer.write_batch(pa.record_batch(cells, schema=schema))
            written += batch.num_rows
    return written


WRITERS: dict[FileFormat, Callable[[Answer, IO[bytes]], int]] = {
    "csv": write_csv,
    "json": write_json,
    "parquet": write_parquet,
}


def rows_of(answer: Answer) -> Iterator[tuple[Any, ...]]:
    """The rows as plain values: what JSON takes, amounts as Decimal, times with their zone."""
    for batch in answer.batches():
        yield from zip(*map(_values, batch.columns), strict=True)


def unique(names: Sequence[str]) -> list[str]:
    """Names of columns, those that come again numbered: a, a_2."""
    found: list[str] = []
    for name in names:
        free, n = name, 1
        while free in found:
            n += 1
            free = f"{name}_{n}"
        found.append(free)
    return found


def _values(column: Any) -> list[Any]:
    try:
        found = column.to_pylist()
    except (OverflowError, ValueError):
        found = _far(column)
    return [_plain(value) for value in found]


def _far(column: Any) -> list[Any]:
    """Values of which some have times that Python has no value for, these as text."""
    return [_near_or_far(one) for one in column]


def _near_or_far(one: Any) -> Any:
    """A value; a time that Python has no value for (`infinity`, years after 9999) as text, also
    within lists, structs and maps.
    """
    import pyarrow.types as types  # type: ignore[import-untyped]  # it ships no types

    try:
        return one.as_py()
    except (OverflowError, ValueError):
        pass
    if types.is_struct(one.type):
        return {name: _near_or_far(one[name]) for name in one}
    if types.is_map(one.type):
        return [(_near_or_far(pair[0]), _near_or_far(pair[1])) for pair in one.values]
    if types.is_union(one.type):
        return _near_or_far(one.value)
    if types.is_nested(one.type):
        return [_near_or_far(value) for value in one.values]
    return _ENDLESS.get(one.value, f"{one.type}:{one.value}")


def _plain(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return _NO_NUMBER.get(value, "NaN")
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            # DuckDB's sums of whole numbers are decimals to Arrow.
            return int(value) if value.as_tuple().exponent == 0 else value
        case datetime():
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        case timedelta():
            return str(value)
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list():
            if value and all(isinstance(one, tuple) and len(one) == 2 for one in value):
                return {str(k): _plain(v) for k, v in value}  # a MAP
            return [_plain(one) for one in value]
        case tuple():
            months, days, nanoseconds = value  # an INTERVAL
            return f"{months} months {days} days {nanoseconds / 1e9:g} seconds"
        case _:
            return value


def _csv_type(kind: Any) -> Any:
    import pyarrow as pa

    return kind if _is_bare(kind) else pa.string()


def _is_bare(kind: Any) -> bool:
    """Whether Arrow writes it into CSV as it should be, and it can't be a formula."""
    import pyarrow.types as types

    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
    )


def _is_interval(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_interval(kind))


def _csv_column(kind: Any) -> Callable[[Any], Any]:
    import pyarrow.types as types

    if _is_bare(kind):
        return lambda column: column
    if types.is_timestamp(kind):
        return _times
    if types.is_date(kind):
        return _dates
    if types.is_string(kind) or types.is_large_string(kind):
        return _harmless_column
    return lambda column: _harmless_column(_texts(column))


def _times(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]  # it ships no types

    unit, per_s = column.type.unit, _PER_S[column.type.unit]
    first, after = max(_YEAR_1 * per_s, 1 - _EVER), min(_YEAR_10000 * per_s, _EVER)
    near = _within(column, pa.int64(), first, after)
    shown = pc.if_else(near, column.cast(pa.timestamp(unit)), None)
    return _with_far(column, near, pc.strftime(shown, format=_TIME))


def _dates(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    near = _within(column, pa.int32(), _YEAR_1 // 86_400, _YEAR_10000 // 86_400)
    return _with_far(column, near, pc.if_else(near, column, None).cast(pa.string()))


def _within(column: Any, stored_as: Any, first: int, after: int) -> Any:
    """Which values are stored as numbers from `first` up to `after`; NULL is."""
    import pyarrow.compute as pc

    stored = column.cast(stored_as)
    return pc.fill_null(pc.and_(pc.greater_equal(stored, first), pc.less(stored, after)), True)


def _with_far(column: Any, near: Any, shown: Any) -> Any:
    """What is shown of a column's near values, and all others as text."""
    import pyarrow.compute as pc

    if pc.all(near).as_py() in (True, None):
        return shown
    far = pc.invert(near)
    return pc.replace_with_mask(shown, far, _texts(column.filter(far)))


def _harmless_column(column: Any) -> Any:
    import pyarrow.compute as pc

    text = column.cast("string")
    return pc.replace_substring_regex(text, pattern=f"({FORMULA})", replacement="'\\1")


def _texts(column: Any) -> Any:
    """Values that CSV has no form for, as JSON; what is one text there (times of day, bytes as
    base64) as that text.
    """
    import pyarrow as pa

    return pa.array(map(_text, _values(column)), pa.string())


def _text(value: Any) -> str | None:
    plain = msgspec.to_builtins(value, enc_hook=str)
    if plain is None or isinstance(plain, str):
        return plain
    return msgspec.json.encode(plain).decode()
