"""Ingest clicks: read, dedupe, enrich, store under the user, let the rules see them.

This is the hot path: 200,000 events a second in one process leave five microseconds for each.
So the checks that nearly every event passes stand in line here, and whatever fails one of them
goes to `domain.validation` for the full answer.
"""

from collections.abc import Iterable
from decimal import InvalidOperation
from operator import attrgetter, itemgetter
from typing import TypeAlias, cast

from shopstream.domain.canonical import (
    content_id,
    encode,
    read_stored,
    same_content,
    settle,
)
from shopstream.domain.currencies import CURRENCIES
from shopstream.domain.enrichment import enrich
from shopstream.domain.failures import (
    AMOUNT_LIMIT,
    DEPTH_MAX,
    EARLIEST_US,
    UNREADABLE,
    too_deep,
)
from shopstream.domain.offers import Budget, RuleSet, Timer
from shopstream.domain.validation import (
    Invalid,
    decode_click,
    odd_price,
    plain,
    read_click,
    reject,
)
from shopstream.errors import ShopstreamError
from shopstream.events import Click, Entry, Failure, Offer, Rejection
from shopstream.flows.history import PAST, lines_of
from shopstream.flows.people import People, Person
from shopstream.flows.timers import Timers
from shopstream.flows.work import ACCEPTED, DUPLICATE, FlowConfig, Work
from shopstream.ports import Tables

LOOKED_INTO_BYTES = 2_048
"""Larger events are looked at one by one, for how deep they nest."""
CURRENCIES_OR_NONE: frozenset[str | None] = CURRENCIES | {None}
BAD = (Invalid, InvalidOperation, OverflowError, *UNREADABLE)
_NOT_POISON = (ShopstreamError, OSError, MemoryError)
"""What is the machine's fault, not the timer's."""
_OURS_BY_NOW = frozenset({"translated", "rejected"})
_MADE_ON_THE_WAY = frozenset({"session_id", "user_type", "event_id"})

Arrived: TypeAlias = tuple[int, Click, Person, bytes | None]
"""Event time, the click, its user, its bytes if they can be stored as they are."""


