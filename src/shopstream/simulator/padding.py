"""Free-form payloads that bring events to a wanted size, out of a pool made once."""

from random import Random

import msgspec

from shopstream.errors import ConfigError

KIB = 1024
POOL = 16
ORDER_KB_MAX = 1_000
"""An order's payload may be 1 MiB."""
OTHER_KB_MAX = 250
"""Any other event may be 256 KiB."""
_EVENT_BYTES = 600


class Padding:
    """Adds a `payload` of notes to events, so that each has about `target_kb` KiB.

    Raises ConfigError when the topic's events may not be that large.
    """

    def __init__(self, target_kb: int, kind: str, seed: int) -> None:
        most = ORDER_KB_MAX if kind in ("orders", "shop") else OTHER_KB_MAX
        if target_kb > most:
            what = "orders" if most == ORDER_KB_MAX else f"{kind}; only orders may be larger"
            raise ConfigError(f"--target-kb {target_kb}: wanted at most {most} for {what}")
        # In a whole shop only the orders carry papers.
        self._topics = ("orders",) if kind == "shop" else (kind,)
        self._random = Random(f"{seed}/padding")  # noqa: S311 (made-up data, must be repeatable)
        self._pool = _payloads(self._random, seed, target_kb * KIB - _EVENT_BYTES)

    def padded(self, topic: str, raw: bytes) -> bytes:
        if topic not in self._topics:
            return raw
        return b"".join((raw[:-1], self._pool[int(self._random.random() * POOL)], b"}"))


def _payloads(random: Random, seed: int, size: int) -> list[bytes]:
    from faker import Faker

    fake = Faker("en_GB", use_weighting=False)
    fake.seed_instance(seed)
    notes = [
        msgspec.json.encode({"by": fake.name(), "note": fake.paragraph(nb_sentences=6)})
        for _ in range(100)
    ]
    return [_payload(random, notes, size) for _ in range(POOL)]


def _payload(random: Random, notes: list[bytes], size: int) -> bytes:
    chosen: list[bytes] = []
    filled = len(b',"payload":{"notes":[]}')
    while True:
        note = notes[int(random.random() * len(notes))]
        if filled + len(note) + 1 > size and chosen:
            return b',"payload":{"notes":[' + b",".join(chosen) + b"]}"
        chosen.append(note)
        filled += len(note) + 1
