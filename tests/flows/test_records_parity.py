"""Records taken by processes that die come to what one processor makes of the same events."""

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.e2e.command import REES46, UCI, needs_data
from tests.flows.cloud import Cloud
from tests.flows.pipeline import (
    MINUTE_US,
    NOW_US,
    Pipeline,
    cart_line,
    click,
    entry,
    order,
    stock,
)

from shopstream.domain.landing import land
from shopstream.domain.partition import split_by_key
from shopstream.domain.waiting import read_waiting
from shopstream.events import Entry, Order
from shopstream.loader import load_files
from shopstream.settings import Settings

RULES = """
[[rule]]
name = "twice"
on = ["view"]
count = 2
same = "product"
within = "1h"
without = ["purchase"]
offer = { percent = 10, expires = "1h" }
cooldown = "5m"

[[rule]]
name = "left"
on = ["add_to_cart"]
same = "cart"
idle = "10m"
without = ["purchase"]
cap_per_user = 2
offer = { percent = 5, expires = "1h" }

[[rule]]
name = "looked"
on = ["view", "click"]
same = "product"
idle = "7m"
cooldown = "3m"
offer = { percent = 7, expires = "2h" }

[[rule]]
name = "back"
on = ["search"]
who = { user_type = ["returning"] }
offer = { amount = 1, currency = "EUR", expires = "1h" }
holdout = 0.3
"""
LIVE, HISTORICAL = ["u1", "u2", "ü3"], ["h1", "h2"]
KINDS = ["view"] * 4 + ["add_to_cart", "add_to_cart", "remove_from_cart", "purchase", "search"]
_product = st.sampled_from(["p1", "p2"])
_late = st.sampled_from([0, 0, 0, 1, 2, 5, 20, 70])
"""Minutes by which an event comes late."""


@st.composite
def _click(draw: st.DrawFn, names: list[str], now: float) -> dict[str, Any]:
    fields: dict[str, Any] = {"event_type": draw(st.sampled_from(KINDS))}
    for name, values in (
        ("product_id", _product),
        ("cart_id", st.sampled_from(["c1", "c2"])),
        ("session_id", st.sampled_from(["s1", "s2"])),
        ("price", st.sampled_from(["12.5", 3, "1e9"])),
        ("event_id", st.sampled_from(["e1", "e2", "e3", "e4", "e5", "e6"])),
        ("user_type", st.just("new")),
    ):
        if draw(st.booleans()):
            fields[name] = draw(values)
    return click(draw(st.sampled_from(names)), now - draw(_late), **fields)


@st.composite
def _order(draw: st.DrawFn, names: list[str], now: float) -> dict[str, Any]:
    prices = draw(st.lists(st.sampled_from([5, 20, 2_000, -1]), min_size=1, max_size=3))
    found = order(
        draw(st.sampled_from(["o1", "o2", "o3"])),
        *prices,
        minutes=now - draw(_late),
        status=draw(st.sampled_from(["placed", "paid", "cancelled"])),
    )
    if draw(st.booleans()):
        found["customer_id"] = draw(st.sampled_from(names))
    if draw(st.booleans()):
        for n, line in enumerate(found["lines"], draw(st.integers(1, 2))):
            line["line"] = n
    return found


def _event(topic: str, names: list[str], now: float) -> st.SearchStrategy[Any]:
    match topic:
        case "clicks":
            return _click(names, now) | st.sampled_from([b"not json", b"\xff", b"{}"])
        case "orders":
            return _order(names, now)
        case "carts":
            late = now - 1
            users = st.sampled_from(names)
            return st.builds(cart_line, users, _product, st.integers(0, 2), st.just(late))
        case _:
            return st.builds(stock, _product, st.sampled_from([0, 3, 9]), st.just(now))


@st.composite
def _arrivals(draw: st.DrawFn) -> list[tuple[int, Entry]]:
    """(the clock in minutes, what arrives then)"""
    found, now = [], 0
    for _ in range(draw(st.integers(1, 12))):
        now += draw(st.sampled_from([0, 1, 3, 8, 15]))
        topic = draw(st.sampled_from(["clicks"] * 5 + ["carts", "orders", "stock"]))
        historical = draw(st.integers(0, 3)) == 0
        names = HISTORICAL if historical else LIVE
        events = draw(st.lists(_event(topic, names, now), min_size=1, max_size=5))
        facts: dict[str, Any] = {"received_us": NOW_US + now * MINUTE_US, "historical": historical}
        if historical:
            facts |= {"source": "load:x", "watermark_us": NOW_US + (now - 5) * MINUTE_US}
        if topic == "orders" and draw(st.booleans()):
            facts["on_bad_line"] = "quarantine_line"
            facts["units"] = sum(len(found["lines"]) for found in events)
        found.append((now, entry(*events, topic=topic, **facts)))
    return found


