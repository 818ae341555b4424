"""A file's rows as our events, by a mapping. Pure but for its clock: same rows, same bytes.

Orders are gathered from rows that need not be next to each other: an order is complete when
`look_back_lines` further lines have not been its own, so memory holds that many lines at most,
plus those of orders that are still growing.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from operator import itemgetter, methodcaller
from typing import Any, NamedTuple

import msgspec

from shopstream.cells import ABSENT, Clock, Reader, negated, reader_of
from shopstream.errors import SourceError
from shopstream.events import Failure, Rejection
from shopstream.mapping import FieldRule, Mapping
from shopstream.mapping_options import did_you_mean
from shopstream.records import Record

ORDER_LINES_MAX = 10_000
"""As many lines as validation allows an order; further rows make another order of the same id."""

Cell = Callable[[Any], Any]

_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


class Item(NamedTuple):
    """What a row or an order has become: an event, or a Rejection as JSON. `line` is its first."""

    raw: bytes
    line: int
    units: int = 1
    rejected: bool = False


class MappedRows:
    """Applies a mapping to rows. `columns` are the file's; empty for rows that are objects.

    Raises SourceError when the file lacks columns that the mapping reads.
    """

    def __init__(
        self, mapping: Mapping, columns: Sequence[str], clock: Clock, bytes_max: int, where: str
    ) -> None:
        self._mapping = mapping
        self._clock = clock
        self._bytes_max = bytes_max
        self._columns = list(columns)
        if columns:
            _ensure_columns(mapping, columns, where)
        used = set(mapping.columns)
        self._used = used
        self._spare = [(i, name) for i, name in enumerate(columns) if name not in used]
        self._fields = self._readers(mapping.fields)
        self._line_fields = self._readers(mapping.lines)
        self._group = self._cell(mapping.group_by) if mapping.group_by else None
        # The same order placed and paid is two, whose lines must not be added up.
        status = mapping.fields.get("status")
        self._status = self._cell(status.column if status else "")
        self._of_lines = {rule.column for rule in mapping.lines.values()} | {mapping.group_by}
        self._of_order = [(i, n) for i, n in enumerate(columns) if n not in self._of_lines]
        self._when = [(w, self._cell(w.column)) for w in mapping.when]

    def items(self, records: Iterable[Record], skip: int = 0) -> Iterator[Item]:
        """Events and rejections in order, the first `skip` left out (and hardly looked at)."""
        if self._mapping.as_is:
            made = self._as_they_are(records, skip)
        elif self._group is None:
            made = self._row_by_row(records, skip)
        else:
            made = self._grouped(self._group, records, skip)
        for item in made:
            if len(item.raw) > self._bytes_max and not item.rejected:
                yield self._too_large(item)
            else:
                yield item

    def _as_they_are(self, records: Iterable[Record], skip: int) -> Iterator[Item]:
        for n, record in enumerate(records):
            if n < skip:
                continue
            if record.failure is not None:
                yield self._rejection(record)
            else:
                self._clock.saw(_time_of(record.cells))
                yield Item(record.cells, record.line)

    def _row_by_row(self, records: Iterable[Record], skip: int) -> Iterator[Item]:
        is_order = self._mapping.topic == "orders"
        for n, record in enumerate(records):
            if n < skip:
                continue
            if record.failure is not None:
                yield self._rejection(record)
            elif is_order:
                yield self._order([record])
            else:
                yield Item(_encode(self._event(record.cells)), record.line)

    def _grouped(self, group: Cell, records: Iterable[Record], skip: int) -> Iterator[Item]:
        for n, found in enumerate(self._groups(group, records)):
            if n < skip:
                continue
            yield self._rejection(found) if isinstance(found, Record) else self._order(found)

    def _groups(self, group: Cell, records: Iterable[Record]) -> Iterator[Record | list[Record]]:
        """Rows of one order each, the one whose last row is longest ago first; bad rows at once."""
        look_back = self._mapping.look_back_lines
        growing: OrderedDict[Any, list[Record]] = OrderedDict()
        for record in records:
            if record.failure is not None:
                yield record
                continue
            key = group(record.cells)
            # Rows that name no order have nothing in common but that.
            known_by = (str(key), str(self._status(record.cells)))
            key = record.line if key in ("", None) else known_by
            rows = growing.get(key)
            if rows is not None and len(rows) >= ORDER_LINES_MAX:
                yield growing.pop(key)
                rows = None
            if rows is None:
                growing[key] = [record]
            else:
                rows.append(record)
                growing.move_to_end(key)
            while (oldest := next(iter(growing.values())))[-1].line + look_back <= record.line:
                yield oldest
                growing.popitem(last=False)
        yield from growing.values()

    def _event(self, cells: Any) -> dict[str, Any]:
        event = {}
        for name, cell, read in self._fields:
            value = read(cell(cells))
            if value is not ABSENT:
                event[name] = value
        for when, cell in self._when:
            if when.fits(cell(cells)):
                event |= when.set
                for name in when.negate:
                    if name in event:
                        event[name] = negated(event[name])
        if extra := self._extra(cells):
            event["extra"] = extra
        return event

    def _order(self, rows: list[Record]) -> Item:
        event = self._event(rows[0].cells)
        first = self._order_cells(rows[0].cells)
        event["lines"] = [self._line(row, first) for row in rows]
        if self._mapping.number_lines == "order":
            for number, line in enumerate(event["lines"], 1):
                line["line"] = number
        by_lines = self._mapping.on_bad_line == "quarantine_line"
        return Item(_encode(event), rows[0].line, len(rows) if by_lines else 1)

    def _line(self, row: Record, first: dict[str, Any]) -> dict[str, Any]:
        line: dict[str, Any] = {}
        for name, cell, read in self._line_fields:
            value = read(cell(row.cells))
            if value is not ABSENT:
                line[name] = value
        for when, cell in self._when:
            if when.negate and when.fits(cell(row.cells)):
                line |= {name: negated(line[name]) for name in when.negate if name in line}
        line["line"] = row.line
        own = self._order_cells(row.cells)
        if own != first:
            line["extra"] = {k: v for k, v in own.items() if k not in first or first[k] != v}
        return line

    def _order_cells(self, cells: Any) -> dict[str, Any]:
        """What a row says about its order rather than about its line."""
        if isinstance(cells, dict):
            return {k: v for k, v in cells.items() if k not in self._of_lines}
        return {name: cells[i] for i, name in self._of_order}

    def _extra(self, cells: Any) -> dict[str, Any]:
        """What no field reads, without empty cells."""
        if isinstance(cells, dict):
            return {k: v for k, v in cells.items() if k not in self._used and v not in ("", None)}
        return {name: cells[i] for i, name in self._spare if cells[i] not in ("", None)}

    def _readers(self, rules: dict[str, FieldRule]) -> list[tuple[str, Cell, Reader]]:
        return [
            (name, self._cell(rule.column), reader_of(rule, self._clock))
            for name, rule in rules.items()
        ]

    def _cell(self, column: str) -> Cell:
        if column and not self._columns:
            return methodcaller("get", column)
        if column not in self._columns:
            return lambda _cells: None
        return itemgetter(self._columns.index(column))

    def _rejection(self, record: Record) -> Item:
        failures = [record.failure] if record.failure else []
        rejection = Rejection(
            topic=self._mapping.topic, failures=failures, raw=record.raw, line=record.line
        )
        return Item(msgspec.json.encode(rejection), record.line, 1, rejected=True)

    def _too_large(self, item: Item) -> Item:
        wanted = f"at most {self._bytes_max} bytes"
        rejection = Rejection(
            topic=self._mapping.topic,
            failures=[Failure("too_large", "event", f"{len(item.raw)} bytes", wanted)],
            raw=item.raw,
            units=item.units,
            line=item.line,
        )
        return Item(msgspec.json.encode(rejection), item.line, item.units, rejected=True)


def _ensure_columns(mapping: Mapping, columns: Sequence[str], where: str) -> None:
    missing = [c for c, optional in mapping.columns.items() if not optional and c not in columns]
    if missing:
        raise SourceError(
            f"{where}: has no column {missing[0]!r}, which mapping {mapping.name} reads"
            f"{did_you_mean(missing[0], list(columns))}"
        )


class _Timed(msgspec.Struct, gc=False):
    timestamp: msgspec.Raw = msgspec.Raw()


_decode_timed = msgspec.json.Decoder(_Timed).decode


def _time_of(raw: bytes) -> int:
    """The time of one of our own events in microseconds, 0 when it has none that can be read."""
    try:
        time = msgspec.json.decode(_decode_timed(raw).timestamp, type=datetime)
        return round(time.timestamp() * 1e6)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return 0
