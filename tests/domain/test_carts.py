"""What lies in a cart after what was done with it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from shopstream.domain.canonical import CART_ID, CART_LINE
from shopstream.domain.carts import (
    CARTS_MAX,
    LINES_MAX,
    Cart,
    abandoned,
    apply,
    begin,
    end_bought,
    follow,
    value,
)
from shopstream.events import Click, EventType


def click(type: Any, product: str | None = "p1", **more: Any) -> Click:
    return Click(
        user_id="u1",
        event_type=type,
        product_id=product,
        timestamp=datetime(2026, 3, 1, tzinfo=UTC),
        **more,
    )


def held(cart: Cart) -> dict[str, int]:
    return {product: line.quantity for product, line in cart.lines.items()}


def after(*clicks: Click) -> Cart:
    cart = begin(clicks[0], "e0", 0)
    for each in clicks:
        apply(cart, each)
    return cart


def test_what_is_put_in_adds_up_and_what_is_taken_out_is_gone() -> None:
    assert held(after(click("add_to_cart"), click("add_to_cart", quantity=2))) == {"p1": 3}
    assert held(after(click("add_to_cart", quantity=3), click("remove_from_cart", quantity=1))) == {
        "p1": 2
    }
    assert held(after(click("add_to_cart", quantity=3), click("remove_from_cart"))) == {}
    assert held(after(click("remove_from_cart", quantity=3), click("add_to_cart"))) == {"p1": 1}
    assert held(after(click("add_to_cart"), click("begin_checkout"))) == {"p1": 1}


def test_a_cart_line_says_how_many_there_now_are() -> None:
    def line(event_type: EventType, n: int) -> Click:
        return click(event_type, event_id=f"{CART_ID}{n}", extra={CART_LINE: n})

    lines = [line("add_to_cart", n) for n in (2, 5)]
    assert held(after(*lines)) == {"p1": 5}
    assert held(after(*lines, line("remove_from_cart", 0))) == {}
    assert held(after(click("add_to_cart", extra={CART_LINE: 5}))) == {"p1": 1}, "a sender's own"


def test_worth_counts_the_last_known_price_and_nothing_for_unknown_ones() -> None:
    cart = after(
        click("add_to_cart", price=Decimal("1.50"), quantity=2, currency="EUR"),
        click("add_to_cart", price=Decimal("1.60")),
        click("add_to_cart"),
        click("add_to_cart", "p2"),
    )
    assert value(cart) == Decimal("6.40")
    assert cart.currency == "EUR"


def test_carts_begin_with_the_first_thing_put_in_and_end_when_empty() -> None:
    carts: dict[str, Cart] = {}
    assert follow(carts, click("remove_from_cart"), "e0", 10, False) is None
    assert follow(carts, click("begin_checkout"), "e1", 20, False) is None
    cart = follow(carts, click("add_to_cart"), "e2", 30, False)
    assert cart is not None
    assert (cart.began_by, cart.began_us, cart.touched_us) == ("e2", 30, 30)
    assert follow(carts, click("begin_checkout", None), "e3", 40, True) is cart
    assert (cart.touched_us, cart.historical) == (40, True)
    assert follow(carts, click("remove_from_cart"), "e4", 50, False) is None
    assert carts == {}


def test_late_activity_does_not_turn_the_clock_back() -> None:
    carts: dict[str, Cart] = {}
    follow(carts, click("add_to_cart"), "e0", 30, False)
    follow(carts, click("add_to_cart", "p2"), "e1", 20, True)
    assert (carts[""].touched_us, carts[""].historical) == (30, False)
    assert held(carts[""]) == {"p1": 1, "p2": 1}


def test_a_cart_is_abandoned_when_something_has_lain_in_it_long_enough() -> None:
    cart = after(click("add_to_cart"))
    assert not abandoned(cart, 30, 29)
    assert abandoned(cart, 30, 30)
    apply(cart, click("remove_from_cart"))
    assert not abandoned(cart, 30, 30)


def test_a_purchase_ends_its_cart_and_the_unnamed_one_or_all() -> None:
    def some() -> dict[str, Cart]:
        carts: dict[str, Cart] = {}
        for cart_id in (None, "c1", "c2"):
            follow(carts, click("add_to_cart", cart_id=cart_id), "e", 10, False)
        return carts

    one, every, early = some(), some(), some()
    end_bought(one, "c1", 10)
    end_bought(every, None, 20)
    end_bought(early, None, 9)
    assert (list(one), list(every), list(early)) == (["c2"], [], ["", "c1", "c2"])


def test_carts_and_their_lines_are_bounded() -> None:
    carts: dict[str, Cart] = {}
    for n in range(CARTS_MAX + 5):
        follow(carts, click("add_to_cart", cart_id=f"c{n}"), "e", n, False)
    assert (len(carts), min(carts.values(), key=lambda c: c.touched_us).cart_id) == (
        CARTS_MAX,
        "c5",
    )
    cart = after(*(click("add_to_cart", f"p{n}") for n in range(LINES_MAX + 5)))
    assert len(cart.lines) == LINES_MAX


def test_a_cart_is_kept_as_json() -> None:
    cart = after(click("add_to_cart", price=Decimal("1.50"), cart_id="c1"))
    assert msgspec.json.decode(msgspec.json.encode(cart), type=Cart) == cart
