"""What the ecommerce events of Segment (v2) and GA4 mean in our words: the one table of it.

Sources: Segment, "Spec: V2 Ecommerce Events"; Google, "GA4 recommended events". Segment's event
names are matched without regard to case.
"""

from decimal import Decimal
from typing import Any, Literal, NamedTuple, TypeAlias

from shopstream.domain.message import Object, amount_of, id_text, objects_at, take, whole
from shopstream.events import EventType, Failure, OrderStatus, Topic

Makes: TypeAlias = Literal["click", "click per item", "order", "click per item and order"]


class Meaning(NamedTuple):
    """What one event name makes of a message.

    `page` is the page that the event is about. `known` is false where nobody defined what the
    properties mean: then they are all kept in `extra`.
    """

    event_type: EventType
    makes: Makes = "click"
    status: OrderStatus | None = None
    page: str | None = None
    known: bool = True


# Completed is `paid` and not `placed`: Segment's tax, shipping and total are final by then, and
# shops send it from the page that follows the payment. Updated says only that the order exists.
MEANINGS: dict[str, dict[str, Meaning]] = {
    "Segment": {
        "Products Searched": Meaning("search"),
        "Product List Viewed": Meaning("click"),
        "Product Clicked": Meaning("click"),
        "Product Viewed": Meaning("view"),
        "Product Added": Meaning("add_to_cart"),
        "Product Removed": Meaning("remove_from_cart"),
        "Cart Viewed": Meaning("view", page="cart"),
        "Checkout Started": Meaning("begin_checkout"),
        "Checkout Step Viewed": Meaning("begin_checkout"),
        "Checkout Step Completed": Meaning("begin_checkout"),
        "Payment Info Entered": Meaning("begin_checkout"),
        "Order Completed": Meaning("purchase", "click per item and order", "paid"),
        "Order Updated": Meaning("click", "order", "placed"),
        "Order Cancelled": Meaning("click", "order", "cancelled"),
        "Order Refunded": Meaning("click", "order", "refunded"),
    },
    "GA4": {
        "page_view": Meaning("view"),
        "screen_view": Meaning("view"),
        "search": Meaning("search"),
        "view_search_results": Meaning("search"),
        "view_item_list": Meaning("click"),
        "select_item": Meaning("click", "click per item"),
        "view_item": Meaning("view", "click per item"),
        "add_to_cart": Meaning("add_to_cart", "click per item"),
        "remove_from_cart": Meaning("remove_from_cart", "click per item"),
        "view_cart": Meaning("view", page="cart"),
        "begin_checkout": Meaning("begin_checkout"),
        "add_shipping_info": Meaning("begin_checkout"),
        "add_payment_info": Meaning("begin_checkout"),
        "purchase": Meaning("purchase", "click per item and order", "paid"),
        "refund": Meaning("click", "order", "refunded"),
    },
}
OTHER = Meaning("click", known=False)
_MEANINGS = {
    name.lower(): meaning for table in MEANINGS.values() for name, meaning in table.items()
}

# Our field and the names it has there; the first that says something is taken.
FIELD_NAMES: dict[str, tuple[str, ...]] = {
    "product_id": ("product_id", "item_id", "sku"),
    "category": ("category", "item_category"),
    "price": ("price",),
    "quantity": ("quantity",),
    "currency": ("currency",),
    "cart_id": ("cart_id",),
    "order_id": ("order_id", "transaction_id"),
}
ITEM_LISTS = ("products", "items")

_FIELDS = tuple(FIELD_NAMES.items())
_ITEM_FIELDS = tuple(f for f in _FIELDS if f[0] not in ("cart_id", "order_id"))
_LINE_FIELDS = tuple(f for f in _ITEM_FIELDS if f[0] != "currency")
_SHARED_FIELDS = tuple(f for f in _FIELDS if f[0] in ("currency", "cart_id", "order_id"))


def meaning_of(name: str) -> Meaning:
    """What the event `name` means; a plain click when neither dialect defines it."""
    return _MEANINGS.get(name) or _MEANINGS.get(name.lower(), OTHER)


class Told(NamedTuple):
    """One event of a message, taken apart.

    `click` holds the fields of a click that don't depend on the event's name. `properties` are
    what the sender said of the event, found under `place` in its message, and `extra` what else
    the sender said. All three belong to the callee, which takes out of them what it uses.
    """

    name: str
    event_id: str | None
    click: Object
    place: str
    properties: Object
    extra: Object


def events_of(
    told: Told, meaning: Meaning, path: str, failures: list[Failure]
) -> list[tuple[Topic, Object]]:
    """Our events, with what they have no field for in `extra`; faults are added to `failures`.

    What belongs to the message as a whole is in the extra of its order, else of its first click.
    """
    if meaning.makes == "click":
        return [("clicks", _click(told, meaning))]
    lists = ITEM_LISTS if meaning.status else ("items",)
    named, items = objects_at(told.properties, lists, path, failures)
    if not items:
        if meaning.makes == "click per item and order":
            where = " or ".join(path + name for name in ITEM_LISTS)
            failures.append(Failure("lines", where, "none", "a list of at least one product"))
        # A refund without products is still a fact; an order needs lines, so it stays a click.
        return [("clicks", _click(told, meaning))]
    events: list[tuple[Topic, Object]] = []
    if meaning.makes != "order":
        events += [("clicks", c) for c in _clicks(told, meaning, named, items)]
    if meaning.status:
        events.append(("orders", _order(told, meaning.status, items)))
    return events


def _fields(source: Object, fields: tuple[tuple[str, tuple[str, ...]], ...]) -> Object:
    found = {}
    for field, names in fields:
        for name in names:
            value = source.get(name)
            if value is not None and value != "":
                del source[name]
                found[field] = _SETTLED[field](value)
                break
    return found


