"""Make offers of stored history, wherever and however often one is asked to.

    chunks of a user's history ─▶ fold what was before ─▶ observe ─▶ archive ─▶ offers ─▶ timers

A user's row of timers is the checkpoint: it names the chunk that it was made after and changes in
one piece, last. Each offer names the chunk that made it, so that a chunk that is looked at again is
looked at as it was: see docs/decisions/0011-at-least-once-flows.md.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from shopstream.domain.decision import us_of
from shopstream.domain.failures import micros
from shopstream.domain.landing import arrival_hour
from shopstream.domain.offers import Budget, RuleSet, Timer
from shopstream.domain.validation import decode_click
from shopstream.domain.waiting import Waiting, kind_of, read_waiting, write_waiting
from shopstream.errors import ShopstreamError
from shopstream.events import Click, Offer
from shopstream.flows.deciding import Credit, Decision, KeptOffer, decode_kept
from shopstream.flows.entries import poison
from shopstream.flows.history import (
    NUMBER_CHARS,
    Chunk,
    mark_of,
    newest,
    recent,
    record_hash,
)
from shopstream.flows.records import cell, write_counts
from shopstream.flows.taken import Overtaken, undisturbed
from shopstream.flows.timers import Timers
from shopstream.flows.work import DERIVED, QUARANTINED, FlowConfig, QuarantineRecord
from shopstream.ports import Items, Lake

OFFERS_MAX = 2_000
"""Offers of a user that are read. Who has more gets no new ones before some have expired: it takes
a rule without cooldown and cap, and something that is no person.
"""
_NEVER = 2**63
_AFTERWARDS = "~"
"""How the mark of an offer ends that was made when its time had come, after the chunk it names."""
_NOT_POISON = (ShopstreamError, OSError, MemoryError)
"""What is the machine's fault, not the event's."""
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Offered(Struct):
    """What was decided: offers made and made moot, timers that fired, events that failed. Deciding
    again gives the same.
    """

    made: list[Offer] = []
    moot: list[Offer] = []
    fired: int = 0
    poisonous: int = 0

    def add(self, other: "Offered") -> None:
        self.made += other.made
        self.moot += other.moot
        self.fired += other.fired
        self.poisonous += other.poisonous


def make_offers(
    user_id: str,
    chunks: Sequence[tuple[str, bytes]],
    rules: RuleSet,
    config: FlowConfig,
    budget: Budget,
    now_us: int,
    items: Items,
    lake: Lake,
) -> Offered:
    """Have the rules see new chunks of a user's history, (sort key, item) of `browsing_events`.

    May be called again with the same chunks at any time, and while `fire_timers` is called for the
    user elsewhere. An event at which the rules fail is quarantined as poison and passed over.
    Raises what the tables and the lake raise; then, or after a crash, it must be called again.
    """
    new = [Chunk(*chunk) for chunk in sorted(chunks)]
    if not any(_matters(chunk, rules) for chunk in new):
        return Offered()
    deciding = _Deciding(user_id, rules, config, budget, now_us, items, lake)
    return undisturbed(partial(deciding.look_at, new))


def fire_timers(
    user_id: str,
    until_us: int,
    historical: bool,
    rules: RuleSet,
    config: FlowConfig,
    budget: Budget,
    now_us: int,
    items: Items,
    lake: Lake,
) -> Offered:
    """Fire those of a user's timers, live or historical, that are due by `until_us`, after having
    the rules see what they have not seen of the user's history.

    Guarantees are those of `make_offers`. Whatever it raises, the timers are there as they were.
    """
    deciding = _Deciding(user_id, rules, config, budget, now_us, items, lake)
    return undisturbed(partial(deciding.wake, until_us, historical))


def _matters(chunk: Chunk, rules: RuleSet) -> bool:
    return any(decode_click(line).event_type in rules.observed for line in chunk.lines)


class _Row(NamedTuple):
    """A user's timers of one kind, and the item that has them."""

    item: bytes
    waiting: Waiting


