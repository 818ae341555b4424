"""`shopstream check` finds whatever is wrong in the lake, and `lake rebuild` puts it right."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import duckdb
import pytest
from tests.e2e.command import Shop
from tests.lake.real_lake import RealLake, cart

from shopstream.engine import Engine, open_engine
from shopstream.errors import ConfigError
from shopstream.lake.current import read_current
from shopstream.lake.files import data_file
from shopstream.lake.maintain import maintain
from shopstream.lake.rebuild import rebuild
from shopstream.lake.verify import Processed, verify
from shopstream.ledger import CheckReport, check
from shopstream.settings import Settings

LINES = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
i1,p1,Lamp,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
i1,p2,Lantern,0,2010-12-01 08:26:00,3.39,17850.0,United Kingdom
i1,p3,Holder,2,2010-12-01 08:26:00,1.10,17850.0,United Kingdom
Ci2,p1,Lamp,-1,2010-12-02 09:00:00,2.55,17850.0,United Kingdom
"""
"""Invoices whose lines are judged one by one; the second is bad."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A small shop, landed and built. Tests put back what they change."""
    folder = tmp_path_factory.mktemp("shop") / "data"
    shop = Shop(folder)
    shop.run("simulate", "shop", "--count", "1500", "--seed", "1", "--invalid-percent", "2")
    clicks = [
        {"user_id": f"u{n}", "event_id": f"e{n % 8}", "event_type": "view", "product_id": "p1"}
        | {"timestamp": f"2026-01-0{1 + n % 3}T10:00:00Z"}
        for n in range(20)
    ]
    # The processors' conflicts: silver has the first alone, and where it is long after, both.
    near = {**clicks[0], "timestamp": "2026-01-02T00:00:01Z"}
    far = {**clicks[1], "timestamp": "2026-01-20T10:00:00Z"}
    sent = shop.ndjson("clicks.ndjson", *clicks, *clicks[:5], near, far)
    shop.run("load", sent, "--mapping", _clicks(shop))
    lines = folder.parent / "lines.csv"
    for text in (LINES, LINES.replace("p3,Holder,2", "p4,Vase,3") + LINES.splitlines()[1]):
        lines.write_text(text, "utf-8")
        shop.load(lines, "uci_online_retail")
    shop.run("build")
    return Settings(data_dir=folder)


def _clicks(shop: Shop) -> Path:
    path = shop.data_dir.parent / "clicks.toml"
    fields = ("user_id", "event_id", "event_type", "timestamp", "product_id")
    path.write_text(
        'topic = "clicks"\n[format]\ntype = "ndjson"\n[fields]\n'
        + "".join(f'{field} = "{field}"\n' for field in fields),
        "utf-8",
    )
    return path


@contextmanager
def changed(path: Path, body: bytes | None) -> Iterator[None]:
    """The file with another body, or without any, for as long as this lasts."""
    before = path.read_bytes()
    if body is None:
        path.unlink()
    else:
        path.write_bytes(body)
    try:
        yield
    finally:
        path.write_bytes(before)


def flipped(path: Path) -> bytes:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    return bytes(body)


@contextmanager
def rewritten(settings: Settings, table: str, query: str) -> Iterator[None]:
    """A table's last file with what `query` makes of its rows `t`, its hash remembered."""
    name = read_current(settings.data_dir).tables[table].files[-1]
    path = settings.data_dir / "lake" / name
    made = settings.data_dir.parent / "made.parquet"
    with duckdb.connect() as con:
        con.execute(
            f"COPY (WITH t AS (SELECT * FROM read_parquet('{path}', hive_partitioning = false))"
            f" {query}) TO '{made}' (FORMAT parquet)"
        )
    try:
        with changed(path, made.read_bytes()):
            _remember(settings, name)
            yield
    finally:
        _remember(settings, name)


def _remember(settings: Settings, name: str) -> None:
    with open_engine(settings).write_builds() as builds:
        builds.record_files([data_file(settings.data_dir / "lake", name, 0)])


