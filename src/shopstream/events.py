"""What may arrive (clicks, orders, cart lines, stock levels) and the words all stages share.

Every structure here is plain data. The annotations are the first line of validation: `msgspec`
decodes and checks an event in one pass (measured: 0.56 microseconds for a click of 14 fields).
What a type cannot say (amounts that add up, known currencies, times not in the future) is in
`shopstream.domain.validation`.

Times are UTC, RFC 3339, at most microseconds. Amounts are decimals in the event's currency.
Ids are strings of 1 to 256 bytes without control characters.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

Topic: TypeAlias = Literal["clicks", "orders", "carts", "stock"]
TOPICS: tuple[Topic, ...] = ("clicks", "orders", "carts", "stock")

EventType: TypeAlias = Literal[
    "view", "click", "add_to_cart", "remove_from_cart", "begin_checkout", "purchase", "search"
]
DeviceType: TypeAlias = Literal["mobile", "desktop", "tablet"]
UserType: TypeAlias = Literal["new", "returning"]
OrderStatus: TypeAlias = Literal["placed", "paid", "cancelled", "refunded"]
OnBadLine: TypeAlias = Literal["reject_order", "quarantine_line"]

ID_BYTES_MAX = 256
QUANTITY_MAX = 1_000_000_000

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=ID_BYTES_MAX)]
ShortText: TypeAlias = Annotated[str, Meta(max_length=1_024)]
Url: TypeAlias = Annotated[str, Meta(max_length=8_192)]
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]
Quantity: TypeAlias = Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
Level: TypeAlias = Annotated[int, Meta(ge=0, le=QUANTITY_MAX)]


class Click(Struct, gc=False, omit_defaults=True, kw_only=True):
    """Something a visitor did. `user_id`, `event_type` and `timestamp` are always there.

    `event_id` is the sender's id of the event; when it is absent one is made from the content,
    so that the same event sent twice is one event. Unknown fields are kept in `extra`.
    """

    event_id: Id | None = None
    user_id: Id
    session_id: Id | None = None
    event_type: EventType
    page: Url | None = None
    product_id: Id | None = None
    timestamp: Time
    device_type: DeviceType | None = None
    referrer_url: Url | None = None
    location: ShortText | None = None
    browser: ShortText | None = None
    user_type: UserType | None = None
    price: Decimal | None = None
    quantity: Quantity | None = None
    currency: str | None = None
    category: ShortText | None = None
    cart_id: Id | None = None
    order_id: Id | None = None
    consent: dict[str, bool] | None = None
    extra: dict[str, Any] | None = None


class OrderLine(Struct, gc=False, omit_defaults=True, kw_only=True):
    """One line of an order. `line` is its number in the file or order it came from."""

    product_id: Id
    name: ShortText | None = None
    category: ShortText | None = None
    quantity: Quantity
    unit_price: Decimal
    line: int | None = None
    extra: dict[str, Any] | None = None


class Order(Struct, gc=False, omit_defaults=True, kw_only=True):
    """A transaction. `amount` = sum of quantity x unit_price + shipping + tax - discount.

    `customer_id` is absent for a guest. `amount` may be absent: then it is that sum.
    `payload` is free-form JSON of the sender, kept byte for byte, at most 1 MiB.
    """

    order_id: Id
    customer_id: Id | None = None
    lines: list[OrderLine]
    amount: Decimal | None = None
    shipping: Decimal | None = None
    tax: Decimal | None = None
    discount: Decimal | None = None
    currency: str
    status: OrderStatus
    payment_method: ShortText | None = None
    timestamp: Time
    payload: msgspec.Raw = msgspec.Raw()
    extra: dict[str, Any] | None = None


class CartLine(Struct, gc=False, omit_defaults=True, kw_only=True):
    """One product in a cart, as it now stands: `quantity` 0 means it was taken out."""

    event_id: Id | None = None
    user_id: Id
    cart_id: Id | None = None
    product_id: Id
    name: ShortText | None = None
    category: ShortText | None = None
    quantity: Level
    unit_price: Decimal | None = None
    currency: str | None = None
    timestamp: Time
    extra: dict[str, Any] | None = None


class Stock(Struct, gc=False, omit_defaults=True, kw_only=True):
    """How much of a product is on hand. Low: at or below `reorder_level` and not discontinued."""

    event_id: Id | None = None
    product_id: Id
    name: ShortText | None = None
    category: ShortText | None = None
    stock_on_hand: Level
    reorder_level: Level = 0
    discontinued: bool = False
    unit_price: Decimal | None = None
    currency: str | None = None
    timestamp: Time
    extra: dict[str, Any] | None = None


Event: TypeAlias = Click | Order | CartLine | Stock
EVENT_OF: dict[str, type[Struct]] = {
    "clicks": Click,
    "orders": Order,
    "carts": CartLine,
    "stock": Stock,
}


class Failure(Struct, gc=False, frozen=True, omit_defaults=True):
    """One thing wrong with an event: a reason code, where, what stood there, what was wanted."""

    reason: str
    field: str
    value: str
    wanted: str

    @property
    def message(self) -> str:
        """What a sender is told; of a field that isn't there just what was wanted."""
        absent = self.value == "absent" and self.reason in ("missing", "lines")
        if absent or self.reason == "missing":
            stood = "" if absent else f" ({self.value})"
            return f"{self.field} is missing{stood}; wanted: {self.wanted}"
        return f"{self.field}: {self.value} is not {self.wanted}"


