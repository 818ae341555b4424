"""How long to wait before asking a server again: as it says, else longer each time, with jitter."""

from collections.abc import Mapping
from random import SystemRandom

RETRY_AFTER_S_MAX = 60.0
_FIRST_S, _MAX_S = 0.2, 10.0
_random = SystemRandom().random

BUSY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed later."""


def wait_s(tries: int, headers: Mapping[str, str] | None = None) -> float:
    """Seconds to wait after the `tries`th failed try (from 1).

    A `Retry-After` in seconds is obeyed up to a minute and a little is added, so that many
    clients don't come back at once. Otherwise it is a random time up to 0.2 s, 0.4 s, … 10 s
    ("full jitter", Amazon's Exponential Backoff And Jitter).
    """
    said = (headers or {}).get("retry-after", "")
    if said.isascii() and said.isdigit():
        return min(float(said), RETRY_AFTER_S_MAX) * (1 + 0.1 * _random())
    return min(_MAX_S, _FIRST_S * 2.0 ** min(tries - 1, 20)) * _random()
