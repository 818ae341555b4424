"""Four gold jobs over clicks that are tables already: `gold_jobs.py duckdb|spark|ours WHERE`.

Daily sales by product, the funnel by day and device, the 50 most abandoned products and totals by
user. `WHERE` is a Parquet file, for `ours` a data directory. Prints JSON: the seconds of all four,
the first time and the best of three more, and what each came to, which must be the same for all.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

JOBS = {
    "daily sales": """
SELECT day, coalesce(category, 'uncategorized') AS category, product_id,
  count(*) AS orders, sum(price) AS amount
FROM clicks WHERE event_type = 'purchase'
GROUP BY day, coalesce(category, 'uncategorized'), product_id""",
    "funnel": """
SELECT day, device_type,
  count(DISTINCT CASE WHEN event_type = 'view' THEN user_id END) AS viewed,
  count(DISTINCT CASE WHEN event_type = 'add_to_cart' THEN user_id END) AS added,
  count(DISTINCT CASE WHEN event_type = 'begin_checkout' THEN user_id END) AS checked_out,
  count(DISTINCT CASE WHEN event_type = 'purchase' THEN user_id END) AS amount
FROM clicks GROUP BY day, device_type""",
    "top 50 abandoned": """
SELECT product_id, count(*) AS amount FROM (
  SELECT user_id, product_id,
    max(CASE WHEN event_type = 'add_to_cart' THEN 1 ELSE 0 END) AS added,
    max(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS bought
  FROM clicks
  WHERE event_type IN ('add_to_cart', 'purchase') AND product_id IS NOT NULL
  GROUP BY user_id, product_id) AS pairs
WHERE added = 1 AND bought = 0
GROUP BY product_id ORDER BY amount DESC, product_id LIMIT 50""",
    "totals by user": """
SELECT user_id, count(*) AS events, count(DISTINCT session_id) AS sessions,
  sum(CASE WHEN event_type = 'purchase' THEN price ELSE 0 END) AS amount,
  min(timestamp) AS first_seen, max(timestamp) AS last_seen
FROM clicks GROUP BY user_id""",
}
_CHECK = "SELECT count(*), sum(amount) FROM ({}) AS found"
Run = Callable[[str], Any]


def main(engine: str, where: str) -> None:
    run, check = {"duckdb": _duckdb, "spark": _spark, "ours": _ours}[engine](where)
    took_s = [_all(run) for _ in range(4)]
    found = {name: [str(v) for v in check(_CHECK.format(sql))] for name, sql in JOBS.items()}
    print(json.dumps({"seconds": min(took_s[1:]), "first": took_s[0], "found": found}))


def _all(run: Run) -> float:
    started = time.perf_counter()
    for sql in JOBS.values():
        run(sql)
    return time.perf_counter() - started


def _duckdb(path: str) -> tuple[Run, Run]:
    import duckdb

    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE VIEW clicks AS SELECT * FROM read_parquet('{path}')")
    return lambda sql: con.sql(sql).to_arrow_table(), lambda sql: con.execute(sql).fetchone()


def _ours(data_dir: str) -> tuple[Run, Run]:
    """The tables as anyone may ask them, whose snapshot is many files."""
    import shopstream

    con = shopstream.connect(data_dir)
    clicks = "WITH clicks AS (SELECT * FROM silver_clicks) "
    return (
        lambda sql: con.sql(clicks + sql).to_arrow_table(),
        lambda sql: con.execute(clicks + sql).fetchone(),
    )


def _spark(path: str) -> tuple[Run, Run]:
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "6g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    spark.read.parquet(path).createOrReplaceTempView("clicks")

    def run(sql: str) -> None:
        spark.sql(sql).write.format("noop").mode("overwrite").save()

    return run, lambda sql: spark.sql(sql).collect()[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
