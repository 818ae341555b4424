"""Real files through the real command line: every line accounted for, as GROUND_TRUTH says."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.e2e.command import DATA, NORTHWIND, REES46, UCI, Shop, needs_data

from shopstream.domain.canonical import read_stored
from shopstream.events import Click
from shopstream.local.tables import RocksTables

pytestmark = [needs_data, pytest.mark.slow]


def truth(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / folder / "GROUND_TRUTH.json").read_text("utf-8"))
    return found


def stored_clicks(shop: Shop) -> list[Click]:
    tables = RocksTables.reader(shop.data_dir / "tables" / "0")
    try:
        return [
            read_stored(line)
            for _, _, chunk in tables.scan("browsing_events")
            for line in chunk.split(b"\n")
        ]
    finally:
        tables.close()


def alerts_in(shop: Shop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.json("alerts", "--limit", "100000")
    return found


def test_the_rees46_clicks_are_all_accounted_for(shop: Shop) -> None:
    shop.load(REES46, "rees46")
    once = {"received": 17_435, "accepted": 17_429, "duplicate": 5, "quarantined": 1}
    assert shop.counts("clicks") == once
    assert shop.json("check")["quarantine"] == {"clicks": {"columns": 1}}
    assert "already loaded" in shop.load(REES46, "rees46")
    assert shop.counts("clicks") == once
    (rejection,) = shop.json("quarantine", "list")
    assert (rejection["line"], rejection["origin"]) == (17_436, REES46.name)

    clicks = stored_clicks(shop)
    of_type = Counter(click.event_type for click in clicks)
    # The file's counts hold the five duplicates and the truncated line, which are views.
    truths = {e["event_type"]: e["n"] for e in truth("rees46")["events"]}
    assert of_type["purchase"] == truths["purchase"]
    assert of_type["add_to_cart"] + of_type["view"] == truths["cart"] + truths["view"] - 6
    spent = sum((c.price or Decimal(0) for c in clicks if c.event_type == "purchase"), Decimal(0))
    purchases = next(e for e in truth("rees46")["events"] if e["event_type"] == "purchase")
    assert spent == Decimal(str(purchases["price_sum"]))
    offers = shop.json("check")["tables"]["offers"]
    assert offers["expected"] == offers["found"] > 0


def test_history_makes_no_offer_that_is_delivered_unless_it_is_said_to_be_news(
    shop: Shop,
) -> None:
    lines = REES46.read_text("utf-8").splitlines()[:4_001]
    part = shop.data_dir.parent / "part.csv"
    part.write_text("\n".join(lines) + "\n", "utf-8")
    for data_dir, options, delivered in (("old", [], False), ("new", ["--live"], True)):
        there = Shop(shop.data_dir / data_dir)
        there.load(part, "rees46", *options)
        tables = RocksTables.reader(there.data_dir / "tables" / "0")
        offers = [msgspec.json.decode(item) for _, _, item in tables.scan("offers")]
        tables.close()
        assert offers
        assert {offer["delivered"] for offer in offers} == {delivered}
        assert {offer.get("historical", False) for offer in offers} == {not delivered}


def test_the_uci_invoices_are_all_accounted_for_line_by_line(shop: Shop) -> None:
    shop.load(UCI, "uci_online_retail")
    reasons = {r["reason"]: r for r in truth("uci_online_retail")["first_failing_reason"]}
    for _ in range(2):
        assert shop.counts("orders") == {
            "received": truth("uci_online_retail")["rows"]["lines"],
            "accepted": reasons["valid"]["n"] + reasons["cancellation"]["n"],
            "quarantined": 1_292,
        }
        report = shop.json("check")
        assert report["quarantine"] == {"orders": {"quantity": 651, "price": 641}}
        assert report["orders"] == {
            "paid": {"orders": 8_126, "lines": 203_954, "worth": {"GBP": "4064726.591"}},
            "cancelled": {"orders": 1_677, "lines": 3_783, "worth": {"GBP": "357898.95"}},
        }
        shop.load(UCI, "uci_online_retail")

    alerts = alerts_in(shop)
    kinds = Counter(alert["kind"] for alert in alerts)
    assert kinds["large_order"] == truth("uci_online_retail")["orders_over_1000_valid"]["n"] == 717
    assert {alert["state"] for alert in alerts} == {"historical"}


def test_northwinds_products_that_run_low_are_told_and_a_load_that_is_news_delivers(
    shop: Shop,
) -> None:
    low = truth("northwind")["products_at_or_below_reorder_level_not_discontinued"]
    there = Shop(shop.data_dir / "old")
    there.load(NORTHWIND, "northwind_products")
    assert there.counts("stock") == {"received": 77, "accepted": 77}
    assert Counter(a["state"] for a in alerts_in(there)) == {"historical": low}
    news = Shop(shop.data_dir / "new")
    news.load(NORTHWIND, "northwind_products", "--live")
    assert Counter(a["state"] for a in alerts_in(news)) == {"delivered": low}
    assert {a["kind"] for a in alerts_in(news)} == {"low_stock"}
