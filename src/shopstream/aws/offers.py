"""OfferGenerator and CartWatcher: what the rules make of stored clicks, and of silence."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from shopstream.aws.abreast import AT_ONCE, abreast
from shopstream.aws.items import from_stream, text_of
from shopstream.aws.lake_rules import LakeRules
from shopstream.flow_settings import flow_config
from shopstream.flows.offering import Offered, fire_timers, make_offers
from shopstream.flows.records import history_watermark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shopstream.aws.engine import AwsEngine

TIME_KEPT_S = 10.0
"""What a run leaves of its time, so that the user at hand is done before it ends."""


class Offers:
    """Decides on offers for the users whose clicks a batch of the table's stream brought."""

    def __init__(self, engine: AwsEngine) -> None:
        self._config = flow_config(engine.settings, 0, 1)
        self._items = engine.tables()
        self._lake = engine.lake()
        self._budget = engine.budget()
        self._rules = LakeRules(engine.clients, engine.names)

    def make(self, changes: Sequence[Mapping[str, Any]]) -> Offered:
        """What new items of one user's clicks come to, all of them in the stream's order."""
        chunks: list[tuple[str, bytes]] = []
        for change in changes:
            image = change["dynamodb"]["NewImage"]
            chunks.append((text_of(image["sk"]), self._items.item(from_stream(image))))
        return make_offers(
            user_of(changes[0]),
            chunks,
            self._rules.rules(),
            self._config,
            self._budget,
            time.time_ns() // 1_000,
            self._items,
            self._lake,
        )


def user_of(change: Mapping[str, Any]) -> str:
    """Whose clicks a change of the table is about."""
    return text_of(change["dynamodb"]["Keys"]["pk"])


class Watched(Struct):
    """What a run of the watcher came to: timers fired, and users at whose timers it `failed`, which
    are there as they were. `finished` is false when it left users for the next run.
    """

    live: int
    historical: int
    failed: int
    finished: bool


class _Fired(Struct):
    """What came of the timers of one kind."""

    timers: int = 0
    failed: int = 0
    finished: bool = True


class _Memory(Struct):
    """How far history was at the last run."""

    history_us: int = 0


_decode_memory = msgspec.json.Decoder(_Memory).decode


class CartWatcher:
    """Fires the timers that are due: live ones by the clock, those of history by its watermark.

    A user whose timers can't be fired keeps nobody else from theirs, and is tried again by the
    next run. `logger` is Powertools'; it is told why.
    """

    def __init__(self, engine: AwsEngine, logger: Any) -> None:
        self._config = flow_config(engine.settings, 0, 1)
        self._items = engine.tables()
        self._lake = engine.lake()
        self._budget = engine.budget()
        self._rules = LakeRules(engine.clients, engine.names)
        self._logger = logger

    def watch(self, clock_us: int, *, settled: bool, time_left_s: Callable[[], float]) -> Watched:
        """Fire what is due. History's timers wait until its watermark has stood still since the
        last run, as records on their way may bring the purchase that one waits for; `settled` is
        the caller's word that none is on its way.
        """
        live = self._fire(clock_us, time_left_s, historical=False)
        history_us = history_watermark(self._items)
        past = _Fired()
        if live.finished and history_us and (settled or history_us == self._last_us()):
            past = self._fire(history_us, time_left_s, historical=True)
        self._remember(history_us)
        finished = live.finished and past.finished
        return Watched(live.timers, past.timers, live.failed + past.failed, finished)

    def _fire(self, until_us: int, time_left_s: Callable[[], float], *, historical: bool) -> _Fired:
        fired = _Fired()
        rules = self._rules.rules()

        def fire(user_id: str) -> int:
            return fire_timers(
                user_id,
                until_us,
                historical,
                rules,
                self._config,
                self._budget,
                time.time_ns() // 1_000,
                self._items,
                self._lake,
            ).fired

        due = self._items.due_users(until_us, historical)
        while users := list(islice(due, AT_ONCE)):
            if time_left_s() <= TIME_KEPT_S:
                fired.finished = False
                break
            for user_id, outcome in zip(users, abreast(fire, users), strict=True):
                fired.timers += outcome.value or 0
                if outcome.error is not None:  # whatever it was, the next run comes again
                    fired.failed += 1
                    self._logger.error(
                        "the timers of %r can't be fired", user_id, exc_info=outcome.error
                    )
        return fired

    def _last_us(self) -> int:
        stored = self._items.get("state", "cart_watcher")
        return _decode_memory(stored).history_us if stored else 0

    def _remember(self, history_us: int) -> None:
        batch = self._items.batch()
        batch.put("state", "cart_watcher", "", msgspec.json.encode(_Memory(history_us)))
        self._items.write(batch)
