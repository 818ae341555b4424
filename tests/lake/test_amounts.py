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
