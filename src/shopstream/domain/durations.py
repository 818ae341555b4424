"""Durations as users write them: `90s`, `30m`, `24h`, `7d`; inside, whole microseconds."""

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
DURATION_US_MAX = 3_660 * DAY_US

_UNITS = {"d": DAY_US, "h": 3_600 * SECOND_US, "m": 60 * SECOND_US, "s": SECOND_US}


def duration_us(text: str) -> int:
    """`30m` -> 1,800,000,000. Raises ValueError unless it is a duration of at most ten years."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or len(number) > 12:
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 24h or 7d")
    if (us := int(number) * _UNITS[unit]) > DURATION_US_MAX:
        raise ValueError(f"{text!r} is not a duration of at most ten years")
    return us


def show_us(us: int) -> str:
    """The shortest text that `duration_us` reads back; parts of a second are dropped."""
    for unit, size in _UNITS.items():
        if us and us % size == 0:
            return f"{us // size}{unit}"
    return f"{us // SECOND_US}s"
