"""What the JSON Schemas accept, the collector accepts."""

import json
import re
from typing import Any
from unicodedata import category

import jsonschema_rs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shopstream.domain.failures import Limits, usable_id
from shopstream.domain.validation import read_event
from shopstream.events import TOPICS, Rejection, Topic
from shopstream.schemas import AMOUNT_PATTERN, EXAMPLES, ID_PATTERN, PRICE_PATTERN, schema_of

NOW_US = 1_900_000_000_000_000
IDS = ("event_id", "user_id", "session_id", "product_id", "cart_id", "order_id", "customer_id")
AMOUNTS = ("price", "unit_price", "shipping")
OTHERS = ("quantity", "stock_on_hand", "currency")
SCHEMAS = {topic: jsonschema_rs.validator_for(schema_of(topic)) for topic in TOPICS}


def event_with(topic: Topic, field: str, value: Any) -> dict[str, Any] | None:
    """The topic's example with one field replaced, in its line where that has the field."""
    event: dict[str, Any] = json.loads(json.dumps(EXAMPLES[topic]))
    event.pop("amount", None)
    known = schema_of(topic)["properties"]
    if topic == "orders" and field in ("product_id", "quantity", "unit_price"):
        event["lines"][0][field] = value
        return event
    if field not in known:
        return None
    return event | {field: value}


def accepted(topic: Topic, event: dict[str, Any]) -> bool:
    raw = json.dumps(event).encode()
    return not isinstance(read_event(topic, raw, NOW_US, Limits()), Rejection)


# No surrogates: JSON that holds one is no UTF-8.
texts = st.text(
    st.one_of(
        st.characters(max_codepoint=0x24F),
        st.sampled_from("\u200b\u2028\u202e\u3000\ufeff\ue000\uffff\u20ac\u4e2d\U0001f600"),
    ),
    max_size=40,
)
written = st.from_regex(r"\A[-+]?[0-9_ ]{0,15}\.?[0-9]{0,7}([eE][-+]?[0-9]{1,2})?\Z")
near_limits = st.sampled_from(
    ["99999999999999.9999", "99999999999999.99999", "100000000000000", "0.00005", "0.0001", "0.000"]
)
numbers = st.one_of(
    st.integers(-2, 10),
    st.integers(10**9 - 1, 10**9 + 1),
    st.integers(10**14 - 2, 10**14 + 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 0.001),
)


@given(
    topic=st.sampled_from(TOPICS),
    field=st.sampled_from(IDS + AMOUNTS + OTHERS),
    value=st.one_of(
        texts,
        st.builds("shopstream:{}".format, st.text("ab", max_size=3)),
        written,
        near_limits,
        numbers,
        st.none(),
        st.booleans(),
        st.sampled_from(["EUR", "eur", "XAU", "ZZZ"]),
    ),
)
@example(topic="orders", field="unit_price", value="0.00005")
@example(topic="clicks", field="price", value="99999999999999.99999")
def test_what_a_schema_accepts_is_accepted(topic: Topic, field: str, value: Any) -> None:
    event = event_with(topic, field, value)
    if event is None or not SCHEMAS[topic].is_valid(event):
        return
    if isinstance(value, float) and value.is_integer() and field in OTHERS:
        return  # 3.0 is an integer to JSON Schema
    if topic == "orders" and field in ("unit_price", "shipping"):
        # Its sum may be too much, which no schema can say.
        event["lines"][0]["quantity"] = 1
        if field == "unit_price":
            del event["shipping"]
        elif float(value or 0) >= 10**13:
            return
    assert accepted(topic, event), event


def test_an_id_of_characters_up_to_ffff_that_a_schema_accepts_is_usable() -> None:
    known = (chr(n) for n in range(0x10000) if category(chr(n)) not in ("Cn", "Cs"))
    assert [c for c in known if re.search(ID_PATTERN, c) and not usable_id(c)] == ["\n"]


@pytest.mark.parametrize("pattern", [ID_PATTERN, AMOUNT_PATTERN, PRICE_PATTERN])
def test_a_pattern_has_no_lookahead_which_not_every_engine_has(pattern: str) -> None:
    assert "(?" not in pattern


@pytest.mark.parametrize("topic", TOPICS)
def test_the_example_is_valid(topic: Topic) -> None:
    assert SCHEMAS[topic].is_valid(EXAMPLES[topic])
    assert accepted(topic, EXAMPLES[topic])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("price", "1_0"),
        ("price", "5."),
        ("price", "100000000000000"),
        ("currency", "ZZZ"),
        ("user_id", "a\u202eb"),
        ("user_id", "shopstream:1"),
    ],
)
def test_a_schema_refuses(field: str, value: Any) -> None:
    assert not SCHEMAS["clicks"].is_valid(EXAMPLES["clicks"] | {field: value})
    assert not accepted("clicks", EXAMPLES["clicks"] | {field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("price", "0"), ("price", "12.50"), ("currency", "EUR"), ("user_id", "Jos\u00e9 \u4e2d")],
)
def test_a_schema_takes(field: str, value: Any) -> None:
    assert SCHEMAS["clicks"].is_valid(EXAMPLES["clicks"] | {field: value})
