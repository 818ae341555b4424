"""What crafted messages of Segment and GA4 may cost."""

import json
from typing import Any

import pytest

from shopstream.domain.dialects import Unreadable, read_ga4, read_segment
from shopstream.domain.failures import COPIES_MAX
from shopstream.domain.segment import CONTEXT_BYTES_MAX

RECEIVED_US = 1_795_228_000_000_000
READ = {"segment": read_segment, "ga4": read_ga4}


def completed(products: list[Any], **page: str) -> dict[str, Any]:
    """An order as either dialect tells it."""
    return {
        "segment": {
            "type": "track",
            "event": "Order Completed",
            "userId": "u",
            "context": {"page": {"path": page.get("path", "/")}},
            "properties": {"order_id": "o", "products": products},
        },
        "ga4": {
            "client_id": "c",
            "events": [
                {
                    "name": "purchase",
                    "params": {
                        "transaction_id": "o",
                        "page_path": page.get("path", "/"),
                        "items": products,
                    },
                }
            ],
        },
    }


def made_of(dialect: str, message: dict[str, Any], context: bytes = b"") -> tuple[int, int]:
    """The bytes of a message, and those of its events; the latter 0 where it is refused."""
    raw = json.dumps(message, separators=(",", ":")).encode()
    try:
        events = READ[dialect](raw, context, RECEIVED_US)
    except Unreadable as e:
        refused = e.failures
    else:
        return len(raw), sum(len(event) for _, event in events)
    assert [(f.reason, f.field) for f in refused] == [("too_large", "event")]
    return len(raw), 0


@pytest.mark.parametrize("dialect", READ)
@pytest.mark.parametrize(("path", "products"), [(5_000, 1_600), (8_000, 5_000), (100_000, 50)])
def test_a_message_that_repeats_itself_into_many_times_its_bytes_is_refused(
    dialect: str, path: int, products: int
) -> None:
    message = completed([{}] * products, path="/" * path)[dialect]
    assert made_of(dialect, message)[1] == 0


@pytest.mark.parametrize("dialect", READ)
def test_no_message_comes_to_more_than_its_share(dialect: str) -> None:
    refused = set()
    for path in (1, 100, 1_000, 10_000):
        for products in (1, 10, 100, 1_000):
            message = completed([{"price": 1}] * products, path="/" * path)[dialect]
            size, made = made_of(dialect, message)
            assert made <= max(512 * 1024, COPIES_MAX * size)
            refused.add(made == 0)
    assert refused == {True, False}


@pytest.mark.parametrize("dialect", READ)
@pytest.mark.parametrize("products", [1, 20, 100, 1_000])
def test_orders_of_shops_are_never_too_much(dialect: str, products: int) -> None:
    product = {"product_id": "507f1f77", "name": "Monopoly", "category": "Games", "price": 19}
    path = "/checkout/thanks?from=" + "x" * 200
    assert made_of(dialect, completed([product] * products, path=path)[dialect])[1] > 0
    path = "/checkout/thanks?from=" + "x" * 1_000
    few = completed([{"product_id": "p1", "price": 9}] * min(products, 300), path=path)[dialect]
    assert made_of(dialect, few)[1] > 0


def test_a_small_message_in_a_batch_may_have_the_largest_context() -> None:
    context = json.dumps({"context": {"screen": "x" * (CONTEXT_BYTES_MAX - 100)}}).encode()
    message = completed([{"product_id": "p"}] * 50)["segment"]
    assert made_of("segment", message, context)[1] > CONTEXT_BYTES_MAX


@pytest.mark.timeout(20)  # It took a minute where the host's marks were put in their order.
@pytest.mark.parametrize(
    ("host", "page"),
    [
        ("\u0300" * 100_000 + "\u0316" * 100_000, "/x"),
        ("[" * 4_000_000, None),
        ("[a]" * 1_000_000 + "[", None),
        ("a" * 4_000_000, "/x"),
    ],
)
def test_a_url_of_any_host_is_read_in_one_pass(host: str, page: str | None) -> None:
    url = f"http://{host}/x"
    message = {"type": "page", "userId": "u", "properties": {"url": url}}
    raw = json.dumps(message, ensure_ascii=False).encode()
    ((_, event),) = read_segment(raw, b"", RECEIVED_US)
    assert json.loads(event)["page"] == (page or url)
