"""What of a user waits for nothing to happen, where it is kept for any process to take up."""

import msgspec
from msgspec import Struct

from shopstream.domain.shoppers import Timer

LIVE, HISTORY = "live", "history"
"""The two kinds of timers, apart: what falls idle in history is no news and has its own time."""


class Waiting(Struct, gc=False):
    """The pending timers of a user, of one kind, as they are once the user's history up to and
    with the chunk `after` was looked at.
    """

    after: str
    timers: list[Timer]

    @property
    def due_us(self) -> int | None:
        """When the first is due, None when none is pending."""
        return min((timer.due_us for timer in self.timers), default=None)


def kind_of(historical: bool) -> str:
    return HISTORY if historical else LIVE


read_waiting = msgspec.json.Decoder(Waiting).decode
write_waiting = msgspec.json.Encoder().encode