def differences(settings: Settings) -> list[str]:
    report = check(settings)
    assert report.lake is not None
    assert report.lake.uncompared == []
    assert report.balanced == (not report.differences)
    return report.differences


def test_a_built_lake_adds_up_and_all_of_it_is_compared(settings: Settings) -> None:
    report: CheckReport = check(settings)
    assert report.lake is not None
    assert (report.lake.uncompared, report.differences) == ([], [])
    assert report.balanced
    assert report.lake.build == 1
    assert report.lake.bronze.files >= 5
    assert report.lake.data.files >= 10
    assert report.lake.rows["silver_clicks"] > 1_000


def test_without_a_lake_nothing_is_said(tmp_path: Path) -> None:
    open_engine(Settings(data_dir=tmp_path)).write_log().close()
    report = check(Settings(data_dir=tmp_path))
    assert report.lake is None
    assert report.balanced


def bronze(settings: Settings, topic: str) -> Path:
    return next((settings.data_dir / "bronze" / topic).rglob("*.zst"))


@pytest.mark.parametrize("topic", ["clicks", "orders", "carts", "stock", "quarantine"])
def test_one_flipped_bit_in_bronze_is_named(settings: Settings, topic: str) -> None:
    path = bronze(settings, topic)
    with changed(path, flipped(path)):
        (found,) = differences(settings)
    name = path.relative_to(settings.data_dir)
    assert found == f"{name} is not what was written: its SHA-256 differs"


def test_a_file_that_bronze_lacks_is_named(settings: Settings) -> None:
    path = bronze(settings, "clicks")
    with changed(path, None):
        assert differences(settings) == [f"{path.relative_to(settings.data_dir)} is missing"]


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_file_of_a_table_is_named_and_what_to_do(settings: Settings, how: str) -> None:
    name = read_current(settings.data_dir).tables["gold_traffic"].files[0]
    path = settings.data_dir / "lake" / name
    body = {"flipped": flipped(path), "cut": path.read_bytes()[:-1], "missing": None}[how]
    with changed(path, body):
        (found,) = differences(settings)
    assert found.startswith(f"lake/{name} is ")
    assert "`shopstream lake rebuild gold_traffic`" in found


@pytest.mark.parametrize("table", ["silver_clicks", "silver_carts", "silver_stock"])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM t OFFSET 1", "1 {topic} of bronze are not in {table}"),
        ("SELECT * FROM t UNION ALL (SELECT * FROM t LIMIT 1)", "1 {topic} of {table} are not in"),
    ],
)
def test_a_row_too_few_or_too_many_in_silver_is_found(
    settings: Settings, table: str, query: str, said: str
) -> None:
    with rewritten(settings, table, query):
        found = differences(settings)
    topic = table.removeprefix("silver_")
    assert said.format(topic=topic, table=table) in " ".join(found)


def test_an_order_and_its_lines_that_silver_lost_are_found(settings: Settings) -> None:
    with rewritten(settings, "silver_orders", "SELECT * FROM t OFFSET 1"):
        assert "lake: 1 orders of bronze are not in silver_orders" in differences(settings)
    with rewritten(settings, "silver_order_lines", "SELECT * FROM t OFFSET 1"):
        assert any("order lines in bronze" in found for found in differences(settings))


def test_an_offer_that_silver_lost_is_found(settings: Settings) -> None:
    with rewritten(settings, "silver_offers", "SELECT * FROM t OFFSET 1"):
        assert "lake: 1 offers of bronze are not in silver_offers" in differences(settings)


