"""What holds for every dialect: nothing but Unreadable comes out, and the table is whole."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shopstream.domain.browsers import agent_of
from shopstream.domain.dialects import CALLS, Unreadable, dialect_table, read_ga4, read_segment
from shopstream.domain.ecommerce import MEANINGS
from shopstream.domain.failures import Limits
from shopstream.domain.validation import read_event
from shopstream.events import Failure, Topic

RECEIVED_US = 1_795_228_000_000_000
READERS = (read_segment, read_ga4)
# Messages take long to make up; on a busy machine that says nothing about what is tested.
SLOWLY = [HealthCheck.too_slow]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["1e400", "2026-11-21T00:00:00Z", "0001-01-01T00:00:00+14:00", "12.50", "7"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects that have any of these fields, each as it should be or as anything else."""
    return st.fixed_dictionaries({}, optional={k: v | anything for k, v in fields.items()})


names = st.sampled_from([name for table in MEANINGS.values() for name in table])
items = st.lists(
    some_of(
        product_id=st.text(max_size=4),
        item_id=scalars,
        item_name=scalars,
        price=scalars,
        quantity=scalars,
        category=scalars,
    ),
    max_size=3,
)
properties = some_of(
    products=items,
    items=items,
    order_id=scalars,
    transaction_id=scalars,
    total=scalars,
    revenue=scalars,
    value=scalars,
    shipping=scalars,
    tax=scalars,
    currency=st.sampled_from(["usd", "EUR"]),
    session_id=scalars,
    page_path=scalars,
)
context = some_of(
    page=some_of(path=scalars, url=scalars, referrer=scalars),
    device=some_of(type=scalars, model=scalars, category=scalars),
    userAgent=st.text(max_size=10),
    userAgentData=some_of(mobile=st.booleans()),
    consent=some_of(categoryPreferences=st.dictionaries(st.text(max_size=3), st.booleans())),
    location=some_of(country=st.text(max_size=3)),
    locale=st.sampled_from(["en-US", "zh-Hans-CN", "de"]),
)
messages = some_of(
    type=st.sampled_from(CALLS),
    event=names,
    name=names,
    userId=st.text(max_size=4),
    anonymousId=scalars,
    client_id=scalars,
    user_id=scalars,
    messageId=st.text(max_size=4),
    timestamp=scalars,
    originalTimestamp=scalars,
    sentAt=scalars,
    receivedAt=scalars,
    timestamp_micros=st.integers(),
    properties=properties,
    ecommerce=properties,
    events=st.lists(some_of(name=names, params=properties, timestamp_micros=scalars), max_size=2),
    context=context,
    consent=some_of(ad_user_data=st.sampled_from(["GRANTED", "denied"])),
    device=some_of(category=scalars, browser=scalars),
    user_location=some_of(country_id=scalars),
)


def read_all(raw: bytes, around: bytes = b"") -> None:
    for read in READERS:
        failures: list[Failure] = []
        events: list[tuple[Topic, bytes]] = []
        try:
            events = read(raw, around, RECEIVED_US)
        except Unreadable as e:
            failures = e.failures
        assert bool(events) != bool(failures)
        assert all(f.reason and f.field and f.wanted for f in failures)
        for topic, event in events:
            read_event(topic, event, RECEIVED_US, Limits())


@settings(max_examples=150, deadline=None, suppress_health_check=SLOWLY)
@given(messages, context)
def test_any_message_gives_events_or_says_what_is_wrong(message: Any, around: Any) -> None:
    raw = json.dumps(message).encode()
    read_all(raw)
    read_all(raw, json.dumps({"context": around, "type": "track"}).encode())


@settings(max_examples=100, deadline=None, suppress_health_check=SLOWLY)
@given(st.binary(max_size=40) | anything.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_events_or_say_what_is_wrong(raw: bytes) -> None:
    read_all(raw)
    read_all(b'{"type":"page","userId":"u"}', raw)


@settings(max_examples=60, deadline=None, suppress_health_check=SLOWLY)
@given(messages)
def test_a_message_read_twice_gives_the_same(message: Any) -> None:
    raw = json.dumps(message).encode()
    for read in READERS:
        try:
            events = read(raw, b"", RECEIVED_US)
        except Unreadable:
            continue
        assert read(raw, b"", RECEIVED_US) == events


def test_the_table_for_readers_has_every_event_name() -> None:
    lines = dialect_table().splitlines()
    for dialect, table in MEANINGS.items():
        for name in table:
            assert sum(line.startswith(f"| {dialect} | `{name}` |") for line in lines) == 1
    assert "| GA4 | `add_to_cart` | `add_to_cart` for each item |" in lines


AGENTS = {
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36 Edg/126.0": ("Edge", "desktop"),
    "Mozilla/5.0 (Windows NT 10.0; rv:127.0) Gecko/20100101 Firefox/127.0": ("Firefox", "desktop"),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Safari/605.1.15": ("Safari", "desktop"),
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "CriOS/126.0 Mobile/15E148 Safari/604.1": ("Chrome", "mobile"),
    "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 Version/12.1 "
    "Mobile/15E148 Safari/604.1": ("Safari", "tablet"),
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0.0.0 "
    "Mobile Safari/537.36": ("Chrome", "mobile"),
    "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 SamsungBrowser/25.0 "
    "Chrome/121.0.0.0 Safari/537.36": ("Samsung Internet", "tablet"),
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/126.0.0.0 "
    "Safari/537.36 OPR/112.0": ("Opera", "desktop"),
    "analytics-python/2.4.0": (None, None),
}


@pytest.mark.parametrize("agent", AGENTS)
def test_a_user_agent_tells_browser_and_device(agent: str) -> None:
    assert agent_of(agent) == AGENTS[agent]
