"""The largest amounts that validation takes are in the tables to the last digit."""

from pathlib import Path

from tests.flows.pipeline import click, entry, order

from shopstream.ask.connection import connect
from shopstream.engine import open_engine
from shopstream.lake.build import build
from shopstream.settings import Settings
from shopstream.stages import land


def test_amounts_of_eighteen_digits_are_exact(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    log = open_engine(settings).write_log()
    raw = b'{"user_id":"u","event_type":"view","timestamp":"2025-11-21T10:00:00Z","price":%b}'
    prices = (b"99999999999999.9999", b"1234567890123.4567", b"0.1")
    sold = order("o1", 1, customer_id="u", amount=None)
    sold["lines"][0]["unit_price"] = "99999999999999.9999"
    clicks = [raw % price for price in prices] + [click("u", price=12)]
    log.append([entry(*clicks), entry(sold, topic="orders")])
    log.close()
    land(settings)
    assert build(settings).failed == []
    with connect(settings.data_dir) as con:
        found = con.execute("SELECT price FROM silver_clicks ORDER BY price").fetchall()
        (amount,) = con.execute("SELECT sum(amount) FROM gold_daily_sales").fetchall()
    assert [str(price) for (price,) in found] == [
        "0.1000",
        "12.0000",
        "1234567890123.4567",
        "99999999999999.9999",
    ]
    assert str(amount[0]) == "99999999999999.9999"


def test_the_most_of_the_dearest_that_may_be_bought_or_left_is_exact_too(tmp_path: Path) -> None:
    """The largest quantity times the largest price: more digits than a 64-bit number has."""
    settings = Settings(data_dir=tmp_path / "data")
    log = open_engine(settings).write_log()
    line = b'{"user_id":"v","product_id":"%b","quantity":1000000000,%b"timestamp":"2025-11-21T%bZ"}'
    left = b'"unit_price":99999999999999.9999,'
    bought = b'"event_type":"purchase","price":99999999999999.9999,'
    carts = [line % (b"p", left, b"08:00:00"), line % (b"other", left, b"09:00:00")]
    log.append(
        [entry(*carts, topic="carts"), entry(line % (b"sold", bought, b"07:00:00"), topic="clicks")]
    )
    log.close()
    land(settings)
    assert build(settings).failed == []
    with connect(settings.data_dir) as con:
        (value,) = con.execute("SELECT value FROM gold_abandoned_items").fetchall()
        rows = con.execute("SELECT product_id FROM gold_product_performance").fetchall()
    assert str(value[0]) == "99999999999999999900000.0000"
    assert ("sold",) in rows