def _item_fields(item: Object, fields: tuple[tuple[str, tuple[str, ...]], ...]) -> Object:
    """The fields of an item; GA4 lets one without an id go by its name."""
    found = _fields(item, fields)
    if "product_id" not in found and (name := item.get("item_name")):
        found["product_id"] = name
    return found


def _as_is(value: Any) -> Any:
    return value


def currency_of(value: Any) -> Any:
    """A currency in capitals; what is no text as it is."""
    return value.strip().upper() if type(value) is str else value


_SETTLED = dict.fromkeys(FIELD_NAMES, _as_is) | {
    "product_id": id_text,
    "cart_id": id_text,
    "order_id": id_text,
    "quantity": whole,
    "currency": currency_of,
}


def _click(told: Told, meaning: Meaning) -> Object:
    click = told.click
    if meaning.known:
        click |= _fields(told.properties, _FIELDS)
    click["event_type"] = meaning.event_type
    if meaning.page:
        click["page"] = meaning.page
    if told.event_id is not None:
        click["event_id"] = told.event_id
    if told.properties:
        told.extra[told.place] = told.properties
    click["extra"] = told.extra
    return click


def _clicks(told: Told, meaning: Meaning, named: str, items: list[Object]) -> list[Object]:
    """A click for each item. `line` keeps equal items apart where the message has no id."""
    several = len(items) > 1 or meaning.status is not None
    # An order takes these too, so its clicks read them from a copy.
    source = dict(told.properties) if meaning.status else told.properties
    shared = told.click | _fields(source, _SHARED_FIELDS) | {"event_type": meaning.event_type}
    clicks = []
    for n, item in enumerate(items, 1):
        left = dict(item)
        click = shared | _item_fields(left, _ITEM_FIELDS)
        extra: Object = {"event": told.name}
        properties: Object = {named: [left]} if left else {}
        if n == 1 and not meaning.status:
            extra, properties = told.extra, told.properties | properties
        if several:
            extra["line"] = n
        if properties:
            extra[told.place] = properties
        if told.event_id is not None:
            click["event_id"] = f"{told.event_id}#{n}" if several else told.event_id
        click["extra"] = extra
        clicks.append(click)
    return clicks


def _order(told: Told, status: OrderStatus, items: list[Object]) -> Object:
    properties = told.properties
    order = {
        "order_id": id_text(take(properties, *FIELD_NAMES["order_id"])),
        "customer_id": told.click["user_id"],
        "lines": [_line(n, item) for n, item in enumerate(items, 1)],
        "currency": currency_of(take(properties, "currency")),
        "status": status,
        "timestamp": told.click["timestamp"],
        "payment_method": take(properties, "payment_method"),
        "shipping": take(properties, "shipping"),
        "tax": take(properties, "tax"),
        "discount": take(properties, "discount"),
    }
    order["amount"] = _amount(order, properties)
    if properties:
        told.extra[told.place] = properties
    return {k: v for k, v in order.items() if v is not None} | {"extra": told.extra}


def _line(n: int, item: Object) -> Object:
    """An order line; GA4 says that an item without a quantity is one."""
    found = _item_fields(item, _LINE_FIELDS)
    line = {"line": n, "quantity": found.pop("quantity", 1)}
    for field, ours in (("product_id",) * 2, ("category",) * 2, ("price", "unit_price")):
        if field in found:
            line[ours] = found[field]
    if name := take(item, "name", "item_name"):
        line["name"] = name
    return line | {"extra": item} if item else line


def _amount(order: Object, properties: Object) -> Any:
    """What the order came to: `total`, else what the other sums that the sender gave come to.

    Segment: total = subtotal + shipping + tax, and revenue (GA4: value) is the products alone,
    so that discounts go off it. None when there is no sum: then it is that of the lines.
    """
    if (total := take(properties, "total")) is not None:
        return total
    shipping, tax, discount = (
        Decimal(0) if order[name] is None else amount_of(order[name])
        for name in ("shipping", "tax", "discount")
    )
    if shipping is None or tax is None or discount is None:
        return None
    if (subtotal := amount_of(properties.get("subtotal"))) is not None:
        return subtotal + shipping + tax
    for name in ("revenue", "value"):
        if (products := amount_of(properties.get(name))) is not None:
            return products + shipping + tax - discount
    return None


def dialect_table() -> str:
    """The table as Markdown: each event name and what becomes of it."""
    rows = ["| dialect | event | becomes |", "|---|---|---|"]
    for dialect, meanings in MEANINGS.items():
        rows += [f"| {dialect} | `{name}` | {_told(m)} |" for name, m in meanings.items()]
    rows += [
        "| Segment | `page`, `screen` | `view` of that page |",
        "| Segment | `identify`, `group`, `alias` | `click` |",
        "| both | any other | `click` with everything in `extra` |",
        "",
        "| our field | taken from |",
        "|---|---|",
    ]
    for field, names in FIELD_NAMES.items():
        told = ", ".join(f"`{name}`" for name in names)
        last = ", an item's `item_name`" if field == "product_id" else ""
        rows.append(f"| `{field}` | {told}{last} |")
    return "\n".join(rows) + "\n"


def _told(meaning: Meaning) -> str:
    click = f"`{meaning.event_type}`"
    order = f"an order that is `{meaning.status}`"
    if meaning.makes == "click per item and order":
        return f"{click} for each product, and {order}"
    if meaning.makes == "order":
        return f"{order}; without products, {click}"
    if meaning.makes == "click per item":
        return f"{click} for each item"
    return click + (f" of page `{meaning.page}`" if meaning.page else "")
