"""What the builder on AWS remembers, in the table `state`: the tables as it left them, a build that
isn't done yet, and who is building.

A build whose time is up, or whose process died, is gone on with by the next: the statements that it
started are known by their text, so that none is run twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
from msgspec import Struct

from shopstream.errors import Busy
from shopstream.lake.plan import NO_DAYS, Days, union
from shopstream.lake.report import Built

if TYPE_CHECKING:
    from shopstream.ports import Items

STATE, BUILD, CLAIM = "state", "build", "claim"
"""Table and partition key of all that is kept here (the sort key "" has the last build)."""
CHANGES_MAX = 200
"""Builds of a table whose days are remembered; who has seen none of these reads all of it."""


class Change(Struct, array_like=True):
    """The days of a table that a build wrote anew; None for all."""

    build: int
    at_us: int
    days: list[str] | None


class TableState(Struct, kw_only=True):
    """A published table: by which build and by which version of its model; how many rows.

    `landed` says what was seen of the partitions of lines that it is made of, `upstream` which
    build's tables. `changes` are all since `forgotten`. `failing` are tests that fail now. By build
    `tended` its small files were last put together.
    """

    build: int = 0
    built_at: datetime | None = None
    model: str = ""
    rows: int = 0
    landed: dict[str, str] = {}
    upstream: dict[str, int] = {}
    changes: list[Change] = []
    forgotten: int = 0
    failing: list[str] = []
    tended: int = 0

    def changed_since(self, build: int) -> Days:
        """The days written anew by builds after `build`."""
        if self.build <= build:
            return NO_DAYS
        if build < self.forgotten:
            return None
        return union(change.days for change in self.changes if change.build > build)

    def changed(self, change: Change) -> None:
        self.build = change.build
        kept = [c for c in self.changes if c.build != change.build]
        if len(kept) >= CHANGES_MAX:
            self.forgotten = kept[-CHANGES_MAX].build
            kept = kept[-CHANGES_MAX + 1 :]
        self.changes = [*kept, change]


class Asked(Struct, omit_defaults=True):
    """What a build was asked for; see `plan.Wanted`."""

    full: bool = False
    select: list[str] = []
    since: str = ""
    until: str = ""


class OpenBuild(Struct, kw_only=True):
    """A build that isn't done. `arrived` is what had landed when it began: by table of lines, each
    partition and what was in it. `started` are queries by what they are. `done` are the tables
    that it is done with, for None there was nothing to do. `then` is what somebody asked for
    meanwhile: the next build.
    """

    number: int
    began_us: int
    asked: Asked
    arrived: dict[str, dict[str, str]]
    started: dict[str, str] = {}
    done: dict[str, Built | None] = {}
    then: Asked | None = None


class LastBuild(Struct, kw_only=True):
    """What the last build came to; `failed` are tables that weren't published."""

    build: int
    built_at: datetime
    failed: list[str]
    tables: list[Built] = []


class _Claim(Struct):
    """Somebody builds, at the latest until then (microseconds since 1970)."""

    owner: str
    until_us: int


class BuildMemory:
    """Kept in `items`. One builder at a time writes, the one who has the claim."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self._claim = b""

    def claim(self, now_us: int, until_us: int) -> None:
        """Be the builder until then or until `release`. Raises Busy when somebody else is."""
        mine = msgspec.json.encode(_Claim(uuid4().hex, until_us))
        found = self._items.put_new(STATE, BUILD, CLAIM, mine)
        if found is not None and found != mine:
            ends_us = msgspec.json.decode(found, type=_Claim).until_us
            if ends_us > now_us or not self._items.swap(STATE, BUILD, CLAIM, found, mine):
                raise Busy("another build goes on; try again when it is done")
        self._claim = mine

    def release(self) -> None:
        """Let others build."""
        ended = msgspec.json.encode(_Claim("", 0))
        self._items.swap(STATE, BUILD, CLAIM, self._claim, ended)

    def tables(self) -> dict[str, TableState]:
        """Every table that was ever built, by name."""
        found = self._items.query(STATE, BUILD, after="table#", before="table$")
        return {
            sk.removeprefix("table#"): msgspec.json.decode(item, type=TableState)
            for sk, item in found
        }

    def keep(self, name: str, state: TableState) -> None:
        self._put(f"table#{name}", state)

    def open_build(self) -> OpenBuild | None:
        """The build to go on with."""
        found = self._items.get(STATE, BUILD, "open")
        return msgspec.json.decode(found, type=OpenBuild) if found else None

    def keep_open(self, build: OpenBuild) -> None:
        self._put("open", build)

    def last(self) -> LastBuild | None:
        found = self._items.get(STATE, BUILD, "")
        return msgspec.json.decode(found, type=LastBuild) if found else None

    def end(self, last: LastBuild) -> None:
        """The open build is done."""
        self._put("", last)
        batch = self._items.batch()
        batch.delete(STATE, BUILD, "open")
        self._items.write(batch)

    def _put(self, sk: str, value: Struct) -> None:
        batch = self._items.batch()
        batch.put(STATE, BUILD, sk, msgspec.json.encode(value))
        self._items.write(batch)


def failing_now(states: Mapping[str, TableState]) -> list[str]:
    """The tables whose last try failed its tests."""
    return sorted(name for name, state in states.items() if state.failing)