@pytest.mark.parametrize(
    ("table", "query"),
    [
        ("gold_daily_sales", "SELECT * REPLACE (amount + 0.0001 AS amount) FROM t"),
        ("gold_funnel", "SELECT * FROM t WHERE step_name <> 'purchase'"),
        ("silver_products", "SELECT * FROM t OFFSET 1"),
        ("silver_orders", "SELECT * REPLACE (subtotal * 2 AS subtotal) FROM t"),
        ("gold_traffic", "SELECT * REPLACE (events + 1 AS events) FROM t"),
        ("gold_user_engagement", "SELECT * REPLACE (sessions + 1 AS sessions) FROM t"),
        ("gold_product_performance", "SELECT * REPLACE (revenue * 2 AS revenue) FROM t"),
        ("gold_product_performance", "SELECT * REPLACE (views + 1 AS views) FROM t"),
        ("gold_customer_lifetime_value", "SELECT * REPLACE (revenue * 2 AS revenue) FROM t"),
        ("gold_offer_performance", "SELECT * REPLACE (made + 1 AS made) FROM t"),
        ("gold_inventory_health", "SELECT * REPLACE (demand_28d + 1 AS demand_28d) FROM t"),
        ("gold_abandoned_items", "SELECT * REPLACE (value * 2 AS value) FROM t"),
        ("gold_abandoned_products", "SELECT * REPLACE (carts + 1 AS carts) FROM t"),
        ("gold_customer_abandoned_items", "SELECT * FROM t OFFSET 1"),
        ("gold_data_quality", "SELECT * REPLACE (events + 1 AS events) FROM t"),
    ],
)
def test_sums_of_gold_that_are_not_those_of_silver_are_found(
    settings: Settings, table: str, query: str
) -> None:
    with rewritten(settings, table, query):
        found = differences(settings)
    assert any(text.startswith(f"lake: sums of {table} are ") for text in found)


@pytest.mark.parametrize(
    ("table", "query", "said"),
    [
        (
            "silver_clicks",
            "SELECT * REPLACE (price * 3 AS price) FROM t",
            "have another day, price",
        ),
        ("silver_clicks", "SELECT * REPLACE (day + 1 AS day) FROM t", "have another day, price"),
        (
            "silver_carts",
            "SELECT * REPLACE (quantity + 1 AS quantity) FROM t",
            "another day, price",
        ),
        ("silver_stock", "SELECT * REPLACE (0 AS stock_on_hand) FROM t", "have another day, price"),
        (
            "silver_order_lines",
            "SELECT * REPLACE (unit_price * 3 AS unit_price, amount * 3 AS amount) FROM t",
            "prices of silver_order_lines are not those of bronze",
        ),
        (
            "silver_order_lines",
            "SELECT * REPLACE (amount * 2 AS amount) FROM t",
            "amounts of silver_order_lines are not quantity x unit_price",
        ),
    ],
)
def test_a_row_of_silver_that_says_what_nobody_sent_is_found(
    settings: Settings, table: str, query: str, said: str
) -> None:
    with rewritten(settings, table, query):
        assert said in " ".join(differences(settings))


@pytest.mark.parametrize("days", [1, 7])
def test_a_copy_on_another_day_is_a_row_too_many(settings: Settings, days: int) -> None:
    copy = f"SELECT * REPLACE (day + {days} AS day) FROM (SELECT * FROM t LIMIT 1)"
    with rewritten(settings, "silver_clicks", f"SELECT * FROM t UNION ALL {copy}"):
        assert "lake: 1 clicks of silver_clicks are not in bronze" in differences(settings)


def test_more_in_silver_than_the_processors_accepted_is_found(tmp_path: Path) -> None:
    lake = RealLake(tmp_path)
    lake.arrive("carts", cart("u", "p", 18), cart("u", "q", 18))
    lake.build()
    with lake.landed() as landed:
        position = landed.position()
    cells = {("carts", "http", "accepted"): 2}
    assert judged(lake.engine, cells, position) == ""
    one = {("carts", "http", "accepted"): 1, ("carts", "http", "duplicate"): 1}
    said = "lake: 2 carts in silver_carts, 1 accepted by the processors"
    assert judged(lake.engine, one, position) == said


def test_a_count_that_is_not_the_ledgers_is_found(settings: Settings) -> None:
    db = apsw.Connection(str(settings.data_dir / "lake" / "landed.db"))
    by_one = "UPDATE tally SET events = events + {} WHERE topic = 'carts' AND reason = ''"
    db.execute(by_one.format(1))
    try:
        found = [text for text in differences(settings) if text.startswith("bronze: ")]
    finally:
        db.execute(by_one.format(-1))
        db.close()
    assert len(found) == 1
    assert found[0].startswith("bronze: carts from simulate: ")


