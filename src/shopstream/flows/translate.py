"""Other dialects on the way in: one message may be several events, of several topics."""

from collections.abc import Callable, Iterator

import msgspec

from shopstream.domain.dialects import read_message
from shopstream.domain.validation import units_of
from shopstream.events import Entry, Rejection
from shopstream.flows.work import DERIVED, Work

Refuse = Callable[[Rejection, Entry, int, Work], None]


def translate(entry: Entry, work: Work, refuse: Refuse) -> Iterator[Entry]:
    """The events that a Segment or GA4 entry holds, in our dialect, an entry for each topic.

    What can't be read is refused as it came. The ledger counts the events that a message makes
    beyond the one that it is as derived, so that received + derived adds up in each topic. Raises
    TooMuch where it is more than `work` may hold.
    """
    found: dict[str, list[bytes]] = {}
    for n, raw in enumerate(entry.events):
        events = read_message(entry, raw)
        if isinstance(events, Rejection):
            refuse(events, entry, n, work)
            continue
        moved: dict[str, int] = {entry.topic: -1}
        for topic, event in events:
            moved[topic] = moved.get(topic, 0) + units_of(topic, event, entry.on_bad_line)
            found.setdefault(topic, []).append(event)
            work.make(len(event))
        for name, units in moved.items():
            if units:
                work.count(name, entry.source, DERIVED, units)
    for name, raws in found.items():
        yield msgspec.structs.replace(
            entry, topic=name, events=raws, units=len(raws), dialect="translated", lines=[]
        )
