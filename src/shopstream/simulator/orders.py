"""Orders whose amount is what their lines add up to."""

from collections.abc import Mapping
from random import Random

from shopstream.simulator.catalogue import CURRENCY, Product, price_text

_PAYMENT = ("card", "card", "card", "paypal", "paypal", "apple_pay", "invoice")
_FREE_SHIPPING_CENTS = 5_000
_SHIPPING_CENTS = 495


class Order:
    """An order and the JSON of all that stays the same when its status changes."""

    __slots__ = ("_text", "lines", "paid_at_once")

    def __init__(
        self, random: Random, order_id: str, user_id: str, lines: Mapping[Product, int]
    ) -> None:
        self.lines = dict(lines)
        goods = sum(p.cents * n for p, n in lines.items())
        discount = goods // 10 if random.random() < 0.1 else 0
        shipping = 0 if goods >= _FREE_SHIPPING_CENTS else _SHIPPING_CENTS
        payment = _PAYMENT[int(random.random() * len(_PAYMENT))]
        self.paid_at_once = payment != "invoice"
        customer = f'"customer_id":"{user_id}",' if user_id else ""
        listed = ",".join(f'{{{p.line_text}"quantity":{n}}}' for p, n in lines.items())
        reduced = f'"discount":{price_text(discount)},' if discount else ""
        self._text = (
            f'{{"order_id":"{order_id}",{customer}"lines":[{listed}],'
            f'"amount":{price_text(goods + shipping - discount)},'
            f'"shipping":{price_text(shipping)},{reduced}"currency":"{CURRENCY}",'
            f'"payment_method":"{payment}",'
        )

    def event(self, status: str, time_text: str) -> bytes:
        return f'{self._text}"status":"{status}","timestamp":"{time_text}"}}'.encode()
