"""Numbers of things, as a person reads them."""


def counted(number: int, things: str) -> str:
    """`1 order`, `2,000 orders`; what has no plural stays as it is: `1 stock`."""
    return f"{number:,} {things.removesuffix('s') if number == 1 else things}"
