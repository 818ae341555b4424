"""The input of every benchmark: click events as NDJSON, the same bytes for the same count.

366 bytes and 14 fields on average, 100,000 users and 5,000 products by Zipf's law, event time
5 ms apart and up to 5 s out of order, and every hundredth event invalid, in one of four ways.
"""

import itertools
import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from shopstream.events import Click

COUNT = 2_000_000
COUNT_QUICK = 200_000
INVALID_SHARE = 100  # one in so many
USERS = 100_000
PRODUCTS = 5_000
STEP_US = 5_000
LATE_US_MAX = 5_000_000
BEGIN_S = 1_748_851_200  # 2025-06-02T08:00:00Z: in the past wherever this runs
_CHUNK = 20_000
_SEED = 20_250_603

# Weights that make about as many offers of the offers job as the peers' figures were taken with.
_TYPES = {
    "view": 60,
    "add_to_cart": 22,
    "click": 7,
    "begin_checkout": 4,
    "search": 4,
    "remove_from_cart": 2,
    "purchase": 1,
}
_DEVICES = ("mobile", "mobile", "desktop", "tablet")
_CATEGORIES = ("electronics", "home.kitchen", "clothes.shoes", "toys", "garden", "books")
_EVENT = (
    '{"event_id":"%032x","user_id":"u%05d","session_id":"s%05d-%d","event_type":"%s",'
    '"page":"/product/p%d","product_id":"p%d","timestamp":"%s.%03dZ","device_type":"%s",'
    '"referrer_url":"https://www.google.com/search?q=shoe+uk","location":"GB","browser":"Chrome",'
    '"user_type":"%s","price":%.2f,"category":"%s"}'
)


def events_file(folder: Path, count: int = COUNT) -> Path:
    """The NDJSON file of `count` events in `folder`, made if it isn't there."""
    path = folder / f"events-{count}-{_SEED}.ndjson"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as out:
        for chunk in _chunks(count):
            out.write(("\n".join(chunk) + "\n").encode())
    part.rename(path)
    return path


def batches(path: Path, size: int = 1_000) -> Iterator[list[bytes]]:
    """The events of a file as lists of `size`, without their newlines."""
    with path.open("rb") as lines:
        while batch := [line[:-1] for line in itertools.islice(lines, size)]:
            yield batch


def warm(path: Path) -> int:
    """Read a file once, so that every job finds it in the page cache; returns its bytes."""
    size = 0
    with path.open("rb", buffering=0) as file:
        while read := len(file.read(1 << 22)):
            size += read
    return size


def end_us(path: Path) -> int:
    """The latest event time in a file of events, in microseconds since 1970."""
    read = msgspec.json.Decoder(Click).decode
    latest = 0
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 1 << 20), os.SEEK_END)
        for raw in file.read().split(b"\n"):
            with suppress(msgspec.DecodeError):
                latest = max(latest, round(read(raw).timestamp.timestamp() * 1e6))
    return latest


def _chunks(count: int) -> Iterator[list[str]]:
    dice = random.Random(_SEED)
    by_user, by_product = _zipf(USERS), _zipf(PRODUCTS)
    by_type = list(itertools.accumulate(_TYPES.values()))
    for start in range(0, count, _CHUNK):
        n = min(_CHUNK, count - start)
        users = dice.choices(range(USERS), cum_weights=by_user, k=n)
        types = dice.choices(list(_TYPES), cum_weights=by_type, k=n)
        products = dice.choices(range(PRODUCTS), cum_weights=by_product, k=n)
        events = [
            _event(dice, start + i, *drawn)
            for i, drawn in enumerate(zip(users, types, products, strict=True))
        ]
        for i in range(INVALID_SHARE - 1, n, INVALID_SHARE):
            events[i] = _spoiled(events[i], (start + i) // INVALID_SHARE)
        yield events


def _zipf(count: int) -> list[float]:
    return list(itertools.accumulate(1 / rank for rank in range(1, count + 1)))


def _event(dice: random.Random, i: int, user: int, event_type: str, product: int) -> str:
    at_us = i * STEP_US + LATE_US_MAX - int(dice.random() * LATE_US_MAX)
    seconds, rest_us = divmod(at_us, 1_000_000)
    return _EVENT % (
        dice.getrandbits(128),
        user,
        user,
        seconds // 1_800,
        event_type,
        product,
        product,
        _second(BEGIN_S + seconds),
        rest_us // 1_000,
        _DEVICES[user % 4],
        "new" if user % 3 == 0 else "returning",
        5 + product % 95 + 0.99,
        _CATEGORIES[product % 6],
    )


def _spoiled(event: str, n: int) -> str:
    """An event that any consumer can tell is invalid, in the `n`-th of four ways."""
    match n % 4:
        case 0:
            return event[: len(event) // 2]
        case 1:
            return event.replace('"event_type":"', '"event_type":"un', 1)
        case 2:
            return event.replace('"user_id"', '"user_no"', 1)
        case _:
            return event.replace('"timestamp":"2', '"timestamp":"x', 1)


_seconds: dict[int, str] = {}


def _second(at_s: int) -> str:
    text = _seconds.get(at_s)
    if text is None:
        text = _seconds[at_s] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
    return text
