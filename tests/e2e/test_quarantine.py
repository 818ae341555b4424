"""The quarantine as a user works with it: look, mend, replay, once."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.e2e.command import Shop

INVOICES = """
topic = "orders"
group_by = "no"
on_bad_line = "quarantine_line"
[format]
type = "csv"
[fields]
order_id = "no"
timestamp = "at"
currency = { constant = "GBP" }
status = { constant = "paid" }
[lines]
product_id = "product"
quantity = "n"
unit_price = "price"
"""
LINES = """no,product,n,price,at
1,mug,2,1.50,2025-11-21T10:00:00Z
1,cup,3,0.00,2025-11-21T10:00:00Z
1,pot,1,9.00,2025-11-21T10:00:00Z
2,mug,-1,1.50,2025-11-21T10:05:00Z
"""


@pytest.fixture
def invoices(shop: Shop) -> Shop:
    """Two invoices of four lines, of which one has no price and one a quantity below 0."""
    (shop.data_dir.parent / "till.toml").write_text(INVOICES, "utf-8")
    file = shop.data_dir.parent / "till.csv"
    file.write_text(LINES, "utf-8")
    shop.load(file, shop.data_dir.parent / "till.toml")
    return shop


def worth(shop: Shop) -> Any:
    return shop.json("check")["orders"]["paid"]


def test_it_is_summed_up_by_reason(invoices: Shop) -> None:
    found = {(r["topic"], r["reason"]): r["units"] for r in invoices.json("quarantine")}
    assert found == {("orders", "price"): 1, ("orders", "quantity"): 1}
    assert worth(invoices) == {"orders": 1, "lines": 2, "worth": {"GBP": "12.00"}}


def test_it_lists_and_shows_what_came_and_why(invoices: Shop) -> None:
    (found,) = invoices.json("quarantine", "list", "--where", "reason=price")
    assert found["message"].endswith("is not above 0")
    assert (found["line"], found["origin"], found["resolved"]) == (3, "till.csv", False)
    assert datetime.now(UTC) - datetime.fromisoformat(found["at"]) < timedelta(hours=1)
    shown = invoices.json("quarantine", "show", found["id"])
    assert (shown["at"], shown["resolved_at"]) == (found["at"], "")
    assert json.loads(shown["raw"])["lines"][0]["product_id"] == "cup"
    assert shown["failures"][0]["field"].endswith(".unit_price")
    assert len(invoices.json("quarantine", "list", "--limit", "1")) == 1
    assert invoices.json("quarantine", "list", "--where", "source=nobody") == []


def test_it_exports_ndjson_with_the_raw_bytes(invoices: Shop) -> None:
    lines = invoices.run("quarantine", "export", "--where", "reason=quantity").stdout.splitlines()
    (record,) = map(json.loads, lines)
    raw = json.loads(base64.b64decode(record["rejection"]["raw"]))
    assert raw["lines"][0]["quantity"] == -1


def test_an_unknown_rejection_or_key_is_told(invoices: Shop) -> None:
    assert "there is no rejection" in invoices.run("quarantine", "show", "0-1", code=2).stderr
    assert "--where" in invoices.run("replay", "--where", "color=red", code=2).stderr
    assert "FIELD=VALUE" in invoices.run("replay", "--where", "reason", code=2).stderr
    told = invoices.run("quarantine", "list", "--where", "topic=ordrs", code=2).stderr
    assert "--where topic=ordrs: topics are clicks, orders, carts, stock" in told
    told = invoices.run("replay", "--where", "reason=curency", code=2).stderr
    assert "--where reason=curency: reasons are json, encoding, " in told
    twice = ("--where", "topic=clicks", "--where", "topic=orders")
    assert "--where topic: given twice" in invoices.run("replay", *twice, code=2).stderr


PRICED = ("replay", "--where", "reason=price", "--set", "lines[0].unit_price=2.00")


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(invoices: Shop) -> None:
    before = invoices.json("check")
    report = invoices.json(*PRICED, "--dry-run")
    assert (report["matched"], report["replayed"], report["dry_run"]) == (1, 1, True)
    assert json.loads(report["examples"][0]["event"])["lines"][0]["unit_price"] == 2.0
    assert report["rejected_again"] == 0
    assert invoices.json("check") == before


def test_a_dry_run_says_what_would_be_rejected_again_and_why(invoices: Shop) -> None:
    report = invoices.json("replay", "--where", "reason=quantity", "--dry-run", code=1)
    assert (report["replayed"], report["rejected_again"]) == (1, 1)
    (why,) = report["reasons"]
    assert why["why"].startswith("rejected again: lines[0].quantity: -1 is not a whole number")
    mended = ("--set", "lines[0].quantity=2", "--set", "lines[0].unit_price=0")
    report = invoices.json("replay", "--where", "reason=quantity", *mended, "--dry-run", code=1)
    assert "lines[0].unit_price: 0 is not above 0" in report["reasons"][0]["why"]


def test_a_mended_line_joins_its_order_and_replaying_twice_is_as_good_as_once(
    invoices: Shop,
) -> None:
    assert invoices.json(*PRICED)["replayed"] == 1
    joined = {"orders": 1, "lines": 3, "worth": {"GBP": "18.00"}}
    assert worth(invoices) == joined
    assert invoices.json("check")["sources"]["orders"]["replay"]["accepted"] == 1
    again = invoices.json(*PRICED)
    assert (again["replayed"], again["already_resolved"]) == (0, 1)
    assert worth(invoices) == joined
    (found,) = invoices.json("quarantine", "list", "--where", "reason=price")
    assert found["resolved"]


def test_a_replay_that_is_still_bad_is_quarantined_again(invoices: Shop) -> None:
    report = invoices.json("replay", "--where", "reason=quantity", code=1)
    assert (report["replayed"], report["rejected_again"]) == (1, 1)
    assert invoices.counts("orders") == {"received": 5, "accepted": 2, "quarantined": 3}
    found = invoices.json("quarantine", "list", "--where", "reason=quantity")
    assert sorted(r["resolved"] for r in found) == [False, True]


def test_what_is_no_json_cannot_be_mended_and_says_so(shop: Shop) -> None:
    (shop.data_dir.parent / "clicks.toml").write_text(
        'topic = "clicks"\n[format]\ntype = "ndjson"\n[fields]\nuser_id = "u"\n'
        'event_type = { constant = "view" }\ntimestamp = "at"\n',
        "utf-8",
    )
    shop.load(shop.ndjson("c.ndjson", "{not json"), shop.data_dir.parent / "clicks.toml")
    report = shop.json("replay", "--set", "user_id=u1", code=1)
    assert (report["matched"], report["replayed"], report["not_replayable"]) == (1, 0, 1)
    (why,) = report["reasons"]
    assert why["why"] == "it is no JSON object"


def test_set_takes_the_path_that_the_failure_names(invoices: Shop) -> None:
    (found,) = invoices.json("quarantine", "list", "--where", "reason=price")
    path = found["message"].partition(":")[0]
    assert path == "lines[1].unit_price"
    report = invoices.json("replay", "--where", f"id={found['id']}", "--set", f"{path}=2")
    assert (report["replayed"], report["rejected_again"]) == (1, 0)
    assert worth(invoices)["worth"] == {"GBP": "18.00"}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("lines[0].unit_prise", "there is no 'unit_prise'"),
        ("curency", "there is no 'curency'"),
        ("total.amount", "there is no 'total'"),
        ("order_id.of", "what stands above it is no object"),
    ],
)
def test_set_refuses_a_place_that_is_not_there(invoices: Shop, path: str, why: str) -> None:
    report = invoices.json("replay", "--where", "reason=price", "--set", f"{path}=2", code=1)
    assert (report["replayed"], report["not_replayable"]) == (0, 1)
    assert report["reasons"][0]["why"] == f"{path}: {why}"


def test_a_shard_that_is_not_there_is_told_and_nothing_made(invoices: Shop) -> None:
    done = invoices.run("processor", "--shard", "5", code=2)
    assert "--shard 5" in done.stderr
    assert not (invoices.data_dir / "tables" / "5").exists()
