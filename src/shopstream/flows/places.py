"""Sort keys of items that stand beside another.

Shards that are made one may bring two items to one place: orders of two customers with one id, two
shards' rejections of one number. The second then stands beside the first: `http#placed~1`.
"""

SIDE_BY_SIDE = "orders_side_by_side"
"""In the state of a shard whose orders may stand beside others."""
_MARK = "~"
"""In no source, order status or number."""


def beside(place: str, number: int) -> str:
    """The sort key of the item of that number beside `place`, counted from 1 or by shard."""
    return f"{place}{_MARK}{number}"


def own_place(place: str) -> str:
    """The sort key that an item would have if it stood beside none."""
    return place.partition(_MARK)[0]
