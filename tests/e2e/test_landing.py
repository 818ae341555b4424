"""Real files through the real command line into bronze: every line there, as GROUND_TRUTH says."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.e2e.command import DATA, NORTHWIND, REES46, UCI, Shop, needs_data

from shopstream.engine import open_engine
from shopstream.settings import Settings

pytestmark = [needs_data, pytest.mark.slow]


def truth(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / folder / "GROUND_TRUTH.json").read_text("utf-8"))
    return found


def land(shop: Shop, file: Path, mapping: str) -> None:
    shop.load(file, mapping)
    shop.run("lander", "--until-idle")


def lines(shop: Shop, topic: str) -> Iterator[dict[str, Any]]:
    """All lines of a topic's files, amounts as decimals."""
    for path in sorted((shop.data_dir / "bronze" / topic).rglob("*.json.zst")):
        with path.open("rb") as file:
            text = zstandard.ZstdDecompressor().stream_reader(file).read()
        for line in text.splitlines():
            yield json.loads(line, parse_float=Decimal)


def tally(shop: Shop) -> dict[tuple[str, str], int]:
    """Units by topic and reason."""
    landed = open_engine(Settings(data_dir=shop.data_dir), create=False).read_landed()
    found: Counter[tuple[str, str]] = Counter()
    for row in landed.tally():
        found[row.topic, row.reason] += row.events
    landed.close()
    return dict(found)


def test_the_rees46_clicks_land_as_the_file_has_them(shop: Shop) -> None:
    land(shop, REES46, "rees46")
    assert tally(shop) == {("clicks", ""): 17_434, ("clicks", "columns"): 1}
    clicks = list(lines(shop, "clicks"))
    assert len({(click["position"], click["n"]) for click in clicks}) == 17_434
    assert len({(click["user_id"], click["event_id"]) for click in clicks}) == 17_429
    # The one line that is cut short is a view.
    of_type = Counter(click["event_type"] for click in clicks)
    truths = {e["event_type"]: e for e in truth("rees46")["events"]}
    assert of_type["purchase"] == truths["purchase"]["n"]
    assert of_type["add_to_cart"] == truths["cart"]["n"]
    assert of_type["view"] == truths["view"]["n"] - 1
    spent = sum(Decimal(c["price"]) for c in clicks if c["event_type"] == "purchase")
    assert spent == Decimal(str(truths["purchase"]["price_sum"]))
    (rejected,) = lines(shop, "quarantine")
    assert (rejected["line"], rejected["origin"]) == (17_436, REES46.name)


def test_the_uci_invoices_land_line_by_line_and_add_up_to_the_penny(shop: Shop) -> None:
    land(shop, UCI, "uci_online_retail")
    reasons = {r["reason"]: r["n"] for r in truth("uci_online_retail")["first_failing_reason"]}
    assert tally(shop) == {
        ("orders", ""): reasons["valid"] + reasons["cancellation"],
        ("orders", "quantity"): 651,
        ("orders", "price"): 641,
    }
    sold: Counter[str] = Counter()
    worth: dict[str, Decimal] = {}
    for order in lines(shop, "orders"):
        assert order["by_line"] is True
        status = order["status"]
        sold[status] += len(order["lines"])
        each = (line["quantity"] * Decimal(line["unit_price"]) for line in order["lines"])
        worth[status] = worth.get(status, Decimal(0)) + sum(each)
    assert sold == {"paid": 203_954, "cancelled": 3_783}
    assert worth == {"paid": Decimal("4064726.591"), "cancelled": Decimal("357898.95")}
    assert sum(rejected["units"] for rejected in lines(shop, "quarantine")) == 1_292


def test_northwinds_products_land_as_stock_levels(shop: Shop) -> None:
    land(shop, NORTHWIND, "northwind_products")
    assert tally(shop) == {("stock", ""): 77}
    low = [
        level
        for level in lines(shop, "stock")
        if level["stock_on_hand"] <= level.get("reorder_level", 0)
        and not level.get("discontinued", False)
    ]
    assert len(low) == truth("northwind")["products_at_or_below_reorder_level_not_discontinued"]