# --- what the processors are at ------------------------------------------------------------------


def judged(engine: Engine, cells: dict[tuple[str, str, str], int], *positions: int | None) -> str:
    report = verify(engine, Processed(cells, positions))
    assert report is not None
    return " ".join([*report.differences, *report.uncompared])


def test_while_processors_are_at_work_only_what_can_be_is_compared(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "data")
    views = [
        {"user_id": "u1", "event_type": "view", "product_id": f"p{n}"}
        | {"timestamp": f"2026-01-01T10:0{n}:00Z"}
        for n in range(4)
    ]
    mapping = _clicks(shop)
    shop.data_dir.mkdir()
    shop.load(shop.ndjson("clicks.ndjson", *views, views[0], {"user_id": "x"}), mapping)
    shop.run("lander", "--until-idle")
    engine = open_engine(Settings(data_dir=shop.data_dir))
    source = "load:clicks"
    cells = {
        ("clicks", source, "accepted"): 4,
        ("clicks", source, "duplicate"): 1,
        ("clicks", source, "quarantined:missing"): 1,
        ("clicks", source, "derived"): 3,
        ("offers", "rule", "made"): 9,
    }
    assert judged(engine, cells, 6, 6) == ""
    assert "at work" in judged(engine, cells, 6, None)
    assert "at work" in judged(engine, cells, 4, 8)
    fewer = cells | {("clicks", source, "accepted"): 3}
    assert "5 landed and 1 rejected up to position 6" in judged(engine, fewer, 6)
    assert judged(engine, fewer, 4, 5) == ""
    assert "clicks from" in judged(engine, fewer, 7)
    as_conflict = fewer | {("clicks", source, "quarantined:conflict"): 1}
    assert judged(engine, as_conflict, 6) == ""
    as_poison = fewer | {("clicks", source, "quarantined:poison"): 1}
    assert judged(engine, as_poison, 6) == ""


# --- maintenance and rebuilding (these build: they come last) ------------------------------------


def test_maintenance_leaves_a_lake_that_adds_up(settings: Settings) -> None:
    before = read_current(settings.data_dir)
    with open_engine(settings).write_builds() as builds:
        maintain(settings, builds)
    assert differences(settings) == []
    after = read_current(settings.data_dir)
    assert {n: t.rows for n, t in after.tables.items()} == {
        n: t.rows for n, t in before.tables.items()
    }


def test_a_damaged_table_is_put_aside_and_made_anew(settings: Settings) -> None:
    before = read_current(settings.data_dir).tables
    names = before["silver_clicks"].files
    assert len(names) > 1
    lake = settings.data_dir / "lake"
    spoilt = {name: flipped(lake / name) for name in names}
    for name, body in spoilt.items():
        (lake / name).write_bytes(body)
    assert any(names[0] in found for found in check(settings).differences)
    done = rebuild(settings, "silver_clicks")
    assert done.isolated == [f"damaged/{name}" for name in sorted(names)]
    assert {name: (lake / "damaged" / name).read_bytes() for name in names} == spoilt
    assert not any((lake / name).exists() for name in names)
    assert {"silver_clicks", "gold_funnel"} <= {built.table for built in done.build.tables}
    assert differences(settings) == []
    after = read_current(settings.data_dir).tables
    assert {n: t.rows for n, t in after.items()} == {n: t.rows for n, t in before.items()}


def test_a_missing_file_is_made_anew_too(settings: Settings) -> None:
    name = read_current(settings.data_dir).tables["gold_traffic"].files[0]
    (settings.data_dir / "lake" / name).unlink()
    assert rebuild(settings, "gold_traffic").isolated == []
    assert differences(settings) == []


def test_where_bronze_expires_a_rebuild_wants_to_be_meant(settings: Settings) -> None:
    expiring = Settings(data_dir=settings.data_dir, bronze_ttl=settings.events_ttl)
    with pytest.raises(ConfigError, match="--anyway"):
        rebuild(expiring, "silver_clicks")
    with pytest.raises(ConfigError, match="no such table"):
        rebuild(settings, "silver_nothing")