class _Deciding:
    """Decides for one user."""

    def __init__(
        self,
        user_id: str,
        rules: RuleSet,
        config: FlowConfig,
        budget: Budget,
        now_us: int,
        items: Items,
        lake: Lake,
    ) -> None:
        self._user_id = user_id
        self._rules = rules
        self._idle = {rule.name for rule in rules.rules if rule.idle_us is not None}
        self._config = config
        self._budget = budget
        self._now_us = now_us
        self._items = items
        self._lake = lake
        self._at: tuple[str, int] | None = None
        self._poison: dict[tuple[str, int], str] = {}

    # --- the two occasions --------------------------------------------------------------------

    def look_at(self, new: Sequence[Chunk]) -> Offered:
        """Chunks in order, each once: those that the user's timers are of already are left out, and
        one between them and these, which was given up or comes later, is looked at now.
        """
        rows = {h: self._row(h) for h in {chunk.historical for chunk in new}}
        new = [chunk for chunk in new if not _seen(chunk, rows[chunk.historical])]
        if not new:
            return Offered()
        after = f"{new[-1].number + 1:0{NUMBER_CHARS}d}"
        stored = recent(self._items, self._user_id, before=after, since=new[0].sk).chunks
        chunks = sorted({chunk.sk: chunk for chunk in (*stored, *new)}.values())
        missed = (chunk for chunk in stored if self._missed(chunk, rows.get(chunk.historical)))
        new = sorted({chunk.sk: chunk for chunk in (*missed, *new)}.values())
        offers = self._offers()
        offered = Offered()
        for chunk in new:
            row = rows[chunk.historical]
            before = newest([c for c in chunks if c.sk < chunk.sk])
            decision = self._patiently(partial(self._observe, chunk, before, offers, row))
            offered.add(self._write(decision, offers))
            offered.poisonous += self._quarantine(chunk)
            rows[chunk.historical] = self._move_on(row, chunk.sk, decision, chunk.historical)
        return offered

    def wake(self, until_us: int, historical: bool) -> Offered:
        """What is due by `until_us`, the earliest first, after what was not looked at yet."""
        row = self._row(historical)
        if row is None or (due_us := row.waiting.due_us) is None or due_us > until_us:
            return Offered()
        offered = Offered()
        chunks = recent(self._items, self._user_id).chunks
        new = [c for c in chunks if c.historical == historical and not _seen(c, row)]
        if new:
            offered = self.look_at(new)
            row = self._row(historical) or row
        offers = self._offers()
        decision = self._patiently(partial(self._fire, chunks, offers, row, until_us, historical))
        offered.add(self._write(decision, offers))
        self._move_on(row, row.waiting.after, decision, historical)
        return offered

    def _missed(self, chunk: Chunk, row: _Row | None) -> bool:
        """Whether timers that move on would pass over a chunk that nobody has looked at yet.

        Where there are none, nothing moves on: deciding on the chunk later comes to the same.
        """
        waits = row is not None and bool(row.waiting.timers)
        return waits and not _seen(chunk, row) and _matters(chunk, self._rules)

    # --- decide -------------------------------------------------------------------------------

    def _observe(
        self, chunk: Chunk, before: Sequence[Chunk], offers: dict[str, KeptOffer], row: _Row | None
    ) -> Decision:
        """What a chunk comes to after those before it."""
        timers = row.waiting.timers if row else []
        known = [offer for offer in offers.values() if offer.chunk < chunk.sk]
        again = [offer for offer in offers.values() if offer.chunk >= chunk.sk]
        known += self._woken(again, before, timers)
        known = [replace(offer) for offer in known]  # what is moot now is not yet stored so
        shopper = self._rules.restore(self._user_id, self._events(before), known)
        budget = Credit(self._budget, (offer for offer in again if offer.chunk == chunk.sk))
        decision = Decision(chunk.sk, Timers(timers), budget, self._rules)
        for click, event_id, at_us, historical in self._events([chunk]):
            decision.observe(shopper, click, event_id, at_us, historical)
        return decision

    def _woken(
        self, offers: Iterable[KeptOffer], before: Sequence[Chunk], timers: Iterable[Timer]
    ) -> list[KeptOffer]:
        """Of offers that a chunk, or its end, has made, those whose timer is gone while the user's
        timers are still those of before it: another process has fired them first.
        """
        due = {(timer.rule, timer.key): timer.due_us for timer in timers}
        woken = [
            offer
            for offer in offers
            # A timer that was woken too early comes again later, so it may be due before its offer.
            if offer.rule in self._idle
            and due.get((offer.rule, offer.key), _NEVER) > us_of(offer.made_at)
        ]
        if not woken:
            return []
        ids = {event_id for _, event_id, _, _ in self._events(before)}
        return [offer for offer in woken if offer.trigger in ids]

    def _fire(
        self,
        chunks: Sequence[Chunk],
        offers: dict[str, KeptOffer],
        row: _Row,
        until_us: int,
        historical: bool,
    ) -> Decision:
        """What comes of there being no more chunks by `until_us`."""
        shopper = self._rules.restore(self._user_id, self._events(chunks), offers.values())
        self._at = None  # what fails from here on is due to no event
        last = chunks[-1].sk if chunks else row.waiting.after
        mark = last[:NUMBER_CHARS] + _AFTERWARDS
        decision = Decision(mark, Timers(row.waiting.timers), self._budget, self._rules)
        next_due, batch = decision.timers.next_due, decision.changes
        while timer := next_due(until_us, historical=historical, batch=batch):
            decision.fire(shopper, timer)
        return decision

    def _events(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Click, str, int, bool]]:
        """The events of chunks, but those that the rules can't take."""
        for chunk in chunks:
            for n, line in enumerate(chunk.lines):
                self._at = (chunk.sk, n)
                if self._at not in self._poison:
                    click = decode_click(line)
                    at_us = micros(click.timestamp)
                    yield click, click.event_id or "", at_us, chunk.historical

    def _patiently(self, decide: Callable[[], Decision]) -> Decision:
        """What is decided once the events that make the code fail are left out."""
        while True:
            self._at = None
            try:
                return decide()
            except _NOT_POISON:
                raise
            except Exception as e:
                if not self._blamed(f"{type(e).__name__}: {e}"):
                    raise

    def _blamed(self, why: str) -> bool:
        """Whether there is an event to blame, the one looked at last: it is left out from now."""
        if self._at is None or self._at in self._poison:
            return False
        self._poison[self._at] = why
        return True

    # --- read and write -----------------------------------------------------------------------

    def _row(self, historical: bool) -> _Row | None:
        item = self._items.get("timers", self._user_id, kind_of(historical))
        return None if item is None else _Row(item, read_waiting(item))

    def _offers(self) -> dict[str, KeptOffer]:
        found = self._items.query("offers", self._user_id, limit=OFFERS_MAX)
        return {offer_id: decode_kept(item) for offer_id, item in found}

    def _write(self, decision: Decision, offers: dict[str, KeptOffer]) -> Offered:
        """Archive and store what was decided, into `offers` too. Raises Overtaken."""
        made = [offer for offer in decision.changed.values() if offer.offer_id in decision.as_made]
        if len(offers) >= OFFERS_MAX:
            made = [offer for offer in made if offer.offer_id in offers]
        for offer in made:
            if offer.offer_id not in offers:
                name = f"archive/offers/dt={offer.made_at.date()}/{offer.offer_id}.json"
                self._lake.put(name, decision.as_made[offer.offer_id] + b"\n")
        moot = [offer for offer in decision.changed.values() if isinstance(offer, KeptOffer)]
        for offer in made:
            item = b'%b,"chunk":"%b"}' % (_encode(offer)[:-1], decision.mark.encode())
            before = offers.get(offer.offer_id)
            if before is None:
                there = self._items.put_new("offers", self._user_id, offer.offer_id, item)
                if there not in (None, item):
                    raise Overtaken(f"another process made offers to {self._user_id!r}")
                offers[offer.offer_id] = decode_kept(item)
            elif offer.moot and not before.moot:
                before.moot = True
                moot.append(before)
        for known in moot:
            offers[known.offer_id] = known
            batch = self._items.batch()
            batch.put("offers", self._user_id, known.offer_id, _encode(known))
            self._items.write(batch)
        return Offered(made=made, moot=[*moot], fired=decision.fired)

    def _quarantine(self, chunk: Chunk) -> int:
        """Reject the events of a chunk at which the rules failed; returns how many."""
        failed = [(n, why) for (sk, n), why in self._poison.items() if sk == chunk.sk]
        if not failed:
            return 0
        mark = mark_of(chunk.item)
        stamp_us = mark.stamp_us if mark else self._now_us
        row = f"offers/{self._user_id}/{chunk.sk}"
        for n, why in failed:
            sk = f"{stamp_us:020d}-{record_hash(row)}-{n:06d}"
            rejected = QuarantineRecord(
                id=f"{self._config.shard}-{sk}",
                rejection=poison("clicks", chunk.lines[n], why, 1),
                source="",
                at_us=self._now_us,
                received_us=stamp_us,
                historical=chunk.historical,
            )
            self._items.put_new("quarantine", "clicks", sk, _encode(rejected))
        counts = {
            cell("clicks", "", DERIVED): len(failed),
            cell("clicks", "", f"{QUARANTINED}:poison"): len(failed),
        }
        write_counts(self._items, arrival_hour(stamp_us)[:10], row, counts)
        return len(failed)

    def _move_on(
        self, row: _Row | None, after: str, decision: Decision, historical: bool
    ) -> _Row | None:
        """Have the user's timers be those after the chunk `after`. Raises Overtaken."""
        timers = decision.timers.pending(self._user_id, historical=historical)
        if not timers and (row is None or not row.waiting.timers):
            return row  # deciding again comes to the same
        waiting = Waiting(after, timers)
        if row is not None and row.waiting == waiting:
            return row
        item = write_waiting(waiting)
        place = ("timers", self._user_id, kind_of(historical))
        if row is None:
            done = self._items.put_new(*place, item) in (None, item)
        else:
            done = self._items.swap(*place, row.item, item)
        if not done:
            raise Overtaken(f"another process looked at {self._user_id!r}")
        return _Row(item, waiting)


def _seen(chunk: Chunk, row: _Row | None) -> bool:
    return row is not None and chunk.sk <= row.waiting.after
