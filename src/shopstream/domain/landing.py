"""What lands in the lake: an entry of the log and its position -> accepted and rejected lines.

The verdicts are those of `validation`, the form is that of `canonical`. What came twice, or
contradicts what came before, is no matter of one event: bronze has it as it arrived, and the silver
models keep the first.

Nearly every click passes each check, so clicks are looked at together, one property after the
other; only what fails one is looked at alone.
"""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import InvalidOperation
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from shopstream.domain.canonical import content_id, settle
from shopstream.domain.currencies import CURRENCIES
from shopstream.domain.dialects import read_message
from shopstream.domain.failures import UNREADABLE, Limits, too_deep
from shopstream.domain.validation import (
    Invalid,
    decode_click,
    plain,
    read_click,
    read_event,
    read_lines,
    reject,
    units_of,
)
from shopstream.errors import ShopstreamError
from shopstream.events import CartLine, Click, Entry, Event, Failure, Order, Rejection, Stock

QUARANTINE = "quarantine"
"""Topic of the files that hold what was rejected, of whatever topic it was."""
_BAD = (Invalid, InvalidOperation, OverflowError, *UNREADABLE)
_NOT_POISON = (ShopstreamError, OSError, MemoryError)
_HOUR_US = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURRENCIES: frozenset[str | None] = CURRENCIES | {None}
_PRICE = rb"(?:[1-9]\d{0,10}(?:\.\d{1,4})?|0(?:\.(?=\d*[1-9])\d{1,4})?)?"
"""A price that is canonical as it is written, or none. Of at most 15 digits, which a double holds:
the lake's engines take JSON numbers for doubles. An event with a longer amount has its amounts
written as strings.
"""
_is_price = re.compile(_PRICE).fullmatch
_are_prices = re.compile(rb"%b(?:,%b)*" % (_PRICE, _PRICE)).fullmatch
_PRICES = 32
"""Looked at together: among more there is one that is not as it should be too often."""
_NULL = b"null"
_NO_PRICE = Raw()


class _PlainClick(Click, forbid_unknown_fields=True, gc=False, omit_defaults=True, kw_only=True):
    """A click in which all fields are known, its price as it is written."""

    price: Raw = _NO_PRICE  # type: ignore[assignment]  # decoding and encoding decimals costs a third


_decode_plain = msgspec.json.Decoder(_PlainClick).decode
_decode_rejection = msgspec.json.Decoder(Rejection).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_exactly = msgspec.json.Encoder(decimal_format="string").encode
_LONG_AMOUNT = re.compile(
    rb'"(?:price|unit_price|amount|shipping|tax|discount)":\d[\d.]{16}'
).search


class Range(NamedTuple):
    """Log positions [first, after), both starts of rows."""

    first: int
    after: int


class Extent(NamedTuple):
    """Where a row of the log is, when it was appended (microseconds UTC), its events' bytes."""

    position: int
    next: int
    appended_us: int
    size: int


class NewFile(NamedTuple):
    """A bronze file of a range. `name` is relative to the data directory; `days` are the event
    days ('YYYY-MM-DD') in it, sorted, for `quarantine` the arrival day; `arrived` is the arrival
    hour, 'YYYY-MM-DDTHH'.
    """

    name: str
    topic: str
    rows: int
    bytes: int
    sha256: str
    days: list[str]
    arrived: str


class QuarantineLine(Struct, kw_only=True):
    """A rejected event in the lake. `raw` is base64, as msgspec writes bytes."""

    position: int
    n: int
    received_at: str
    source: str
    topic: str
    reason: str
    failures: list[Failure]
    line: int | None
    origin: str
    units: int
    raw: bytes


class Lines(NamedTuple):
    """Lines of JSON in one text, each with its end: joined once, for they are most of the work."""

    text: bytes
    rows: int

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> "Lines":
        """Lines that come without their ends."""
        return cls(b"\n".join([*lines, b""]), len(lines))

    def each(self) -> list[bytes]:
        """The lines, without their ends."""
        return self.text.split(b"\n")[:-1]


class Landing(NamedTuple):
    """What one entry amounts to, all of which arrived in one hour.

    `lines` by topic (`quarantine` for rejections), in the order of positions; `days` by topic,
    event days as 'YYYY-MM-DD'; `tally` by (topic, source, reason) in the ledger's units, the reason
    of accepted events being empty.
    """

    lines: dict[str, Lines]
    days: dict[str, set[str]]
    tally: Counter[tuple[str, str, str]]


