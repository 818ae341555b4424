"""What gold holds against the silver that it was made of: sums, by other SQL than the models'."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shopstream.engine import Engine
from shopstream.lake.bind import table_sql
from shopstream.lake.compare import Compared, Shown, made_of
from shopstream.lake.model import load_models

if TYPE_CHECKING:
    import duckdb

    from shopstream.local.landed import Landed


class _Sums(NamedTuple):
    """Two queries that must say the same: `has` of the table, `wanted` of those it is made of."""

    of: tuple[str, ...]
    has: str
    wanted: str


_SUMS = {
    "silver_products": _Sums(
        ("silver_stock",),
        "SELECT count(*), count(DISTINCT product_id) FROM silver_products",
        "SELECT count(DISTINCT product_id), count(DISTINCT product_id) FROM silver_stock",
    ),
    "silver_orders": _Sums(
        ("silver_order_lines",),
        "SELECT currency, sum(lines), sum(units), sum(subtotal) FROM silver_orders"
        " GROUP BY currency ORDER BY currency",
        "SELECT currency, count(*), sum(quantity), sum(amount) FROM silver_order_lines"
        " GROUP BY currency ORDER BY currency",
    ),
    "gold_daily_sales": _Sums(
        ("silver_order_lines",),
        "SELECT currency, sum(amount), sum(refunded), sum(units), sum(refunded_units)"
        " FROM gold_daily_sales GROUP BY currency ORDER BY currency",
        "SELECT currency,"
        " sum(if(counts_as = 'sold', amount, 0)), sum(if(counts_as = 'refunded', amount, 0)),"
        " sum(if(counts_as = 'sold', quantity, 0)), sum(if(counts_as = 'refunded', quantity, 0))"
        " FROM silver_order_lines WHERE counts_as <> 'none' GROUP BY currency ORDER BY currency",
    ),
    "gold_funnel": _Sums(
        ("silver_clicks",),
        "SELECT step_name, sum(sessions) FROM gold_funnel WHERE sessions > 0"
        " GROUP BY step_name ORDER BY step_name",
        'SELECT event_type, count(DISTINCT hash("day", session_id)) FROM silver_clicks'
        " WHERE event_type IN ('view', 'add_to_cart', 'begin_checkout', 'purchase')"
        " GROUP BY event_type ORDER BY event_type",
    ),
    "gold_traffic": _Sums(
        ("silver_clicks",),
        "SELECT sum(sessions), sum(events), sum(purchases) FROM gold_traffic",
        'SELECT count(DISTINCT hash("day", session_id)), count(*),'
        " count_if(event_type = 'purchase') FROM silver_clicks",
    ),
    "gold_user_engagement": _Sums(
        ("silver_clicks",),
        "SELECT sum(sessions), sum(events), sum(pages) FROM gold_user_engagement",
        'SELECT count(DISTINCT hash("day", session_id)), count(*),'
        " count_if(event_type = 'view') FROM silver_clicks",
    ),
    "gold_product_performance": _Sums(
        ("silver_clicks", "silver_order_lines"),
        "SELECT sum(views), sum(carts), sum(purchases), sum(units), sum(revenue)"
        " FROM gold_product_performance",
        """
        WITH said AS (
            SELECT order_id, product_id, "day", customer_id AS who, true AS ordered
            FROM silver_order_lines WHERE status IN ('placed', 'paid')
            UNION ALL
            SELECT order_id, product_id, "day", user_id, false
            FROM silver_clicks WHERE event_type = 'purchase' AND order_id IS NOT NULL
        ), around AS (
            SELECT order_id, product_id, "day" + apart AS "day",
                bool_or(who IS NULL) AS guests,
                list(DISTINCT who) FILTER (ordered AND who IS NOT NULL) AS customers,
                list(DISTINCT who) FILTER (NOT ordered) AS users
            FROM said, unnest([-1, 0, 1]) AS days(apart) GROUP BY ALL
        ), bought AS (
            SELECT "day", product_id, quantity AS units, amount, currency
            FROM silver_order_lines WHERE counts_as = 'sold'
            UNION ALL
            SELECT "day", product_id, coalesce(quantity, 1),
                CAST(CAST(coalesce(quantity, 1) AS DECIMAL(19,0)) * price AS DECIMAL(38,4)),
                CASE WHEN price IS NOT NULL THEN currency END
            FROM silver_clicks LEFT JOIN around USING (order_id, product_id, "day")
            WHERE event_type = 'purchase' AND product_id IS NOT NULL AND NOT coalesce(
                guests OR list_contains(customers, user_id)
                OR (len(customers) = 1 AND NOT list_has_any(customers, users)), false
            )
        ), products AS (
            SELECT count(*) AS purchases, sum(units) AS units,
                if(count(DISTINCT currency) <= 1, coalesce(sum(amount), 0), NULL) AS revenue
            FROM bought GROUP BY "day", product_id
        ), looked AS (
            SELECT count_if(event_type = 'view') AS views,
                count_if(event_type = 'add_to_cart') AS carts
            FROM silver_clicks WHERE product_id IS NOT NULL
        )
        SELECT any_value(views), any_value(carts), sum(purchases), sum(units), sum(revenue)
        FROM looked LEFT JOIN products ON TRUE
        """,
    ),
    "gold_customer_lifetime_value": _Sums(
        ("silver_order_lines",),
        "SELECT currency, sum(orders), sum(revenue), sum(refunded), sum(net_revenue)"
        " FROM gold_customer_lifetime_value GROUP BY currency ORDER BY currency",
        "SELECT currency,"
        " count(DISTINCT if(counts_as = 'sold', hash(customer_id, source, order_id), NULL)),"
        " sum(if(counts_as = 'sold', amount, 0)), sum(if(counts_as = 'refunded', amount, 0)),"
        " sum(if(counts_as = 'sold', amount, -amount))"
        " FROM silver_order_lines WHERE counts_as <> 'none' AND customer_id IS NOT NULL"
        " GROUP BY currency ORDER BY currency",
    ),
    "gold_offer_performance": _Sums(
        ("silver_offers",),
        "SELECT sum(made), sum(held_out), sum(historical) FROM gold_offer_performance",
        "SELECT count_if(NOT historical AND NOT held_out), count_if(NOT historical AND held_out),"
        " count_if(historical) FROM silver_offers",
    ),
    "gold_inventory_health": _Sums(
        ("silver_products", "gold_product_performance"),
        "SELECT count(*), sum(stock_on_hand), sum(demand_28d) FROM gold_inventory_health",
        """
        WITH newest AS (
            SELECT max("day") AS at FROM (
                SELECT "day" FROM gold_product_performance
                UNION ALL SELECT CAST(timestamp AS DATE) FROM silver_products
            )
        )
        SELECT count(*), sum(stock_on_hand), (
            SELECT coalesce(sum(units), 0)
            FROM gold_product_performance SEMI JOIN silver_products USING (product_id), newest
            WHERE "day" > newest.at - 28
        ) FROM silver_products
        """,
    ),
    # What is left in carts is told by their order of events: only that it was ever put in is asked.
    "gold_abandoned_items": _Sums(
        ("silver_clicks", "silver_carts"),
        "SELECT count(*), sum(value) FROM gold_abandoned_items",
        """
        WITH put_in AS (
            SELECT DISTINCT user_id AS customer_id, coalesce(cart_id, '') AS cart_id, product_id
            FROM silver_clicks WHERE event_type = 'add_to_cart'
            UNION
            SELECT DISTINCT user_id, coalesce(cart_id, ''), product_id FROM silver_carts
        )
        SELECT count(*), sum(CAST(CAST(quantity AS DECIMAL(18,0)) * unit_price AS DECIMAL(38,4)))
        FROM gold_abandoned_items SEMI JOIN put_in USING (customer_id, cart_id, product_id)
        """,
    ),
    "gold_abandoned_products": _Sums(
        ("gold_abandoned_items",),
        "SELECT count(*), sum(carts), sum(units) FROM gold_abandoned_products",
        "SELECT least(50, (SELECT count(DISTINCT product_id) FROM gold_abandoned_items)), count(*),"
        " sum(quantity) FROM gold_abandoned_items"
        " SEMI JOIN gold_abandoned_products USING (product_id)",
    ),
    "gold_customer_abandoned_items": _Sums(
        ("gold_abandoned_items",),
        "SELECT count(*), sum(carts), sum(units) FROM gold_customer_abandoned_items",
        """
        WITH customers AS (
            SELECT least(10, count(DISTINCT product_id)) AS products
            FROM gold_abandoned_items GROUP BY customer_id
        )
        SELECT (SELECT sum(products) FROM customers), count(*), sum(quantity)
        FROM gold_abandoned_items
        SEMI JOIN gold_customer_abandoned_items USING (customer_id, product_id)
        """,
    ),
}
"""All tables but those that are made of bronze alone."""


def compare_gold(
    con: "duckdb.DuckDBPyConnection",
    engine: Engine,
    landed: "Landed",
    shown: Mapping[str, Shown],
    found: Compared,
) -> None:
    """Sums of what was made of other tables are the sums of those."""
    models = load_models()
    for name, table in shown.items():
        if name in models:
            rows = table_sql(models[name], [Path(file) for file in table.files])
            con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {rows}")
    for name, sums in _SUMS.items():
        made = name in shown and all(made_of(engine, name, of, shown, found) for of in sums.of)
        if made:
            _compare(name, ", ".join(sums.of), _rows(con, sums.has), _rows(con, sums.wanted), found)
    _compare_tally(con, landed, shown, found)


def _compare_tally(
    con: "duckdb.DuckDBPyConnection",
    landed: "Landed",
    shown: Mapping[str, Shown],
    found: Compared,
) -> None:
    """What has arrived, unless more has since the table was built."""
    name = "gold_data_quality"
    if name not in shown:
        return
    tally: dict[tuple[str, str, str], int] = {}
    for row in landed.tally():
        key = (row.topic, row.source, row.reason or "accepted")
        tally[key] = tally.get(key, 0) + row.events
    if shown[name].landed != str(landed.last()):
        found.uncompared.append(f"{name} with the tally: more has landed since it was built")
        return
    has = _rows(
        con, f"SELECT topic, source, reason, sum(events) FROM {name} GROUP BY ALL ORDER BY ALL"
    )
    wanted = [(*key, events) for key, events in sorted(tally.items()) if events]
    _compare(name, "the tally", has, wanted, found)


def _compare(
    name: str,
    of: str,
    has: Sequence[Sequence[object]],
    wanted: Sequence[Sequence[object]],
    found: Compared,
) -> None:
    if list(has) != list(wanted):
        found.differences.append(
            f"lake: sums of {name} are {_listed(has)}, those of {of} {_listed(wanted)}"
        )


def _listed(rows: Sequence[Sequence[object]]) -> str:
    return "; ".join(" ".join(str(value) for value in row) for row in rows[:5]) or "nothing"


def _rows(con: "duckdb.DuckDBPyConnection", query: str) -> list[tuple[object, ...]]:
    """What a query says; nothing and 0 are the same."""
    found = [tuple(value or 0 for value in row) for row in con.execute(query).fetchall()]
    return [row for row in found if any(row)]
