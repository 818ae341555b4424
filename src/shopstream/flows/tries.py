"""How often the process died at one place of the log: what bounds the tries of a deadly event.

An event that raises is known at once. One that ends the process (out of memory, a crash in a
library, a hang that the supervisor ends) is only seen from what the process left behind: it began
at the same checkpoint again and again. Then events are taken one at a time, each noted down before
it is tried, and the one at which the process keeps dying is given up.
"""

from collections.abc import Callable

import msgspec

STARTS_MAX = 3
"""Starts at one place that are believed to be a matter of the machine."""
TRIES_MAX = 3
"""Times that one event is tried, by itself, before it is given up."""


class _Place(msgspec.Struct):
    position: int
    done: int
    starts: int = 0
    tries: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Place).decode


class Tries:
    """Starts and tries at one place, (position of a row, events of it that are done).

    `note` is what was last noted down, b"" when nothing was; `keep` replaces it and must survive
    the process, though not power loss, which no event makes.
    """

    def __init__(self, note: bytes = b"", keep: Callable[[bytes], None] = lambda _: None) -> None:
        self._keep = keep
        try:
            self._place = _decode(note)
        except msgspec.DecodeError:
            self._place = _Place(-1, 0)

    def begin(self, position: int, done: int) -> None:
        """Count a start at this place."""
        self._at(position, done).starts += 1
        self._write()

    def end(self) -> None:
        """The process ends of its own accord: what it began is no sign of anything."""
        if self._place.starts or self._place.tries:
            self._place = _Place(-1, 0)
            self._write()

    def suspicious(self, position: int, done: int) -> bool:
        """Whether so many starts at this place got no further that it may be due to an event."""
        return self._at(position, done).starts > STARTS_MAX

    def again(self, position: int, done: int) -> bool:
        """Note down that the event at this place is tried; False when that was done too often."""
        place = self._at(position, done)
        if place.tries >= TRIES_MAX:
            return False
        place.tries += 1
        self._write()
        return True

    def _at(self, position: int, done: int) -> _Place:
        if (self._place.position, self._place.done) != (position, done):
            self._place = _Place(position, done)
        return self._place

    def _write(self) -> None:
        self._keep(_encode(self._place))