def land(entry: Entry, position: int, limits: Limits) -> Landing:
    """The lines of an entry whose first event is at `position` of the log.

    An event that makes the code fail is rejected as poison and its neighbours are not.
    """
    if entry.dialect == "resolved":
        return Landing({}, {}, Counter())
    try:
        return _Lander(entry, position, limits).land()
    except _NOT_POISON:
        raise
    except Exception:  # noqa: BLE001  # which event failed is found out one by one
        return _together(_carefully(entry, position, limits))


def _carefully(entry: Entry, position: int, limits: Limits) -> Iterator[Landing]:
    for n, raw in enumerate(entry.events):
        lines = [entry.lines[n]] if entry.lines else []
        one = msgspec.structs.replace(entry, events=[raw], lines=lines)
        try:
            yield _Lander(one, position + n, limits).land()
        except _NOT_POISON:
            raise
        except Exception as e:  # noqa: BLE001  # poison: whatever it raises
            wanted = f"an event that can be processed ({type(e).__name__}: {e})"[:500]
            failure = Failure("poison", "event", "this event", wanted)
            units = units_of(entry.topic, raw, entry.on_bad_line)
            lander = _Lander(one, position + n, limits)
            yield lander.refusal(
                Rejection(topic=entry.topic, failures=[failure], raw=raw, units=units)
            )


def _together(parts: Iterable[Landing]) -> Landing:
    whole = Landing({}, {}, Counter())
    texts: dict[str, list[Lines]] = {}
    for part in parts:
        for topic, lines in part.lines.items():
            texts.setdefault(topic, []).append(lines)
        for topic, days in part.days.items():
            whole.days.setdefault(topic, set()).update(days)
        whole.tally.update(part.tally)
    for topic, some in texts.items():
        text = b"".join([lines.text for lines in some])
        whole.lines[topic] = Lines(text, sum(lines.rows for lines in some))
    return whole


def arrival_hour(received_us: int) -> str:
    """The hour of arrival, 'YYYY-MM-DDTHH' UTC."""
    return _time(received_us).isoformat()[:13]


def file_name(topic: str, hour: str, first: int, after: int) -> str:
    """The bronze file of the events that arrived in `hour` with positions in [first, after)."""
    day, of_day = hour.split("T")
    # Twenty digits, as many as 2^64 has: names sort as positions do.
    return f"bronze/{topic}/dt={day}/hour={of_day}/{first:020d}-{after - 1:020d}.json.zst"


def cut(extents: Iterable[Extent], events_max: int, bytes_max: int) -> list[Range]:
    """Rows that follow each other -> the ranges in which they are landed: of one hour each, of at
    most so many events and bytes as far as rows, which are never cut, allow it.
    """
    ranges: list[Range] = []
    first = after = size = hour = 0
    for row in extents:
        row_hour = row.appended_us // _HOUR_US
        full = row.next - first > events_max or size + row.size > bytes_max
        if after and (full or row_hour != hour):
            ranges.append(Range(first, after))
            after = 0
        if not after:
            first, size, hour = row.position, 0, row_hour
        after, size = row.next, size + row.size
    return [*ranges, Range(first, after)] if after else ranges


