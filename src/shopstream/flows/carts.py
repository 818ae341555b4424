"""Ingest cart lines: each becomes a click of its user's history, where carts are followed."""

from shopstream.domain.canonical import CART_ID, CART_LINE, content_id, same_content, settle
from shopstream.domain.failures import micros
from shopstream.domain.validation import read_event
from shopstream.events import CartLine, Click, Entry, Failure, Rejection
from shopstream.flows.clicks import Clicks
from shopstream.flows.work import ACCEPTED, DUPLICATE, FlowConfig, Work

_MADE_ON_THE_WAY = frozenset({"session_id", "user_type"})


class CartLines:
    """Cart lines of one micro-batch."""

    def __init__(self, clicks: Clicks, config: FlowConfig) -> None:
        self._clicks = clicks
        self._config = config

    def take(self, entry: Entry, work: Work) -> None:
        for n, raw in enumerate(entry.events):
            line = read_event("carts", raw, entry.received_us, self._config.limits)
            rejection: Rejection | None
            if isinstance(line, CartLine):
                settle(line, raw)
                rejection = self._derive(line, raw, entry, work)
            else:
                rejection = line if isinstance(line, Rejection) else None
            if rejection:
                self._clicks.quarantine(rejection, entry, n, work)

    def _derive(self, line: CartLine, raw: bytes, entry: Entry, work: Work) -> Rejection | None:
        click = as_click(line)
        at_us = micros(line.timestamp)
        known = self._clicks.derive(click, at_us, "carts", work, historical=entry.historical)
        if known is None:
            work.count("carts", entry.source, ACCEPTED)
        elif same_content(known, click, ignoring=_MADE_ON_THE_WAY):
            work.count("carts", entry.source, DUPLICATE)
        else:
            wanted = "an id of its own: another cart line of this user came with it"
            failure = Failure("conflict", "event_id", line.event_id or "", wanted)
            return Rejection(topic="carts", failures=[failure], raw=raw)
        return None


def as_click(line: CartLine) -> Click:
    """The click that a canonical cart line amounts to."""
    extra = (line.extra or {}) | {CART_LINE: line.quantity}
    if line.name is not None:
        extra["name"] = line.name
    return Click(
        event_id=f"{CART_ID}{line.event_id or content_id(line)}",
        user_id=line.user_id,
        event_type="add_to_cart" if line.quantity else "remove_from_cart",
        cart_id=line.cart_id,
        product_id=line.product_id,
        category=line.category,
        quantity=line.quantity or None,
        price=line.unit_price,
        currency=line.currency,
        timestamp=line.timestamp,
        extra=extra,
    )
