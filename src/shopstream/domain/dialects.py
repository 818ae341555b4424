"""Other dialects on the way in: Segment's messages and GA4's -> our events.

Each reader takes one message apart and gives our events as JSON, several where the message tells
of several things. What they say is validated afterwards like any event of our own.
"""

from shopstream.domain.ecommerce import dialect_table
from shopstream.domain.ga4 import read_ga4
from shopstream.domain.message import Unreadable
from shopstream.domain.segment import CALLS, read_segment

__all__ = ["CALLS", "Unreadable", "dialect_table", "read_ga4", "read_segment"]
