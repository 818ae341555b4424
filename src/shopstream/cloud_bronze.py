"""Bronze on AWS, counted in the ledger's units by topic and day, and compared with the ledger."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from typing import NamedTuple

import msgspec
from msgspec import Struct

from shopstream.domain.landing import arrival_hour
from shopstream.flows.work import ACCEPTED, DUPLICATE, QUARANTINED

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


class _Line(Struct, gc=False):
    """What a line of bronze says of where it belongs."""

    position: int
    by_line: bool = False
    lines: list[msgspec.Raw] = []


class _Rejected(Struct, gc=False):
    position: int
    topic: str
    units: int = 1


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_rejected = msgspec.json.Decoder(_Rejected).decode


class Judged(NamedTuple):
    """A topic's units of a day as the ledger has them and bronze sees them. Landing remembers no
    events: a duplicate or a conflict is accepted there. Poison may be either, and is among the
    rejected here.
    """

    accepted: int
    rejected: int
    poison: int


class Counted(NamedTuple):
    """A topic's units of a day in bronze beside the ledger's. `early` are those of the day's first
    second, `late` those of the next day's.
    """

    accepted: int
    rejected: int
    early: int
    late: int
    ledger: Judged

    @property
    def found(self) -> int:
        return self.accepted + self.rejected

    @property
    def expected(self) -> int:
        return self.ledger.accepted + self.ledger.rejected

    @property
    def adds_up(self) -> bool:
        """A record belongs to the day of its first event. The positions of the others follow that
        one, over midnight, too: so that a day's first second may be the day's before.
        """
        more = self.accepted - self.ledger.accepted
        whole = -self.late <= self.found - self.expected <= self.early
        return whole and -self.late <= more <= self.ledger.poison + self.early

    def __str__(self) -> str:
        return (
            f"{self.accepted:,} accepted and {self.rejected:,} rejected in S3; the ledger has"
            f" {self.ledger.accepted:,} and {self.ledger.rejected:,}"
        )


class Lines:
    """Lines of bronze as they are read."""

    def __init__(self) -> None:
        self._accepted: Counter[tuple[str, str]] = Counter()
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._early: Counter[tuple[str, str]] = Counter()

    def add(self, topic: str, line: bytes) -> None:
        """Raises msgspec.MsgspecError for a line that is none."""
        if topic == "quarantine":
            rejected = _decode_rejected(line)
            place = (rejected.topic, _day_of(rejected.position))
            position, units = rejected.position, rejected.units
            self._rejected[place] += units
        else:
            taken = _decode_line(line)
            place = (topic, _day_of(taken.position))
            position, units = taken.position, len(taken.lines) if taken.by_line else 1
            self._accepted[place] += units
        if position % DAY_US < SECOND_US:
            self._early[place] += units

    def of(self, topic: str, day: str, ledger: Judged) -> Counted:
        """What there is of a topic on a day ('YYYY-MM-DD'), beside what the ledger says."""
        tomorrow = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
        return Counted(
            self._accepted[topic, day],
            self._rejected[topic, day],
            self._early[topic, day],
            self._early[topic, tomorrow],
            ledger,
        )


def judged(cells: Mapping[tuple[str, str, str], int], topic: str) -> Judged:
    """A topic's units in cells of the ledger: (topic, source, outcome) -> units."""
    accepted = rejected = poison = 0
    for (of, _, outcome), units in cells.items():
        kind, _, reason = outcome.partition(":")
        if of != topic or kind not in (ACCEPTED, DUPLICATE, QUARANTINED):
            continue
        if kind != QUARANTINED or reason == "conflict":
            accepted += units
        else:
            rejected += units
        poison += units * (reason == "poison")
    return Judged(accepted, rejected, poison)


def _day_of(at_us: int) -> str:
    return arrival_hour(at_us)[:10]
