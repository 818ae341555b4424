"""Other dialects on the way in: Segment's messages and GA4's -> our events.

Each reader takes one message apart and gives our events as JSON, several where the message tells
of several things. What they say is validated afterwards like any event of our own.
"""

from shopstream.domain.ecommerce import dialect_table
from shopstream.domain.ga4 import read_ga4
from shopstream.domain.message import Unreadable
from shopstream.domain.segment import CALLS, read_segment
from shopstream.events import Entry, Rejection, Topic

__all__ = ["CALLS", "Unreadable", "dialect_table", "read_ga4", "read_message", "read_segment"]

_READ = {"segment": read_segment, "ga4": read_ga4}


def read_message(entry: Entry, raw: bytes) -> list[tuple[Topic, bytes]] | Rejection:
    """The events of `raw`, one message of a Segment or GA4 entry, as JSON in our dialect with the
    topic of each; or why it can't be read.
    """
    try:
        return _READ[entry.dialect](raw, entry.context, entry.received_us)
    except Unreadable as e:
        return Rejection(topic=entry.topic, failures=e.failures, raw=raw)
