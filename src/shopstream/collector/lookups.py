"""Look-ups by user and by order, from the tables that the processors write.

RocksDB is read through secondary instances, one a shard, by one worker thread; a reader catches up
with its writer before it answers.
"""

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from shopstream.collector.refusal import Refusal
from shopstream.domain.canonical import encode, read_stored
from shopstream.domain.carts import Cart
from shopstream.domain.partition import shard_of_key
from shopstream.errors import AwsError, ShopstreamError
from shopstream.events import ID_BYTES_MAX, Offer
from shopstream.flows.history import lines_of
from shopstream.flows.people import open_carts
from shopstream.flows.places import own_place
from shopstream.flows.taken import unmarked
from shopstream.ports import Tables

EVENTS_MAX = 1_000
ID_CHARS_MAX = ID_BYTES_MAX
ID_PATTERN = r"^[^\u0000-\u001f\u007f]+$"
OFFERS_MAX = 1_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_T = TypeVar("_T")
_decode_offer = msgspec.json.Decoder(Offer).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Readable(Protocol):
    """Tables to read, in shards."""

    @property
    def shards(self) -> int: ...

    def read_tables(self, shard: int, /) -> Tables: ...


class Lookups:
    """Answers are JSON. All reading happens on one thread of its own."""

    def __init__(self, engine: Readable) -> None:
        self._engine = engine
        self._shards = engine.shards
        self._readers: dict[int, Tables] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lookups")

    async def offers(self, user_id: str, *, every: bool, limit: int) -> bytes:
        """The user's offers, newest first: those that can be used now, or `every` one decided."""
        now = datetime.fromtimestamp(time.time(), UTC)

        def read(tables: Tables) -> bytes:
            found = [_decode_offer(item) for _, item in tables.query("offers", user_id)]
            wanted = [o for o in found if every or _live(o, now)]
            wanted.sort(key=lambda o: (o.made_at, o.offer_id), reverse=True)
            return _encode({"user_id": user_id, "offers": wanted[:limit]})

        return await self._of_user(user_id, read)

    async def events(self, user_id: str, *, limit: int) -> bytes:
        """The user's last clicks in canonical form, the latest stored first."""

        def read(tables: Tables) -> bytes:
            lines: list[msgspec.Raw] = []
            for _, item in tables.query("browsing_events", user_id, reverse=True):
                for line in reversed(lines_of(item)):
                    if line:
                        lines.append(msgspec.Raw(encode(read_stored(line))))
                    if len(lines) == limit:
                        return _encode({"user_id": user_id, "events": lines})
            return _encode({"user_id": user_id, "events": lines})

        return await self._of_user(user_id, read)

    async def carts(self, user_id: str) -> bytes:
        """The user's open carts, the one last touched first."""

        def read(tables: Tables) -> bytes:
            carts = open_carts(tables, user_id).values()
            newest = sorted(carts, key=lambda cart: cart.touched_us, reverse=True)
            return _encode({"user_id": user_id, "carts": [_shown_cart(cart) for cart in newest]})

        return await self._of_user(user_id, read)

    async def orders(self, order_id: str) -> bytes:
        """Each state of each order with this id, by source; Refusal 404 when there is none."""
        _check_id(order_id)

        def read() -> bytes:
            found = []
            for shard in range(self._shards):
                for place, item in self._tables(shard).query("orders", order_id):
                    source, _, status = own_place(place).rpartition("#")
                    order = msgspec.Raw(unmarked(item))
                    found.append({"source": source, "status": status, "order": order})
            if not found:
                raise Refusal(404, "not_found", "there is no order with this id")
            return _encode({"order_id": order_id, "orders": found})

        return await self._run(read)

    def close(self) -> None:
        self._thread.submit(self._close_readers).result()
        self._thread.shutdown()

    async def _of_user(self, user_id: str, read: Callable[[Tables], bytes]) -> bytes:
        _check_id(user_id)
        shard = shard_of_key(user_id, self._shards)
        return await self._run(lambda: read(self._tables(shard)))

    async def _run(self, read: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, read)
        except ShopstreamError as e:
            # The message names folders, which are nobody's business but the operator's.
            structlog.get_logger().warning("tables_unreadable", error=str(e))
            code, why = "no_tables", "there are no tables yet: no processor has run"
            if isinstance(e, AwsError):
                code, why = "unavailable", "the tables can't be read now; try again"
            raise Refusal(503, code, why, retry_after_s=2) from None

    def _tables(self, shard: int) -> Tables:
        tables = self._readers.get(shard)
        if tables is None:
            tables = self._readers[shard] = self._engine.read_tables(shard)
        else:
            try:
                tables.refresh()
            except Exception:  # noqa: BLE001 - rocksdict raises plain Exception; a new reader mends it
                del self._readers[shard]
                tables.close()
                tables = self._readers[shard] = self._engine.read_tables(shard)
        return tables

    def _close_readers(self) -> None:
        for tables in self._readers.values():
            tables.close()
        self._readers.clear()


def _check_id(value: str) -> None:
    usable = 0 < len(value) <= ID_CHARS_MAX and _CONTROL.search(value) is None
    try:
        value.encode()
    except UnicodeEncodeError:
        usable = False
    if not usable:
        most = ID_CHARS_MAX
        raise Refusal(400, "id", f"an id has 1 to {most} characters, none of them control ones")


def _live(offer: Offer, now: datetime) -> bool:
    return (
        offer.delivered
        and not (offer.held_out or offer.moot or offer.historical)
        and offer.expires_at > now
    )


def _shown_cart(cart: Cart) -> dict[str, Any]:
    """A cart as people read it: times written out, lines with named fields."""
    return {
        "cart_id": cart.cart_id,
        "began_at": _time(cart.began_us),
        "touched_at": _time(cart.touched_us),
        "currency": cart.currency,
        "lines": [
            {"product_id": product_id, **msgspec.structs.asdict(line)}
            for product_id, line in cart.lines.items()
        ],
    }


def _time(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(microsecond=at_us % 1_000_000)
