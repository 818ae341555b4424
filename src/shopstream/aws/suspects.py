"""Messages that may be what ends the function, and what is noted of them so that it ends no more.

A message that raises is known at once. One that ends the process (out of memory, a crash, a hang
until Lambda's time is up) takes its whole batch down with it, and all of it comes again. So what
comes again is tried by itself, and each step of it noted before it is taken. A message at which the
process has ended is *deadly*: it makes way until all others that came again are answered for, then
it is tried once more, and it is given up before its queue has no more tries for it: it would be a
dead letter, and its batch too. All that is new costs nothing of this.

The note has also by which id an event without an envelope of ours was taken first: sent again, or
moved back from the dead letters, its message has another.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from shopstream.aws.clients import asked
from shopstream.aws.messages import Message, message_of
from shopstream.aws.wire import is_raw
from shopstream.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shopstream.aws.clients import Clients
    from shopstream.aws.names import Names

Given: TypeAlias = dict[str, Any]
"""A message as Lambda gives it."""
RECEIVES_MAX = 5
"""A queue gives a message at least so often (terraform/modules/queue, `receive_count_max`)."""
TRIES_MAX = 2
"""Times that a message is tried by itself and the process ends, before it is given up."""
READING = -1
KEPT_S = 30 * 86_400
"""Longer than anything keeps a message: a dead-letter queue 14 days after a queue's own 14."""
KEY_PREFIX = "message"


class Note(Struct):
    """What is remembered of a message: the id and time of the record as it was taken first, and
    how often it was tried without an end.

    `at` is the record of it at which the last try was, READING before there was any; `decided` says
    that what that record comes to was known and being written, so that it can't be given up.
    """

    record_id: str
    received_us: int
    tries: int = 0
    at: int = READING
    decided: bool = False

    @property
    def deadly(self) -> bool:
        return self.tries > 0 and not self.decided


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Note).decode


class MadeWay(Exception):
    """The message was not tried, so that the function doesn't end before it has answered for the
    others of its batch.
    """


class Notes:
    """Where notes are kept: beside the alerts that were published."""

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients = clients
        self._table = names.idempotency

    def find(self, message: Message) -> Note | None:
        with asked(f"get an item of {self._table}"):
            answer = self._clients.dynamodb.get_item(
                TableName=self._table, Key=_key(message), ConsistentRead=True
            )
        found = answer.get("Item")
        return None if found is None else _decode(found["note"]["S"])

    def keep(self, message: Message, note: Note) -> None:
        expires = int(time.time()) + KEPT_S
        item: Any = {"note": {"S": _encode(note).decode()}, "expiration": {"N": str(expires)}}
        with asked(f"put an item into {self._table}"):
            self._clients.dynamodb.put_item(TableName=self._table, Item=_key(message) | item)

    def forget(self, message: Message) -> None:
        with asked(f"delete an item of {self._table}"):
            self._clients.dynamodb.delete_item(TableName=self._table, Key=_key(message))


def _key(message: Message) -> Any:
    return {"id": {"S": f"{KEY_PREFIX}#{message.content}"}}


def first_note(message: Message) -> Note:
    return Note(message.message_id, message.received_us)


class Attempt:
    """One try of a message, which goes on from a note. Who tries it says what comes next, and what
    `keep` is told of it stays after the process. `record_id` and `received_us` are those of the
    first try. `given_up` is the record that isn't to be tried any more, None when there is none;
    READING: nothing of the message is to be read.
    """

    def __init__(
        self, note: Note, keep: Callable[[Note], None] | None = None, *, gives_up: bool = False
    ) -> None:
        self.record_id = note.record_id
        self.received_us = note.received_us
        self.tries = note.tries
        self.given_up = note.at if gives_up else None
        self._keep = None if gives_up else keep
        self._note = replace(
            note, tries=1 if note.decided else note.tries + 1, at=READING, decided=False
        )
        self._write()

    def begins(self, n: int) -> None:
        """The message was read, its record `n` is looked at."""
        self._note = replace(self._note, at=n, decided=False)
        self._write()

    def decided(self) -> None:
        """It is known what the record comes to: it is not what ends the process."""
        if not self._note.decided:
            self._note = replace(self._note, decided=True)
            self._write()

    def _write(self) -> None:
        if self._keep is not None:
            self._keep(self._note)


class Turns(NamedTuple):
    """A batch in the order in which it is tried: `alone` each by itself, `together` as one, then
    `last` each by itself. Messages of one group keep their order.
    """

    alone: list[Given]
    together: list[Given]
    last: list[Given]


class Suspects:
    """The messages of one batch, and what is known of each."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._known: dict[str, Note | None] = {}
        self._making_way: set[str] = set()
        self._tried: set[str] = set()
        self._given_up: set[str] = set()

    def turns(self, batch: Iterable[Given]) -> Turns:
        """Who is tried when. Raises AwsError when notes can't be read."""
        messages = [(given, message_of(given)) for given in batch]
        deadly = {m.message_id: m.group for _, m in messages if self._deadly(m)}
        last = set(deadly.values())
        alone = {m.group for _, m in messages if m.receives > 1} - last
        if alone or len(last) > 1:
            self._making_way |= deadly.keys()
        return Turns(
            [given for given, m in messages if m.group in alone],
            [given for given, m in messages if m.group not in alone | last],
            [given for given, m in messages if m.group in last],
        )

    def attempt(self, given: Given) -> Attempt:
        """The message is about to be tried. Raises MadeWay when it is not its turn, and AwsError
        when nothing can be noted of it.
        """
        message = message_of(given)
        note = self._deadly(message)
        if note and (note.tries >= TRIES_MAX or message.receives >= RECEIVES_MAX):
            self._tried.add(message.message_id)
            self._given_up.add(message.message_id)
            return Attempt(note, gives_up=True)
        if message.message_id in self._making_way:
            raise MadeWay("the function has ended at it, and others are to be answered for first")
        self._tried.add(message.message_id)
        suspect = note is not None or message.receives > 1

        def keep(noted: Note) -> None:
            self._notes.keep(message, noted)
            self._known[message.message_id] = noted

        return Attempt(self._find(message) or first_note(message), keep if suspect else None)

    def ended(self, given: Given, *, good: bool) -> None:
        """The function has not ended at the message: it is settled, or it failed. When that can't
        be noted, a settled one's note expires, and another is tried with more care than it needs.
        """
        message = message_of(given)
        if message.message_id not in self._tried:
            return
        note = self._known.get(message.message_id)
        with suppress(AwsError):
            if good and note is not None:
                self._notes.forget(message)
            elif not good and message.message_id not in self._given_up:
                self._failed(message, note)

    def _failed(self, message: Message, note: Note | None) -> None:
        first = note or first_note(message)
        plain = Note(first.record_id, first.received_us)
        if note != plain and (note is not None or is_raw(message.body)):
            self._notes.keep(message, plain)

    def _find(self, message: Message) -> Note | None:
        if message.message_id not in self._known:
            told = message.receives > 1 or is_raw(message.body)
            self._known[message.message_id] = self._notes.find(message) if told else None
        return self._known[message.message_id]

    def _deadly(self, message: Message) -> Note | None:
        """The note of a message that is deadly."""
        note = self._find(message)
        return note if note is not None and note.deadly else None