def _time(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


class _Lander:
    """One entry on its way to lines."""

    def __init__(self, entry: Entry, position: int, limits: Limits) -> None:
        self._entry = entry
        self._position = position
        self._limits = limits
        self._received_at = _time(entry.received_us).isoformat(timespec="microseconds")[:-6] + "Z"
        self._lines: dict[str, list[bytes]] = {}
        self._days: dict[str, set[str]] = {}
        self._tally: Counter[tuple[str, str, str]] = Counter()
        self._joined: dict[str, Lines] = {}

    def land(self) -> Landing:
        """What the entry comes to."""
        entry = self._entry
        if entry.dialect == "rejected":
            for at, raw in enumerate(entry.events):
                self._refuse(_decode_rejection(raw), at, 0)
        elif entry.dialect != "shopstream":
            self._translate()
        elif entry.topic == "clicks":
            self._clicks()
        else:
            for at, raw in enumerate(entry.events):
                self._take(entry.topic, raw, at, 0)
        return self._landing()

    def refusal(self, rejection: Rejection) -> Landing:
        """What an entry of one event comes to that is rejected whatever it is."""
        self._refuse(rejection, 0, 0)
        return self._landing()

    def _landing(self) -> Landing:
        joined = {topic: Lines.of(lines) for topic, lines in self._lines.items()}
        return Landing(joined | self._joined, self._days, self._tally)

    def _translate(self) -> None:
        for at, raw in enumerate(self._entry.events):
            found = read_message(self._entry, raw)
            if isinstance(found, Rejection):
                self._refuse(found, at, 0)
                continue
            n = 0
            for topic, event in found:
                n = self._take(topic, event, at, n, translated=True)

    # --- one event ----------------------------------------------------------------------------

    def _take(self, topic: str, raw: bytes, at: int, n: int, *, translated: bool = False) -> int:
        """Judge the event at place `at` of the entry; its lines are numbered from `n` on. Returns
        the next number.
        """
        event, rejections, kept = self._read(topic, raw)
        if event is not None:
            settle(event, kept)
            if isinstance(event, Click | CartLine | Stock) and event.event_id is None:
                event.event_id = content_id(event)
            self._accept(topic, event, at, n)
            n += 1
        for rejection in rejections:
            self._refuse(rejection, at, n, numbered=not translated)
            n += 1
        return n

    def _read(self, topic: str, raw: bytes) -> tuple[Event | None, list[Rejection], bytes]:
        received_us, limits = self._entry.received_us, self._limits
        if topic == "clicks":
            try:
                return read_click(raw, received_us, limits)[0], [], raw
            except _BAD:
                return None, [reject(topic, raw, received_us, limits)], raw
        if topic == "orders" and self._by_line:
            return read_lines(raw, received_us, limits)
        found = read_event(topic, raw, received_us, limits)
        return (None, [found], raw) if isinstance(found, Rejection) else (found, [], raw)

    @property
    def _by_line(self) -> bool:
        return self._entry.on_bad_line == "quarantine_line"

    def _accept(self, topic: str, event: Event, at: int, n: int) -> None:
        units = len(event.lines) if isinstance(event, Order) and self._by_line else 1
        self._tally[topic, self._entry.source, ""] += units
        self._days.setdefault(topic, set()).add(event.timestamp.date().isoformat())
        head = b'{"position":%d,"n":%d%b' % (self._position + at, n, self._facts(topic))
        self._add(topic, head + _written(event)[1:])

    def _facts(self, topic: str) -> bytes:
        """What all events of a topic in this entry have in common."""
        entry = self._entry
        orders = topic == "orders"
        source = (entry.identity or entry.source) if orders else entry.source
        return b',"received_at":"%b","source":%b,"historical":%b%b,' % (
            self._received_at.encode(),
            _encode(source),
            b"true" if entry.historical else b"false",
            b',"by_line":true' if orders and self._by_line else b"",
        )

    def _refuse(self, rejection: Rejection, at: int, n: int, *, numbered: bool = True) -> None:
        """Reject the event at place `at`, as its line number `n`."""
        entry = self._entry
        line = rejection.line
        if line is None and entry.lines and numbered:
            line = entry.lines[at]
        self._tally[rejection.topic, entry.source, rejection.reason] += rejection.units
        self._days.setdefault(QUARANTINE, set()).add(self._received_at[:10])
        written = QuarantineLine(
            position=self._position + at,
            n=n,
            received_at=self._received_at,
            source=entry.source,
            topic=rejection.topic,
            reason=rejection.reason,
            failures=rejection.failures,
            line=line,
            origin=entry.origin,
            units=rejection.units,
            raw=rejection.raw,
        )
        self._add(QUARANTINE, _encode(written))

    def _add(self, topic: str, line: bytes) -> None:
        self._lines.setdefault(topic, []).append(line)

    # --- clicks, together ---------------------------------------------------------------------

    def _clicks(self) -> None:
        """Land an entry of clicks; those that don't pass with the others are taken alone."""
        raws = self._entry.events
        clicks, places = _plain_clicks(raws)
        _leave_out(self._unfit(clicks, places), clicks, places)
        lines = self._written(clicks, places)
        joined = Lines.of(lines)
        if not plain(joined.text):
            # Be it only the source that isn't.
            unfit = {n for n, click in enumerate(clicks) if not plain(_encode(click))}
            _leave_out(unfit, clicks, places, lines)
            joined = Lines.of(lines)
        if clicks:
            self._tally["clicks", self._entry.source, ""] = len(clicks)
            self._days["clicks"] = _days([click.timestamp for click in clicks])
        if len(places) < len(raws):
            lines = self._with_odd(lines, places)
        if lines:
            self._joined["clicks"] = joined if len(lines) == joined.rows else Lines.of(lines)

    def _with_odd(self, lines: list[bytes], places: list[int]) -> list[bytes]:
        """`lines`, which are of `places`, and those of all other events, in order."""
        raws = self._entry.events
        taken = self._lines.setdefault("clicks", [])
        for at in sorted(set(range(len(raws))).difference(places)):
            before = len(taken)
            self._take("clicks", raws[at], at, 0)
            if len(taken) > before:
                lines.insert(bisect(places, at) + before, taken[before])
        del self._lines["clicks"]
        return lines

    def _unfit(self, clicks: list[_PlainClick], places: list[int]) -> set[int]:
        """Which of `clicks`, at `places`, can't be written without being looked at alone."""
        if not clicks:
            return set()
        unfit: set[int] = set()
        # Nothing but `extra` can nest deep in what is a plain click and has a price.
        if nested := [n for n, click in enumerate(clicks) if click.extra is not None]:
            raws = self._entry.events
            unfit.update(n for n in nested if too_deep(raws[places[n]]))
        latest = _time(self._entry.received_us + self._limits.future_us)
        times = [click.timestamp for click in clicks]
        if {time.tzinfo for time in times} != {UTC} or max(times) > latest:
            unfit.update(n for n, t in enumerate(times) if t.tzinfo is not UTC or t > latest)
        unfit.update(_not_prices(clicks))
        if not _CURRENCIES.issuperset([click.currency for click in clicks]):
            unfit.update(n for n, c in enumerate(clicks) if c.currency not in _CURRENCIES)
        return unfit

    def _written(self, clicks: list[_PlainClick], places: Iterable[int]) -> list[bytes]:
        raws = self._entry.events
        if None in [click.event_id for click in clicks]:
            for click, at in zip(clicks, places, strict=True):
                if click.event_id is None:
                    # All of it is canonical: what `settle` would change made it unfit.
                    click.event_id = content_id(decode_click(raws[at]))
        facts, first, encode_click = self._facts("clicks"), self._position, _encode
        return [
            b'{"position":%d,"n":0%b%b' % (first + at, facts, encode_click(click)[1:])
            for click, at in zip(clicks, places, strict=True)
        ]


def _written(event: Event) -> bytes:
    line = _encode(event)
    return _encode_exactly(event) if _LONG_AMOUNT(line) else line


def _not_prices(clicks: list[_PlainClick]) -> Iterator[int]:
    """Which of `clicks` have a price that is not canonical; those that are null are taken out."""
    for first in range(0, len(clicks), _PRICES):
        some = clicks[first : first + _PRICES]
        prices = b",".join([click.price for click in some])
        if _are_prices(prices):
            continue
        for n, click in enumerate(some, first):
            price = bytes(click.price)
            if price == _NULL:
                click.price = _NO_PRICE
            elif not _is_price(price):
                yield n


def _plain_clicks(raws: list[bytes]) -> tuple[list[_PlainClick], list[int]]:
    """The events in which all is known, and their places in `raws`."""
    clicks: list[_PlainClick] = []
    odd: list[int] = []
    add, decode = clicks.append, _decode_plain
    for raw in raws:
        try:
            add(decode(raw))
        except UNREADABLE:
            odd.append(len(clicks) + len(odd))
    places = list(range(len(raws)))
    for at in reversed(odd):
        del places[at]
    return clicks, places


def _leave_out(numbers: Iterable[int], *columns: list[Any]) -> None:
    for n in sorted(numbers, reverse=True):
        for column in columns:
            del column[n]


def _days(times: list[datetime]) -> set[str]:
    first, last = min(times).date(), max(times).date()
    if first == last:
        return {first.isoformat()}
    return {day.isoformat() for day in {time.date() for time in times}}
