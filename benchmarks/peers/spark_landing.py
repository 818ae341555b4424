"""Validate lines of JSON and land them as Parquet by date with Spark: `spark_landing.py INPUT OUT`.

Rejects keep their line and a reason. Prints JSON: seconds from a started session, and counts.
"""

import json
import sys
import time

from pyspark.sql import SparkSession

_SCHEMA = (
    "event_id STRING, user_id STRING, session_id STRING, event_type STRING, page STRING,"
    " product_id STRING, timestamp TIMESTAMP, device_type STRING, referrer_url STRING,"
    " location STRING, browser STRING, user_type STRING, price DECIMAL(18,4), category STRING,"
    " _corrupt STRING"
)
_JUDGED = """
SELECT *, to_date(timestamp) AS day,
  CASE
    WHEN _corrupt IS NOT NULL THEN 'json'
    WHEN user_id IS NULL OR user_id = '' THEN 'missing'
    WHEN event_type IS NULL OR event_type NOT IN ('view', 'click', 'add_to_cart',
      'remove_from_cart', 'begin_checkout', 'purchase', 'search') THEN 'value'
    WHEN timestamp IS NULL THEN 'timestamp'
  END AS reason
FROM lines
"""


def main(path: str, out: str) -> None:
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "6g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    started = time.perf_counter()
    lines = spark.read.schema(_SCHEMA).option("columnNameOfCorruptRecord", "_corrupt").json(path)
    lines.createOrReplaceTempView("lines")
    judged = spark.sql(_JUDGED)
    judged.where("reason IS NULL").drop("reason", "_corrupt").write.partitionBy("day").parquet(
        f"{out}/good"
    )
    judged.where("reason IS NOT NULL").select("_corrupt", "reason").write.parquet(f"{out}/bad")
    took_s = time.perf_counter() - started
    accepted = spark.read.parquet(f"{out}/good").count()
    rejected = spark.read.parquet(f"{out}/bad").count()
    spark.stop()
    print(json.dumps({"seconds": took_s, "accepted": accepted, "rejected": rejected}))


if __name__ == "__main__":
    main(*sys.argv[1:])
