"""The offers job as one Spark SQL query over the file, in batch: `spark_offers.py INPUT END_US`.

Everything is sorted by event time, so this is the exact answer, lateness and all. Nothing is
stored. Prints JSON: seconds from a started session to the counts, and the offers of each rule.
"""

import json
import sys
import time

from pyspark.sql import SparkSession

_SCHEMA = (
    "user_id STRING, product_id STRING, event_type STRING, timestamp TIMESTAMP, _corrupt STRING"
)

_EVENTS = """
CREATE OR REPLACE TEMP VIEW events AS
SELECT user_id, product_id, event_type, unix_micros(timestamp) AS at_us
FROM lines
WHERE _corrupt IS NULL AND user_id IS NOT NULL AND timestamp IS NOT NULL
  AND event_type IN ('view', 'add_to_cart', 'purchase', 'click', 'begin_checkout', 'search',
                     'remove_from_cart')
"""

# The two views before this one, and the last purchase, as the state of a fold in time's order.
_VIEWED = """
SELECT coalesce(sum(offers), 0) AS offers FROM (
  SELECT aggregate(
    array_sort(collect_list(struct(at_us, event_type))),
    named_struct('older', 0L, 'newer', 0L, 'bought', 0L, 'offers', 0L),
    (s, e) -> CASE
      WHEN e.event_type = 'purchase'
        THEN named_struct('older', s.older, 'newer', s.newer, 'bought', e.at_us,
                          'offers', s.offers)
      WHEN s.older >= e.at_us - 1800000000 AND s.bought < e.at_us - 1800000000
        THEN named_struct('older', 0L, 'newer', 0L, 'bought', s.bought,
                          'offers', s.offers + 1L)
      ELSE named_struct('older', s.newer, 'newer', e.at_us, 'bought', s.bought,
                        'offers', s.offers)
    END,
    s -> s.offers) AS offers
  FROM events WHERE event_type IN ('view', 'purchase')
  GROUP BY user_id, product_id)
"""

_CART = """
SELECT count(*) AS offers FROM (
  SELECT event_type, at_us,
         lead(at_us) OVER (PARTITION BY user_id, product_id ORDER BY at_us) AS next_us
  FROM events WHERE event_type IN ('add_to_cart', 'purchase'))
WHERE event_type = 'add_to_cart' AND at_us + 900000000 <= {end_us}
  AND (next_us IS NULL OR next_us > at_us + 900000000)
"""


def main(path: str, end_us: int) -> None:
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
    started = time.perf_counter()
    lines = spark.read.schema(_SCHEMA).option("columnNameOfCorruptRecord", "_corrupt").json(path)
    lines.createOrReplaceTempView("lines")
    spark.sql(_EVENTS)
    viewed = spark.sql(_VIEWED).collect()[0].offers
    cart = spark.sql(_CART.format(end_us=end_us)).collect()[0].offers
    took_s = time.perf_counter() - started
    spark.stop()
    print(json.dumps({"seconds": took_s, "viewed": int(viewed), "cart": int(cart)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
