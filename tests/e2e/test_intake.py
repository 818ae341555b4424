"""Files dropped into `raw/`, by the real command line: with `up` and without it."""

import csv
import json
from pathlib import Path

import pytest
from tests.e2e.command import Shop

pytestmark = pytest.mark.slow

HEADER = "user_id,cart_id,product_id,quantity,unit_price,currency,timestamp"


def drop(shop: Shop, topic: str, name: str, text: str) -> Path:
    """Drop a file as batch systems should: under another name first."""
    folder = shop.data_dir / "raw" / topic
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.part"
    unfinished.write_text(text, "utf-8")
    return unfinished.rename(folder / name)


def at_once(shop: Shop) -> None:
    (shop.data_dir / "shopstream.toml").write_text('intake_settle = "0s"\n', "utf-8")


def test_simulated_carts_as_csv_are_taken_once_and_all_add_up(shop: Shop) -> None:
    made = shop.data_dir.parent / "carts.ndjson"
    shop.run("simulate", "carts", "--count", "1000", "--seed", "5", "--to", made)
    lines = [json.loads(line) for line in made.read_text("utf-8").splitlines()]
    names = list(dict.fromkeys(name for line in lines for name in line))
    path = shop.data_dir.parent / "carts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(lines)
    drop(shop, "carts", "carts.csv", path.read_text("utf-8"))
    at_once(shop)
    assert "carts.csv: 1,000 carts" in shop.run("intake", "--until-idle").stderr
    assert shop.counts("carts") == {"received": 1_000, "accepted": 1_000}
    drop(shop, "carts", "again.csv", path.read_text("utf-8"))
    assert "already loaded" in shop.run("intake", "--until-idle").stderr
    assert shop.counts("carts") == {"received": 1_000, "accepted": 1_000}
    done = shop.data_dir / "raw" / "done" / "carts"
    assert sorted(p.name for p in done.iterdir()) == ["again.csv", "carts.csv"]


def test_an_order_that_comes_in_two_files_is_one_order(shop: Shop) -> None:
    header = "order_id,customer_id,status,currency,timestamp,product_id,quantity,unit_price\n"
    first = ["o1,u1,paid,EUR,2026-03-01T12:00:00Z,p1,2,1.50\n"]
    both = ["o0,u1,paid,EUR,2026-03-01T11:00:00Z,p1,1,1.50\n", *first]
    drop(shop, "orders", "1.csv", "".join([header, *first]))
    drop(shop, "orders", "2.csv", "".join([header, *both]))
    at_once(shop)
    shop.run("intake", "--until-idle")
    counts = {"received": 3, "accepted": 2, "duplicate": 1}
    assert shop.counts("orders") == counts


def test_a_file_that_fails_is_told_and_ends_with_exit_code_1(shop: Shop) -> None:
    drop(shop, "carts", "bad.csv", "a,b\n1,2\n")
    drop(shop, "carts", "good.csv", f"{HEADER}\nu1,,p1,1,,,2026-03-01T12:00:00Z\n")
    at_once(shop)
    said = shop.run("intake", "--until-idle", code=1).stderr
    assert "good.csv: 1 cart\n" in said
    assert "has no column 'user_id'" in said
    assert "Traceback" not in said
    assert shop.counts("carts") == {"received": 1, "accepted": 1}