class Rejection(Struct, gc=False, omit_defaults=True, kw_only=True):
    """An event that was not accepted: all its failures, and its raw bytes for a later replay."""

    topic: str
    failures: list[Failure]
    raw: bytes
    units: int = 1
    line: int | None = None

    @property
    def reason(self) -> str:
        """The first failure's code: the one that the ledger counts the rejection under."""
        return self.failures[0].reason


class Offer(Struct, gc=False, omit_defaults=True, kw_only=True):
    """An offer decided for a user. Held-out offers are recorded and not delivered.

    `offer_id` depends only on the rule, its version, the user and what triggered it, so deciding
    the same thing twice makes one offer. `reason` says in words why. Times are event times.
    """

    offer_id: str
    rule: str
    version: int
    user_id: str
    key: str
    trigger: str
    product_id: str | None = None
    category: str | None = None
    cart_id: str | None = None
    session_id: str | None = None
    percent: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None
    reason: str
    made_at: datetime
    expires_at: datetime
    delivered: bool
    held_out: bool = False
    historical: bool = False
    moot: bool = False


AlertKind: TypeAlias = Literal[
    "large_order", "invalid_order", "total_mismatch", "low_stock", "model_failed"
]


class Alert(Struct, gc=False, omit_defaults=True, kw_only=True):
    """Something a person should see. `alert_id` is the idempotency key at every receiver.

    With the kind, `body` says all that `subject` does: some receivers show only one of them.
    """

    alert_id: str
    kind: AlertKind
    subject: str
    body: str
    at: datetime
    historical: bool = False
    data: dict[str, Any] = {}


class Entry(Struct, array_like=True, gc=False, kw_only=True):
    """Events that arrived together: what a log row is made of.

    `events` holds the sender's bytes untouched. `dialect` says how to read them: `shopstream`,
    `segment`, `ga4`, or `rejected` for what could not be taken apart on the way in (each of its
    events is then a `Rejection` as JSON), or `resolved` (each of its events is the id of a
    rejection that the entries beside it replay; counts no units). `source` is what the ledger
    counts under (`http`, `simulate`, `load:rees46`, `replay`); `identity` is the source that order
    ids belong to, when it differs. `context` holds the envelope of a Segment batch (`context`,
    `sentAt`) as JSON. `lines` gives the line number in `origin` (a file) of each event. `units` is
    what the sender counts: events, or invoice lines with `on_bad_line = "quarantine_line"`.
    `watermark_us` is how far event time has come in a historical source, 0 when unknown.
    """

    topic: str
    events: list[bytes]
    source: str
    received_us: int
    units: int
    dialect: str = "shopstream"
    historical: bool = False
    on_bad_line: OnBadLine = "reject_order"
    identity: str = ""
    origin: str = ""
    lines: list[int] = []
    context: bytes = b""
    watermark_us: int = 0
