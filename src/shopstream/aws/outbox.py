"""The outbox on AWS: alerts that SNS has still to take, beside the other state in the tables."""

from collections.abc import Iterator

import msgspec

from shopstream.events import Alert
from shopstream.ports import Items

_PLACE = ("state", "outbox")

_encode = msgspec.json.Encoder(decimal_format="number").encode
read = msgspec.json.Decoder(Alert).decode


class Outbox:
    """Alerts by their ids, until they have gone out. Any number of processes may put and take."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def put(self, alert: Alert) -> None:
        """Keep an alert; when this returns, it goes out sooner or later. Twice is as good as
        once.
        """
        self._items.put_new(*_PLACE, alert.alert_id, _encode(alert))

    def waiting(self) -> Iterator[tuple[str, bytes]]:
        """Ids of alerts, and what `read` makes alerts of."""
        return self._items.query(*_PLACE)

    def remove(self, alert_id: str) -> None:
        """Forget an alert that has gone out."""
        batch = self._items.batch()
        batch.delete(*_PLACE, alert_id)
        self._items.write(batch)
