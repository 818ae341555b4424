"""Replay: rejections of the quarantine go into the log again, mended or as they were."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from shopstream.errors import ConfigError
from shopstream.flow_settings import limits_of
from shopstream.flows.replaying import ReplayReport, rejections, replay_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shopstream.aws.engine import AwsEngine

TIME_KEPT_S = 20.0
"""What a run leaves of its time to append what it has gathered."""


class Wanted(Struct, forbid_unknown_fields=True):
    """The event of the function: which rejections (all that is given must fit; `ids` are some of
    these), what to put into them, and whether what comes of them is news.
    """

    topic: str = ""
    reason: str = ""
    source: str = ""
    origin: str = ""
    field: str = ""
    id: str = ""
    ids: list[str] = []
    set: dict[str, str] = {}
    live: bool = False
    dry_run: bool = False


def replay(
    engine: AwsEngine, event: Mapping[str, Any], time_left_s: Callable[[], float]
) -> ReplayReport:
    """Replay what `event` asks for, as far as the time goes. Raises ConfigError for an event that
    isn't understood: better nothing than everything.
    """
    try:
        wanted = msgspec.convert(event, Wanted)
    except msgspec.ValidationError as e:
        raise ConfigError(f"event of the replay: {e}") from None
    names = ("topic", "reason", "source", "origin", "field", "id")
    where = {name: value for name in names if (value := getattr(wanted, name))}
    found = rejections(engine.tables(), where)
    if wanted.ids:
        chosen = frozenset(wanted.ids)
        found = (record for record in found if record.id in chosen)
    return replay_all(
        found,
        wanted.set,
        None if wanted.dry_run else engine.write_log(),
        now_us=lambda: time.time_ns() // 1_000,
        limits=limits_of(engine.settings),
        live=wanted.live,
        in_time=lambda: time_left_s() > TIME_KEPT_S,
    )
