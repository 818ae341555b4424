"""The stock: falls with every sale, is ordered again when low and comes in a day or two later."""

from shopstream.simulator.catalogue import Catalogue, Product


class Shelf:
    """How much of each product is on hand. Never below zero: what isn't there isn't sold."""

    def __init__(self, catalogue: Catalogue, sold_per_day: float) -> None:
        # Popular products are stocked deeper: each lasts some days and then runs low.
        size = max(1.0, sold_per_day / 10_000)
        self._full = [int(size * (30 + 3_000 / (p.number + 1))) for p in catalogue.products]
        self._on_hand = list(self._full)
        self._ordered = [False] * len(self._full)

    def has(self, product: Product, quantity: int) -> bool:
        return self._on_hand[product.number] >= quantity

    def sell(self, product: Product, quantity: int) -> bool:
        """Take it off the shelf; True when it is time to order more."""
        n = product.number
        self._on_hand[n] -= quantity
        if self._ordered[n] or self._on_hand[n] > self._reorder_level(n):
            return False
        self._ordered[n] = True
        return True

    def restock(self, product: Product) -> None:
        self._on_hand[product.number] = self._full[product.number]
        self._ordered[product.number] = False

    def give_back(self, product: Product, quantity: int) -> None:
        self._on_hand[product.number] += quantity

    def text(self, product: Product) -> str:
        """The product's level as JSON."""
        n = product.number
        return (
            f'{product.stock_text}"stock_on_hand":{self._on_hand[n]},'
            f'"reorder_level":{self._reorder_level(n)},"discontinued":false'
        )

    def _reorder_level(self, number: int) -> int:
        return self._full[number] // 5
