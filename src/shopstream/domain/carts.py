"""Cart state: what is in a user's carts, since when, and whether they were abandoned.

A cart begins with the first thing put into it after it was empty, bought or abandoned; the event
that began it names it for good, so that an abandoned cart makes one offer.
"""

from decimal import Decimal

from msgspec import Struct

from shopstream.domain.canonical import CART_ID, CART_LINE
from shopstream.events import Click

CARTS_MAX = 64
"""Open carts kept for a user; past that, the one longest untouched is forgotten."""
LINES_MAX = 512
"""Products kept in a cart; past that, new products only count as activity."""
UNNAMED = ""
"""Key of the user's one cart without an id."""


class Line(Struct, array_like=True, gc=False):
    """One product in a cart. The price is the last one known."""

    quantity: int
    unit_price: Decimal | None = None
    category: str | None = None


class Cart(Struct, gc=False, omit_defaults=True, kw_only=True):
    """A cart that is open. Times are event times in microseconds UTC.

    `offered` maps a rule to the time at which it made its offer about this cart.
    """

    user_id: str
    cart_id: str | None = None
    began_by: str
    began_us: int
    touched_us: int
    historical: bool = False
    currency: str | None = None
    lines: dict[str, Line] = {}
    offered: dict[str, int] | None = None


def begin(click: Click, event_id: str, at_us: int) -> Cart:
    """The empty cart that this event begins."""
    return Cart(
        user_id=click.user_id,
        cart_id=click.cart_id,
        began_by=event_id,
        began_us=at_us,
        touched_us=at_us,
    )


def apply(cart: Cart, click: Click) -> None:
    """Change the lines of `cart` in place, as an add_to_cart or remove_from_cart says.

    A product put in without a quantity is one of it; taken out without a quantity, all of it.
    An event made from a cart line says how many there now are.
    """
    product = click.product_id or ""
    line = cart.lines.get(product)
    held = line.quantity if line else 0
    if click.extra and (click.event_id or "").startswith(CART_ID):
        held = int(click.extra[CART_LINE])
    elif click.event_type == "add_to_cart":
        held += click.quantity or 1
    elif click.event_type == "remove_from_cart":
        held = held - click.quantity if click.quantity else 0
    else:
        return
    if held <= 0:
        cart.lines.pop(product, None)
    elif line:
        line.quantity = held
        line.unit_price = line.unit_price if click.price is None else click.price
    elif len(cart.lines) < LINES_MAX:
        cart.lines[product] = Line(held, click.price, click.category)
    cart.currency = click.currency or cart.currency


def value(cart: Cart) -> Decimal:
    """Worth of what is in the cart; a line without a price counts nothing."""
    return sum(
        (line.unit_price * line.quantity for line in cart.lines.values() if line.unit_price),
        Decimal(0),
    )


def abandoned(cart: Cart, idle_us: int, now_us: int) -> bool:
    """Whether something lies in the cart and nothing was done with it for `idle_us`."""
    return bool(cart.lines) and now_us - cart.touched_us >= idle_us


def follow(
    carts: dict[str, Cart], click: Click, event_id: str, at_us: int, historical: bool
) -> Cart | None:
    """Take an event about a cart into `carts`, in place; the cart it put something into, if any.

    The caller has made sure that the event is not older than a purchase of that cart.
    """
    key = click.cart_id or UNNAMED
    cart = carts.get(key)
    if click.event_type == "begin_checkout":
        for touched in carts.values() if click.cart_id is None else (cart,):
            if touched:
                _touch(touched, at_us, historical)
        return cart
    if click.event_type == "add_to_cart" and (cart is None or _given_up(cart, at_us)):
        if cart is None and len(carts) >= CARTS_MAX:
            del carts[min(carts, key=lambda k: carts[k].touched_us)]
        cart = carts[key] = begin(click, event_id, at_us)
    if cart is None:
        return None
    _touch(cart, at_us, historical)
    apply(cart, click)
    if not cart.lines:
        del carts[key]
        return None
    return cart


def _given_up(cart: Cart, at_us: int) -> bool:
    """Whether the cart had been found abandoned by this time."""
    return cart.offered is not None and at_us >= min(cart.offered.values())


def _touch(cart: Cart, at_us: int, historical: bool) -> None:
    if at_us >= cart.touched_us:
        cart.touched_us = at_us
        cart.historical = historical


def end_bought(carts: dict[str, Cart], cart_id: str | None, at_us: int) -> None:
    """Forget, in place, the carts that a purchase ends: all that began by then or, when it names
    a cart, that one and the unnamed one.
    """
    ended = [
        key
        for key, cart in carts.items()
        if cart.began_us <= at_us and (cart_id is None or key in (cart_id, UNNAMED))
    ]
    for key in ended:
        del carts[key]
