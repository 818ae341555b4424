"""A made-up shop: visitors come, look, fill carts, some buy; the shelves empty and fill again.

Pure and seeded: the same arguments give the same bytes (with the same version of Faker, which
names the towns). A visit is a generator that says how long it pauses; a heap holds all visits
that are going on and whatever else is to happen later, in order of time.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from shopstream.simulator.catalogue import CURRENCY, Catalogue, Product
from shopstream.simulator.daytime import TimeTexts, busy
from shopstream.simulator.orders import Order
from shopstream.simulator.padding import Padding
from shopstream.simulator.shelf import Shelf
from shopstream.simulator.shoppers import Crowd, Shopper, place_names
from shopstream.simulator.spoiling import spoiled

Kind: TypeAlias = Literal["clicks", "orders", "carts", "stock", "shop"]
KINDS: tuple[Kind, ...] = ("clicks", "orders", "carts", "stock", "shop")
PRODUCTS = 1_000
SECOND_US = 1_000_000


class Habits(NamedTuple):
    """How visitors behave: chances, and the mean number of events that a visit makes and of
    products that are sold an event.
    """

    add: float
    remove: float
    checkout: float
    buy: float
    events: float
    sold: float


# Where only orders (or carts, or stock) are wanted, everybody buys: no visit is made for nothing.
_BROWSING = Habits(add=0.14, remove=0.12, checkout=0.55, buy=0.62, events=4.7, sold=0.04)
_HABITS: dict[Kind, Habits] = {
    "clicks": _BROWSING,
    "shop": _BROWSING._replace(events=5.6),
    "carts": Habits(add=0.9, remove=0.12, checkout=0.5, buy=0.6, events=3.7, sold=0.5),
    "orders": Habits(add=0.9, remove=0.0, checkout=1.0, buy=1.0, events=1.1, sold=4.5),
    "stock": Habits(add=0.9, remove=0.0, checkout=1.0, buy=1.0, events=3.1, sold=1.5),
}


class Simulated(NamedTuple):
    """One event, as JSON without a line break, and its topic."""

    topic: str
    raw: bytes


def simulate(
    kind: Kind,
    count: int,
    *,
    seed: int,
    start_us: int,
    invalid_percent: float = 0,
    per_s: float = 1,
    live: bool = False,
    target_kb: int = 0,
    skip: int = 0,
) -> Iterator[Simulated]:
    """`count` events (without end when it is 0) of a shop that opens at `start_us`, after the
    first `skip`.

    There are about `per_s` events in a second of event time. Their times follow the habits of the
    day or, when `live`, each other at exactly 1/`per_s` seconds. Of 100 events `invalid_percent`
    are spoiled. With `target_kb` each event (of a whole shop each order) is padded to that size.
    Raises ConfigError when events of `kind` may not be so large.
    """
    padding = Padding(target_kb, kind, seed) if target_kb else None
    random = Random(f"{seed}/spoiling")  # noqa: S311 (made-up data, must be repeatable)
    share = invalid_percent / 100
    shop = _Shop(kind, seed, start_us, per_s, live=live)
    for n, (topic, raw) in enumerate(islice(shop.events(), skip, None)):
        if share and random.random() < share:
            yield Simulated(topic, spoiled(topic, raw, random))
        else:
            yield Simulated(topic, padding.padded(topic, raw) if padding else raw)
        if n + 1 == count:
            return


class _Shop:
    def __init__(self, kind: Kind, seed: int, start_us: int, per_s: float, *, live: bool) -> None:
        # Ids have their own source: the same shop on another day must not repeat them.
        self._ids = Random(f"{seed}/{kind}/{start_us}")  # noqa: S311 (must be repeatable)
        self._random = Random(f"{seed}/shop")  # noqa: S311 (made-up data, must be repeatable)
        self._clicks = kind in ("clicks", "shop")
        self._orders = kind in ("orders", "shop")
        self._carts = kind in ("carts", "shop")
        self._stock = kind in ("stock", "shop")
        self._habits = _HABITS[kind]
        self._catalogue = Catalogue(self._random, PRODUCTS)
        self._crowd = Crowd(self._random, place_names(seed), self._catalogue.categories)
        self._shelf = Shelf(self._catalogue, per_s * 86_400 * self._habits.sold)
        self._times = TimeTexts()
        self._now_us = self._start_us = start_us
        self._arrival_us = self._habits.events / per_s * SECOND_US
        self._tick_us = SECOND_US / per_s if live else 0.0
        self._made = 0
        self._out: list[tuple[str, bytes]] = []
        self._agenda: list[tuple[int, int, Iterator[float]]] = []
        self._planned = 0

    def events(self) -> Iterator[tuple[str, bytes]]:
        self._plan(0, self._arrivals())
        while True:
            self._now_us, _, going_on = heappop(self._agenda)
            pause_s = next(going_on, None)
            if pause_s is not None:
                self._plan(pause_s, going_on)
            if self._out:
                yield from self._out
                self._out.clear()

    def _plan(self, pause_s: float, what: Iterator[float]) -> None:
        self._planned += 1
        heappush(self._agenda, (self._now_us + int(pause_s * SECOND_US), self._planned, what))

    def _arrivals(self) -> Iterator[float]:
        while True:
            self._plan(0, self._visit(self._crowd.arrive()))
            mean_s = self._arrival_us / SECOND_US / busy(self._now_us)
            yield mean_s * (0.5 + self._random.random())

    def _visit(self, shopper: Shopper) -> Iterator[float]:
        u, habits = self._random.random, self._habits
        session = self._crowd.session_text(shopper, self._id())
        cart: dict[Product, int] = {}
        cart_id = ""
        seen: list[Product] = []
        if u() < 0.25:
            self._click(session, "search", '"page":"/search",')
            yield 4 + 20 * u()
        for _ in range(1 + int(10 * u() ** 2.2)):
            # People come back to what they have looked at, and stay in what they like.
            if seen and u() < 0.3:
                product = seen[int(len(seen) * u())]
            else:
                product = self._catalogue.pick(u(), shopper.favourite if u() < 0.5 else "")
                seen.append(product)
            self._click(session, "view", product.click_text)
            yield 5 + 80 * u() ** 2
            if u() < 0.15:
                self._click(session, "click", product.click_text)
                yield 2 + 20 * u()
            quantity = 1 if u() < 0.8 else 2 + int(3 * u())
            in_cart = cart.get(product, 0)
            if u() < habits.add and self._shelf.has(product, in_cart + quantity):
                cart_id = cart_id or f"c{self._id()}"
                cart[product] = in_cart + quantity
                self._change_cart(session, shopper, cart_id, product, quantity, cart[product])
                yield 3 + 30 * u()
        if cart and u() < habits.remove:
            product = list(cart)[int(len(cart) * u())]
            self._change_cart(session, shopper, cart_id, product, -cart.pop(product), 0)
            yield 3 + 15 * u()
        if cart and u() < habits.checkout:
            self._click(session, "begin_checkout", f'"page":"/checkout","cart_id":"{cart_id}",')
            yield 30 + 150 * u()
            if u() < habits.buy:
                self._buy(session, shopper, cart_id, cart)

    def _buy(self, session: str, shopper: Shopper, cart_id: str, cart: dict[Product, int]) -> None:
        # Somebody else may have bought the last one since it was put in the cart.
        bought = {p: n for p, n in cart.items() if self._shelf.has(p, n)}
        if not bought:
            return
        order_id = f"o{self._id()}"
        customer = "" if shopper.guest else shopper.user_id
        order = Order(self._random, order_id, customer, bought)
        for product, quantity in bought.items():
            self._click(
                session,
                "purchase",
                f'{product.click_text}"quantity":{quantity},"cart_id":"{cart_id}",'
                f'"order_id":"{order_id}",',
            )
        self._set_status(order, "paid" if order.paid_at_once else "placed")
        for product, quantity in bought.items():
            if self._shelf.sell(product, quantity):
                self._plan(0, self._restock(product))
            self._count_stock(product)
        if not order.paid_at_once or self._random.random() < 0.03:
            self._plan(0, self._afterwards(order))

    def _afterwards(self, order: Order) -> Iterator[float]:
        """Invoices are paid days later or cancelled; of other orders a few are sent back."""
        yield (4 + 60 * self._random.random()) * 3_600
        if order.paid_at_once:
            self._set_status(order, "refunded")
        elif self._random.random() < 0.9:
            self._set_status(order, "paid")
            return
        else:
            self._set_status(order, "cancelled")
        for product, quantity in order.lines.items():
            self._shelf.give_back(product, quantity)
            self._count_stock(product)

    def _restock(self, product: Product) -> Iterator[float]:
        yield (12 + 36 * self._random.random()) * 3_600
        self._shelf.restock(product)
        self._count_stock(product)

    def _change_cart(
        self,
        session: str,
        shopper: Shopper,
        cart_id: str,
        product: Product,
        change: int,
        quantity: int,
    ) -> None:
        kind = "add_to_cart" if change > 0 else "remove_from_cart"
        self._click(
            session,
            kind,
            f'{product.click_text}"quantity":{abs(change)},"cart_id":"{cart_id}",',
        )
        if self._carts:
            self._emit(
                "carts",
                f'{{"event_id":"{self._id()}","user_id":"{shopper.user_id}",'
                f'"cart_id":"{cart_id}",{product.line_text}"quantity":{quantity},'
                f'"currency":"{CURRENCY}","timestamp":"{self._time()}"}}',
            )

    def _click(self, session: str, kind: str, about: str) -> None:
        if self._clicks:
            self._emit(
                "clicks",
                f'{{"event_id":"{self._id()}",{session}"event_type":"{kind}",{about}'
                f'"timestamp":"{self._time()}"}}',
            )

    def _count_stock(self, product: Product) -> None:
        if self._stock:
            self._emit(
                "stock",
                f'{{"event_id":"{self._id()}",{self._shelf.text(product)},'
                f'"timestamp":"{self._time()}"}}',
            )

    def _set_status(self, order: Order, status: str) -> None:
        if self._orders:
            self._out.append(("orders", order.event(status, self._time())))
            self._made += 1

    def _emit(self, topic: str, text: str) -> None:
        self._out.append((topic, text.encode()))
        self._made += 1

    def _id(self) -> str:
        return f"{self._ids.getrandbits(64):016x}"

    def _time(self) -> str:
        if self._tick_us:
            return self._times.text(self._start_us + int(self._made * self._tick_us))
        return self._times.text(self._now_us)