def _same(local: Pipeline, cloud: Cloud, bronze: Counter[bytes]) -> None:
    """Whether both have come to the same, each table told in its own words."""
    expected, found = local.snapshot(), cloud.snapshot()
    assert [msgspec.json.encode(o) for o in local.offers()] == found["offers"]
    assert found["archived"] == expected["archived"]
    assert found["browsing_events"] == expected["browsing_events"]
    assert cloud.orders() == {
        place: msgspec.structs.replace(one) if isinstance(one, Order) else one
        for place, one in local.orders().items()
    }
    for name in ("stock_levels", "products"):
        assert found[name] == expected[name], name
    encoded = [msgspec.json.encode(alert) for alert in local.alerts()]
    assert [msgspec.json.encode(alert) for alert in cloud.alerts()] == encoded
    assert sorted(found["delivered"].values()) == sorted(encoded)
    assert _rejections(cloud) == _rejections(local)
    timers = sorted(item for _, _, item in expected["timers"])
    rows = [read_waiting(item) for _, _, item in cloud.tables.scan("timers")]
    waiting = [timer for row in rows for timer in row.timers]
    assert sorted(msgspec.json.encode(timer) for timer in waiting) == timers
    assert _placeless(line for lines in found["bronze"].values() for line in lines) == bronze
    cells = {
        (topic, source, outcome): units
        for processor in local.processors
        for (topic, source, outcome), units in processor.ledger.cells.items()
        if units and topic not in ("offers", "archived")
    }
    received = {place: n for place, n in found["ledger"].items() if place[2] == "received"}
    assert {k: n for k, n in found["ledger"].items() if k not in received} == cells
    for (topic, source, _), units in received.items():
        came = units + cells.get((topic, source, "derived"), 0)
        outcomes = [
            n
            for (t, s, outcome), n in cells.items()
            if (t, s) == (topic, source)
            and outcome.split(":")[0] in ("accepted", "duplicate", "quarantined")
        ]
        assert came == sum(outcomes), (topic, source)


def _rejections(where: Pipeline | Cloud) -> list[str]:
    found = where.rejections()
    return sorted(repr(msgspec.structs.replace(record, id="", at_us=0)) for record in found)


def _placeless(lines: Any) -> Counter[bytes]:
    return Counter(b"," + line.partition(b',"n":')[2] for line in lines)


ARRIVALS = settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes: do it by hand
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.slow
@ARRIVALS
@given(arrivals=_arrivals(), deaths=st.lists(st.integers(0, 6), max_size=60))
def test_records_come_to_what_the_processor_makes_whatever_dies(
    arrivals: list[tuple[int, Entry]], deaths: list[int]
) -> None:
    bronze: Counter[bytes] = Counter()
    with (
        TemporaryDirectory() as folder,
        Pipeline(Path(folder, "local"), rules=RULES) as local,
        Cloud(Path(folder, "cloud"), rules=RULES) as cloud,
    ):
        cloud.deaths = iter(deaths)
        for minutes, arrival in arrivals:
            local.now_us = cloud.now_us = NOW_US + minutes * MINUTE_US
            parts = [part for _, part in split_by_key(arrival)]
            # One row: of rows with one user each, the first would have timers of the others fire.
            local.take_all(*parts)
            for part in parts:
                cloud.take(part)
                for lines in land(part, 0, cloud.config.limits).lines.values():
                    bronze.update(_placeless(lines.each()))
            local.idle()
            cloud.watch()
        local.idle(last=True)
        _same(local, cloud, bronze)
        before = cloud.snapshot()
        for user_id, sk, item in reversed([*cloud.tables.scan("browsing_events")]):
            cloud.make_offers(user_id, (sk, item))
        assert cloud.snapshot() == before, "chunks that come once more"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_loaded_history_makes_the_same_offers_however_it_is_cut(
    tmp_path: Path, seed: int
) -> None:
    """On one machine its timers fire as its watermark comes by, here once all of it is there."""
    random = Random(seed)
    minutes, events = -600, []
    for n in range(80):
        minutes += random.choice([0, 1, 2, 3, 5, 8])
        fields = {"event_type": random.choice(KINDS), "product_id": random.choice(["p1", "p2"])}
        if random.random() < 0.4:
            fields["cart_id"] = random.choice(["c1", "c2"])
        events.append(click(random.choice(["h1", "h2", "h3"]), minutes, event_id=f"e{n}", **fields))
    history: dict[str, Any] = {"historical": True, "source": "load:x"}
    with (
        Pipeline(tmp_path / "local", rules=RULES) as local,
        Cloud(tmp_path / "cloud", rules=RULES) as cloud,
    ):
        for part in _cut(events, random):
            local.give(*part, **history)
        for part in _cut(events, random):
            cloud.give(entry(*part, **history))
        cloud.watch()
        assert cloud.offers() == local.offers()
        assert len(local.offers()) > 10


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "mapping"), [(REES46, "rees46"), (UCI, "uci_online_retail")], ids=["rees46", "uci"]
)
def test_real_files_come_to_the_same(tmp_path: Path, path: Path, mapping: str) -> None:
    """Their first lines, in the entries in which `load` enters them."""
    whole = path.read_bytes()
    lines = (gzip.decompress(whole) if path.suffix == ".gz" else whole).splitlines(keepends=True)
    (tmp_path / "part.csv").write_bytes(b"".join(lines[:3_001]))
    load_files(Settings(data_dir=tmp_path / "local"), [tmp_path / "part.csv"], mapping)
    bronze: Counter[bytes] = Counter()
    with Pipeline(tmp_path / "local") as local, Cloud(tmp_path / "cloud") as cloud:
        for row in local.log.read(0, events_max=1_000_000):
            for arrival in row.entries:
                arrival.watermark_us = arrival.watermark_us or row.watermark_us
                cloud.now_us = local.now_us = arrival.received_us
                cloud.give(arrival)
                for _, part in split_by_key(arrival):
                    for landed in land(part, 0, cloud.config.limits).lines.values():
                        bronze.update(_placeless(landed.each()))
        local.process_all()
        local.idle(last=True)
        cloud.watch()
        _same(local, cloud, bronze)


def _cut(events: list[Any], random: Random) -> Iterator[list[Any]]:
    left = events
    while left:
        size = random.choice([1, 3, 10, 30])
        yield left[:size]
        left = left[size:]
