"""What the shop sells: products with names, categories and prices, a few of them very popular."""

from bisect import bisect
from itertools import accumulate
from random import Random
from typing import NamedTuple

import msgspec

CURRENCY = "EUR"
_ZIPF = 0.9

# Category: the cheapest and the dearest price in cents, and what is sold in it.
_CATEGORIES: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "kitchen": (490, 24_900, ("kettle", "pan", "knife", "bread bin", "mixing bowl", "teapot")),
    "garden": (290, 39_900, ("spade", "lantern", "hammock", "watering can", "planter")),
    "clothing": (990, 18_900, ("shirt", "jumper", "scarf", "raincoat", "pair of jeans")),
    "shoes": (1_990, 22_900, ("trainer", "boot", "sandal", "slipper")),
    "electronics": (1_490, 149_900, ("headphones", "radio", "tablet", "camera", "speaker")),
    "toys": (390, 9_900, ("puzzle", "train set", "kite", "teddy bear", "board game")),
    "books": (490, 4_900, ("cookbook", "novel", "atlas", "diary")),
    "sports": (790, 49_900, ("tent", "racket", "yoga mat", "rucksack", "bicycle helmet")),
    "beauty": (290, 8_900, ("hand cream", "soap", "perfume", "hairbrush")),
    "furniture": (2_900, 129_900, ("chair", "bookcase", "lamp", "side table", "rug")),
}
_ADJECTIVES = ("classic", "small", "large", "folding", "vintage", "light", "sturdy", "everyday")
_COLOURS = ("red", "blue", "green", "white", "black", "grey", "yellow", "oak", "copper", "navy")


class Product(NamedTuple):
    """A product with the JSON text that its events share. `cents` is its price in cents."""

    number: int
    product_id: str
    name: str
    category: str
    cents: int
    click_text: str
    line_text: str
    stock_text: str


class Catalogue:
    """Products by popularity; the first sells most (Zipf with exponent 0.9)."""

    def __init__(self, random: Random, size: int) -> None:
        names = list(_CATEGORIES)
        self.products = [_product(random, number, names) for number in range(size)]
        self._all = self.products, _cumulative(self.products)
        by_category = {n: [p for p in self.products if p.category == n] for n in names}
        self._by_category = {n: (ps, _cumulative(ps)) for n, ps in by_category.items() if ps}
        self.categories = list(self._by_category)

    def pick(self, at: float, category: str = "") -> Product:
        """The product at `at` (0 to 1) of popularity, in a category if one is named."""
        products, cumulative = self._by_category[category] if category else self._all
        return products[min(bisect(cumulative, at * cumulative[-1]), len(products) - 1)]


def _cumulative(products: list[Product]) -> list[float]:
    return list(accumulate(1 / (p.number + 1) ** _ZIPF for p in products))


def price_text(cents: int) -> str:
    """Cents as a decimal number of the currency: 1250 -> 12.50."""
    return f"{cents // 100}.{cents % 100:02d}"


def _product(random: Random, number: int, categories: list[str]) -> Product:
    category = categories[int(random.random() * len(categories))]
    low, high, nouns = _CATEGORIES[category]
    # Uniform in the logarithm, as prices are; ends in 90 or 99 cents or on a round ten.
    cents = int(low * (high / low) ** random.random())
    cents = max(low, cents // 100 * 100 + (90, 99, 50, 0)[int(random.random() * 4)])
    colour, adjective = (
        words[int(random.random() * len(words))] for words in (_COLOURS, _ADJECTIVES)
    )
    noun = nouns[int(random.random() * len(nouns))]
    product_id = f"p{number + 1:05d}"
    name = f"{adjective} {colour} {noun}".capitalize()
    text = msgspec.json.encode(name).decode()
    price = price_text(cents)
    return Product(
        number,
        product_id,
        name,
        category,
        cents,
        f'"product_id":"{product_id}","page":"/products/{product_id}","category":"{category}",'
        f'"price":{price},"currency":"{CURRENCY}",',
        f'"product_id":"{product_id}","name":{text},"category":"{category}","unit_price":{price},',
        f'"product_id":"{product_id}","name":{text},"category":"{category}",'
        f'"unit_price":{price},"currency":"{CURRENCY}",',
    )
