"""What the rules remember of one user: no events, only what some rule still needs.

A `Shopper` is nothing but the fold of the user's events and the offers made to them, so it can be
dropped at any time and folded anew (`RuleSet.restore`). Times are event times in microseconds.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from shopstream.domain.carts import Cart
from shopstream.events import Offer

KEYS_MAX = 4_096
"""Keys kept for a user in each of the tables below; past that, the oldest quarter goes."""
OFFERS_MAX = 512
"""Offers of a user that a purchase can still make moot: the newest."""
NEVER = -(2**63)
"""Before every event."""

Times = int | list[int]
"""When one key was counted: one time, or [time of the last offer, time, time, …] in order."""


class Timer(NamedTuple):
    """A look at an idle rule that is due when the watermark passes `due_us`.

    Firing it twice makes no second offer.
    """

    due_us: int
    user_id: str
    rule: str
    key: str
    historical: bool


class Budget(Protocol):
    """Offers that a rule may still make on a day, over all users."""

    def take(self, rule: str, day: int, limit: int) -> bool:
        """Use up one of `limit` offers of `rule` on `day` (days since 1970, event time) and
        return True, or False when all are used up.
        """
        ...


class Idle(Struct, gc=False):
    """A key that an idle rule waits on: which event began it, and its last activity."""

    began_by: str
    began_us: int
    touched_us: int
    historical: bool
    offered_us: int | None = None


class Shopper:
    """State of one user. Tables that few users need are None until they are needed."""

    __slots__ = ("blocked", "carts", "idles", "made", "offers", "seen")

    seen: dict[Hashable, Times]
    """Times of the events counted, by key: the `count` latest since the last offer."""
    blocked: dict[tuple[str, str, str | None], int] | None
    """Latest time of events that some rule is `without`: (event type, same, key) -> time."""
    carts: dict[str, Cart] | None
    """Open carts by id, `""` being the one without."""
    idles: dict[tuple[str, str], Idle] | None
    """What idle rules wait on, carts apart: (rule, key)."""
    offers: dict[str, Offer] | None
    """Offers made, by id."""
    made: dict[str, list[int]] | None
    """When each rule made its offers, in order."""

    def __init__(self) -> None:
        self.seen = {}
        self.blocked = None
        self.carts = None
        self.idles = None
        self.offers = None
        self.made = None


K = TypeVar("K")
V = TypeVar("V")


def prune(table: dict[K, V], last: Callable[[V], int], window_us: int) -> None:
    """Make room in `table`, in place: what is outside `window_us` of the newest goes, then the
    oldest, until three quarters are left. Depends on the content alone.
    """
    horizon = max(map(last, table.values())) - window_us
    kept = [(k, v) for k, v in table.items() if last(v) >= horizon]
    if len(kept) > (most := KEYS_MAX * 3 // 4):
        latest = sorted(kept, key=lambda item: last(item[1]), reverse=True)[:most]
        keys = {k for k, _ in latest}
        kept = [(k, v) for k, v in kept if k in keys]
    table.clear()
    table.update(kept)


def last_time(times: Times) -> int:
    return times if isinstance(times, int) else times[-1]


def no_timer(timer: Timer) -> Any:
    """Arms nothing: for folding history whose timers are kept elsewhere."""
