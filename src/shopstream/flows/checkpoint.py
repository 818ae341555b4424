"""How far a shard is in the log, as its tables keep it."""

import msgspec

from shopstream.ports import Tables


class Checkpoint(msgspec.Struct):
    """How far a shard is: `position` in the log, `done` events of its row at that position (not 0
    only while a row is taken one event at a time), the watermarks, and the micro-batches so far.
    """

    position: int = 0
    done: int = 0
    live_us: int = 0
    history_us: int = 0
    batches: int = 0


_decode = msgspec.json.Decoder(Checkpoint).decode


def read_checkpoint(tables: Tables) -> Checkpoint:
    """How far the shard of these tables is; at the beginning when it never ran."""
    stored = tables.get("state", "checkpoint")
    return _decode(stored) if stored else Checkpoint()
