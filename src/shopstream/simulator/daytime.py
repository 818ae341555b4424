"""The shop's clock: what times look like in events, and how busy each hour of the day is."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_US = 3_600_000_000

# Share of a day's visits by hour (UTC), 1 being an average hour: quiet nights, busy evenings.
_BUSY = (
    *(0.35, 0.22, 0.15, 0.12, 0.14, 0.25, 0.45, 0.75, 1.00, 1.15, 1.25, 1.30),
    *(1.35, 1.25, 1.20, 1.20, 1.25, 1.40, 1.60, 1.85, 1.95, 1.75, 1.25, 0.82),
)


def busy(at_us: int) -> float:
    """How many visits there are at that time of day, as a multiple of the average."""
    return _BUSY[at_us // _HOUR_US % 24]


class TimeTexts:
    """Microseconds as RFC 3339 text; the date is worked out once a day."""

    def __init__(self) -> None:
        self._day = -1
        self._date = ""

    def text(self, at_us: int) -> str:
        seconds, us = divmod(at_us, 1_000_000)
        day, second = divmod(seconds, 86_400)
        if day != self._day:
            self._day = day
            self._date = (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")
        minute, s = divmod(second, 60)
        return f"{self._date}T{minute // 60:02d}:{minute % 60:02d}:{s:02d}.{us:06d}Z"
