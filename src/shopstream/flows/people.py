"""Users as the processor knows them: the fold of their stored events, kept while they are recent.

Nothing here is state of its own: a user who was dropped, or a process that was killed, is folded
again from the tables. See docs/decisions/0002-state-is-the-fold-of-history.md.
"""

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from shopstream.domain.canonical import read_stored
from shopstream.domain.carts import Cart
from shopstream.domain.enrichment import Visit
from shopstream.domain.failures import micros
from shopstream.domain.offers import RuleSet, Shopper
from shopstream.domain.validation import decode_click
from shopstream.events import Click, Offer
from shopstream.flows.history import is_past, lines_of
from shopstream.ports import Tables

_decode_offer = msgspec.json.Decoder(Offer).decode


class Person(Visit):
    """One user: the ids seen, what the rules remember, what this micro-batch adds.

    `pending` are the live events that it adds, `past` the historical ones. `ids` maps the hash of
    each event id to the sort key of the item that holds the event. `stored` tells whether the
    tables know this user.
    """

    __slots__ = ("ids", "past", "pending", "shopper", "stored", "user_id")

    def __init__(self, user_id: str, shopper: Shopper, *, stored: bool) -> None:
        self.user_id = user_id
        self.shopper = shopper
        super().__init__()
        self.ids: dict[int, str] = {}
        self.pending: list[bytes] | None = None
        self.past: list[bytes] | None = None
        self.stored = stored


class People:
    """Recent users in memory, least recently touched first; `events_max` bounds their events."""

    def __init__(self, tables: Tables, rules: RuleSet, events_max: int) -> None:
        self._tables = tables
        self._rules = rules
        self._events_max = events_max
        self._events = 0
        # Not a dict: the first of one that is always emptied at the front is slow to find.
        self.known: OrderedDict[str, Person] = OrderedDict()

    def find(self, user_id: str) -> Person:
        """A person who is not `known` (look there first: it is faster), from the tables."""
        person = self.known[user_id] = self._restore(user_id)
        self._events += len(person.ids)
        return person

    def forget(self, user_id: str) -> None:
        """Have a user folded anew when they come again."""
        if (person := self.known.pop(user_id, None)) is not None:
            self._events -= len(person.ids)

    def settle(self, touched: list[Person], events: int) -> None:
        """After a micro-batch of so many events: those touched were seen last, and who was not
        seen for longest is let go while there are too many.
        """
        known = self.known
        for person in touched:
            known.move_to_end(person.user_id)
        self._events += events
        while self._events > self._events_max and len(known) > 1:
            self.forget(next(iter(known)))

    def _restore(self, user_id: str) -> Person:
        if self._tables.get("users", user_id) is None:
            return Person(user_id, Shopper(), stored=False)
        person = Person(user_id, Shopper(), stored=True)
        offers = [_decode_offer(item) for _, item in self._tables.query("offers", user_id)]
        person.shopper = self._rules.restore(user_id, self._remember(person), offers)
        return person

    def _remember(self, person: Person) -> Iterator[tuple[Click, str, int, bool]]:
        for sk, chunk in self._tables.query("browsing_events", person.user_id):
            past = is_past(sk, chunk)
            for click in map(decode_click, lines_of(chunk)):
                at_us = micros(click.timestamp)
                event_id = click.event_id or ""
                person.ids[hash(event_id)] = sk
                person.see(click.session_id, at_us)
                yield click, event_id, at_us, past


def stored_clicks(tables: Tables, user_id: str) -> Iterator[tuple[str, Click]]:
    """All stored clicks of a user, in the order in which they were processed, each with the sort
    key of the item that holds it.
    """
    for sk, chunk in tables.query("browsing_events", user_id):
        for line in lines_of(chunk):
            yield sk, read_stored(line)


def open_carts(tables: Tables, user_id: str) -> dict[str, Cart]:
    """A user's open carts by cart id (`""` for the one without), as their history leaves them."""
    history = (
        (click, click.event_id or "", micros(click.timestamp), False)
        for _, click in stored_clicks(tables, user_id)
    )
    return RuleSet(()).restore(user_id, history, ()).carts or {}
