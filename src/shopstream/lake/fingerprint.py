"""Which version of a model made a table."""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from shopstream.lake.model import Model, Source


def fingerprint(model: Model, sources: Mapping[str, Source]) -> str:
    """Changes when what a table holds may: its SQL, columns, partition or way of building, or how
    the sources are read that it is made of.
    """
    read = [sources[name] for name in model.reads if name in sources]
    said = (
        (model.sql, list(model.types.items()), model.partition, model.build, model.merge),
        model.last_days,
        [(source.sql, list(source.raw.items()), list(source.types.items())) for source in read],
    )
    return blake2b(msgspec.json.encode(said), digest_size=8).hexdigest()