class Clicks:
    """The clicks of one log row at a time: `take` entries, then `apply` them in event time."""

    def __init__(
        self, tables: Tables, people: People, timers: Timers, rules: RuleSet, config: FlowConfig
    ) -> None:
        self._tables = tables
        self._people = people
        self._timers = timers
        self._rules = rules
        self._config = config
        self._arrived: dict[bool, list[Arrived]] = {False: [], True: []}
        self._touched: list[Person] = []
        self._derived: dict[str, int] = {}
        self._index: dict[tuple[str, str], tuple[Click, bytes | None]] = {}
        self._indexed = {False: 0, True: 0}

    def take(self, entry: Entry, work: Work) -> None:
        """Read and dedupe an entry; its good events wait for `apply`.

        All events are looked at together, one property after the other, which costs half of
        looking at them one by one; that is done only where the whole does not pass.
        """
        arrived = self._arrived[entry.historical]
        before = len(arrived)
        clicks, raws, places = self._decode(entry, work)
        if clicks and (times := self._pass(clicks, raws, entry)):
            persons = self._persons([click.user_id for click in clicks])
            hashes = [hash(click.event_id) for click in clicks]
            key = _sk(work, entry.historical)
            waits = zip(times, clicks, persons, raws, strict=True)
            for n, (waiting, seen) in enumerate(zip(waits, hashes, strict=True)):
                ids = waiting[2].ids
                if seen in ids:
                    place = places[n] if places else n
                    if self._repeats(waiting, raws[n], entry, place, work):
                        continue
                ids[seen] = key
                arrived.append(waiting)
        else:
            for raw, n in zip(raws, places or range(len(raws)), strict=True):
                self._take_one(raw, entry, n, work)
        if accepted := len(arrived) - before:
            work.count("clicks", entry.source, ACCEPTED, accepted)

    def _decode(
        self, entry: Entry, work: Work
    ) -> tuple[list[Click], list[bytes], list[int] | None]:
        """The events that can be decoded, their bytes, and their numbers in the entry where these
        are not simply 0, 1, 2, …; the others are rejected.
        """
        clicks: list[Click] = []
        bad: list[int] = []
        add, decode, raws = clicks.append, decode_click, entry.events
        for raw in raws:
            try:
                add(decode(raw))
            except UNREADABLE:
                bad.append(len(clicks) + len(bad))
        if not bad:
            return clicks, raws, None
        for n in bad:
            rejection = reject("clicks", raws[n], entry.received_us, self._config.limits)
            self.quarantine(rejection, entry, n, work)
        unreadable = set(bad)
        places = [n for n in range(len(raws)) if n not in unreadable]
        return clicks, [raws[n] for n in places], places

    def _pass(self, clicks: list[Click], raws: list[bytes], entry: Entry) -> list[int] | None:
        """The events' times if all of them pass all checks and can be stored as they came."""
        together = b"".join(raws)
        if not plain(together) or b"\n" in together or max(map(len, raws)) > LOOKED_INTO_BYTES:
            return None
        # Each event opens one brace; where there are many more, one may nest too deep.
        if together.count(b"{") + together.count(b"[") >= len(raws) + DEPTH_MAX and any(
            map(too_deep, raws)
        ):
            return None
        try:
            times = [round(click.timestamp.timestamp() * 1e6) for click in clicks]
            prices = [click.price for click in clicks if click.price is not None]
            good = (
                min(times) >= EARLIEST_US
                and max(times) <= entry.received_us + self._config.limits.future_us
                and (
                    not prices
                    or (min(prices) >= 0 and max(prices) < AMOUNT_LIMIT and not odd_price(together))
                )
                and CURRENCIES_OR_NONE.issuperset([click.currency for click in clicks])
                and None not in [click.event_id for click in clicks]
                and None not in [click.session_id for click in clicks]
                and None not in [click.user_type for click in clicks]
            )
        except (InvalidOperation, OverflowError):
            return None
        return times if good else None

    def _persons(self, user_ids: list[str]) -> list[Person]:
        people = self._people
        found = list(map(people.known.get, user_ids))
        if None in found:
            known, find = people.known, people.find
            return [known.get(user_id) or find(user_id) for user_id in user_ids]
        return cast(list[Person], found)

    def _take_one(self, raw: bytes, entry: Entry, n: int, work: Work) -> None:
        try:
            click, at_us = read_click(raw, entry.received_us, self._config.limits)
        except BAD:
            rejection = reject("clicks", raw, entry.received_us, self._config.limits)
            self.quarantine(rejection, entry, n, work)
            return
        stored: bytes | None = raw
        if click.event_id is None:
            settle(click, raw)
            click.event_id = content_id(click)
            stored = None
        elif click.session_id is None or click.user_type is None or b"\n" in raw:
            settle(click, raw)
            stored = None
        person = self._people.known.get(click.user_id) or self._people.find(click.user_id)
        seen = hash(click.event_id)
        waiting = (at_us, click, person, stored)
        if seen in person.ids and self._repeats(waiting, raw, entry, n, work):
            return
        person.ids[seen] = _sk(work, entry.historical)
        self._arrived[entry.historical].append(waiting)

    def _repeats(
        self,
        waiting: Arrived,
        raw: bytes,
        entry: Entry,
        n: int,
        work: Work,
    ) -> bool:
        """Whether an event with this id came before; if so, account for this one, the n-th."""
        _, click, person, _ = waiting
        event_id = click.event_id or ""
        known = self._known(event_id, person, work)
        if known is None:
            return False
        settle(click, raw)
        ignoring = _MADE_ON_THE_WAY
        if entry.dialect == "translated":
            ignoring |= {"timestamp"}
        if same_content(known, click, ignoring=ignoring):
            work.count("clicks", entry.source, DUPLICATE)
        else:
            wanted = "an id of its own: another event of this user came with it"
            failure = Failure("conflict", "event_id", event_id, wanted)
            self.quarantine(Rejection(topic="clicks", failures=[failure], raw=raw), entry, n, work)
        return True

    def _known(self, event_id: str, person: Person, work: Work) -> Click | None:
        """The event that came with this id, None when only the hashes of two ids are alike."""
        sk = person.ids[hash(event_id)]
        if not sk.startswith(work.key):
            chunk = self._tables.get("browsing_events", person.user_id, sk)
            return _with_id(event_id, lines_of(chunk) if chunk else ())
        for historical, arrived in self._arrived.items():
            for _, click, owner, stored in arrived[self._indexed[historical] :]:
                self._index[owner.user_id, click.event_id or ""] = (click, stored)
            self._indexed[historical] = len(arrived)
        if waiting := self._index.get((person.user_id, event_id)):
            click, stored = waiting
            return read_stored(stored) if stored else click
        return _with_id(event_id, [*(person.pending or ()), *(person.past or ())])

    def quarantine(self, rejection: Rejection, entry: Entry, n: int, work: Work) -> None:
        """Reject the n-th event of `entry`."""
        if entry.lines and rejection.line is None:
            rejection.line = entry.lines[n]
        work.reject(
            rejection,
            entry.source,
            received_us=entry.received_us,
            dialect="shopstream" if entry.dialect in _OURS_BY_NOW else entry.dialect,
            context=entry.context,
            identity=entry.identity,
            origin=entry.origin,
            on_bad_line=entry.on_bad_line,
            historical=entry.historical,
        )

    def derive(
        self, click: Click, at_us: int, topic: str, work: Work, *, historical: bool
    ) -> Click | None:
        """Take a click made from an event of another topic, for the user's history and the rules.

        Returns the earlier one when one with this id came before, and then takes nothing.
        """
        person = self._people.known.get(click.user_id) or self._people.find(click.user_id)
        event_id = click.event_id or ""
        seen = hash(event_id)
        if seen in person.ids and (known := self._known(event_id, person, work)) is not None:
            return known
        person.ids[seen] = _sk(work, historical)
        self._arrived[historical].append((at_us, click, person, None))
        self._derived[topic] = self._derived.get(topic, 0) + 1
        return None

    def apply(self, work: Work, budget: Budget) -> tuple[int, int]:
        """Process what was taken in the order of event time.

        Returns the latest event times seen, live and historical, in microseconds (0 if none).
        """
        latest = []
        for historical, arrived in self._arrived.items():
            arrived.sort(key=_at)
            self._apply(arrived, work, budget, historical=historical)
            latest.append(arrived[-1][0] if arrived else 0)
            arrived.clear()
            self._indexed[historical] = 0
        self._index.clear()
        return latest[0], latest[1]

    def _apply(
        self, arrived: list[Arrived], work: Work, budget: Budget, *, historical: bool
    ) -> None:
        observed, observe, waking = self._rules.observed, self._rules.observe, self._rules.waking
        gap_us = self._config.session_gap_us
        touched = self._touched

        def arm(timer: Timer) -> None:
            self._timers.arm(timer, work.batch)

        for at_us, click, person, stored in arrived:
            if stored is None:
                enrich(click, person, at_us, gap_us)
                stored = encode(click)
            else:
                # `person.see(click.session_id, at_us)`, in line.
                if click.session_id != person.session_id:
                    person.earlier = person.session_id is not None
                    person.session_id = click.session_id
                if at_us > person.last_us:
                    person.last_us = at_us
            if historical:
                if person.past is None:
                    person.past = []
                    if person.pending is None:
                        touched.append(person)
                person.past.append(stored)
            elif person.pending is None:
                person.pending = [stored]
                if person.past is None:
                    touched.append(person)
            else:
                person.pending.append(stored)
            event_type = click.event_type
            if event_type in observed:
                if event_type in waking:
                    self._fire_due(person.user_id, at_us, budget, work, historical=historical)
                event_id = click.event_id or ""
                offers = observe(person.shopper, click, event_id, at_us, historical, budget, arm)
                if offers:
                    for offer in offers:
                        work.offer(offer)

    def _fire_due(
        self, user_id: str, at_us: int, budget: Budget, work: Work, *, historical: bool
    ) -> None:
        """Fire what an absence has made due that ends only now, in the same row."""
        due_of = self._timers.due_of
        # Again, since a timer that was woken too early may come again before this event.
        while due := due_of(user_id, at_us, historical=historical, batch=work.batch):
            for timer in due:
                self.fire(timer, budget, work)

    def fire(self, timer: Timer, budget: Budget, work: Work) -> None:
        """A timer is due: make the offer, wait on, or let it be.

        One at which the code fails is put off until the next start, which may be that of a release
        that mends it: no event is to blame, and no other timer waits for it.
        """
        try:
            person = self._people.known.get(timer.user_id) or self._people.find(timer.user_id)
            outcome = self._rules.fire(person.shopper, timer, budget)
        except _NOT_POISON:
            raise
        except Exception as e:  # noqa: BLE001  # whatever it raises
            self._timers.put_off(timer, work.batch)
            work.fail(timer, e)
            return
        if isinstance(outcome, Offer):
            work.offer(outcome)
        elif outcome is not None:
            self._timers.arm(outcome, work.batch)

    def finish(self, work: Work) -> None:
        """Write each touched user's new events as one item, historical ones as another."""
        touched = self._touched
        # In the order of their keys: the memtable takes neighbours twice as fast.
        touched.sort(key=_user_id)
        events = self._put(work, {p.user_id: p.pending for p in touched if p.pending}, False)
        if any(person.past for person in touched):
            events += self._put(work, {p.user_id: p.past for p in touched if p.past}, True)
        for person in touched:
            person.pending = person.past = None
            if not person.stored:
                work.put("users", person.user_id, "", b"")
                person.stored = True
        clicks = events - sum(self._derived.values())
        for topic, stored in [("clicks", clicks), *self._derived.items()]:
            if stored:
                work.stored("browsing_events", self._config.events_ttl_us, topic, stored)
        self._people.settle(touched, events)
        touched.clear()
        self._derived.clear()

    def _put(self, work: Work, lines: dict[str, list[bytes]], historical: bool) -> int:
        """Write the events of each user as one item; returns how many events."""
        sk = _sk(work, historical)
        work.batch.put_each(
            "browsing_events", sk, [(user_id, b"\n".join(part)) for user_id, part in lines.items()]
        )
        work.expire_all("browsing_events", self._config.events_ttl_us, sk, list(lines))
        return sum(map(len, lines.values()))


def _sk(work: Work, historical: bool) -> str:
    return work.key + PAST if historical else work.key


_at = itemgetter(0)
_user_id = attrgetter("user_id")


def _with_id(event_id: str, lines: Iterable[bytes]) -> Click | None:
    return next((c for c in map(read_stored, lines) if c.event_id == event_id), None)
