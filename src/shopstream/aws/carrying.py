"""What raw events look like on their way: alone, or lines of one record; on our own streams and
queues, or on somebody else's.
"""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shopstream.aws.names import Names
from shopstream.aws.wire import Record, new_record_id, pack
from shopstream.errors import SourceError
from shopstream.events import Entry

_NAMED_TOPIC = b'{"topic":"%s",'


class Keyed(NamedTuple):
    """An event (or lines of them), what it must stay in order with, and how many it is."""

    key: str
    body: bytes
    events: int


class Carries(NamedTuple):
    """What a stream or queue carries as raw events, `topic`, and what beside it in our envelope.

    Of somebody else's it isn't known: all go raw, `topic` is "".
    """

    name: str
    topic: str
    beside: str
    name_topics: bool

    def line(self, topic: str, one: Keyed) -> Keyed:
        """One event as it is sent, alone or among lines: where it must, it names its topic."""
        return one._replace(body=as_line(topic, one.body, name_topics=self.name_topics))

    def body(self, topic: str, one: Keyed) -> bytes:
        """The bytes to send of lines. Raises SourceError for a topic that goes another way."""
        if self.topic in ("", topic):
            return one.body
        if topic != self.beside:
            raise SourceError(
                f"{topic} don't travel on {self.name}; without --to and with `--engine aws` each"
                " topic goes its way"
            )
        return self.packed(topic, one)

    def packed(self, topic: str, one: Keyed) -> bytes:
        """The events in our own envelope; b"" when nobody there would know it."""
        if not self.topic:
            return b""
        events = one.body.split(b"\n") if one.events > 1 else [one.body]
        entry = Entry(
            topic=topic,
            events=events,
            source="simulate",
            received_us=time.time_ns() // 1_000,
            units=one.events,
        )
        return pack(Record(new_record_id(), entry))


def carries(names: Names, name: str, *, name_topics: bool) -> Carries:
    """What the stream or queue `name` carries: ours by their names, any other as it comes."""
    if name == names.queue("orders"):
        return Carries(name, "orders", "stock", name_topics=False)
    if name in (names.queue("clicks"), names.stream):
        return Carries(name, "clicks", "carts", name_topics=False)
    return Carries(name, "", "", name_topics)


def as_line(topic: str, raw: bytes, *, name_topics: bool) -> bytes:
    """An event as a line; of a whole shop it names its topic first."""
    if name_topics and raw.startswith(b'{"'):
        return _NAMED_TOPIC % topic.encode() + raw[1:]
    return raw


def as_lines(events: Iterable[Keyed], bytes_max: int) -> Iterator[Keyed]:
    """Events of one key joined, a line each, up to `bytes_max` together with the key."""
    waiting: dict[str, Keyed] = {}
    for one in events:
        found = waiting.get(one.key)
        if found is None:
            waiting[one.key] = one
        elif len(found.body) + len(one.body) + 1 + len(one.key) <= bytes_max:
            together = b"\n".join((found.body, one.body))
            waiting[one.key] = Keyed(one.key, together, found.events + 1)
        else:
            yield found
            waiting[one.key] = one
    yield from waiting.values()
