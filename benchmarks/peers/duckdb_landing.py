"""Lines of JSON to Parquet by DuckDB: `duckdb_landing.py copy|land INPUT FOLDER`.

`copy` reads and writes; `land` also says of each line whether it is a valid click and why not, and
writes what is valid by date, the rest with its reason. Prints JSON: seconds and counts.
"""

import json
import sys
import time
from pathlib import Path

import duckdb

_COLUMNS = {
    **dict.fromkeys(
        (
            "event_id", "user_id", "session_id", "event_type", "page", "product_id", "timestamp",
            "device_type", "referrer_url", "location", "browser", "user_type", "category",
        ),
        "VARCHAR",
    ),
    "price": "DECIMAL(18,4)",
}  # fmt: skip
_READ = f"read_json(?, format='newline_delimited', ignore_errors=true, columns={_COLUMNS})"

# MATERIALIZED: else the transform of a line is done anew for each of its fields.
_JUDGED = f"""
CREATE TABLE judged AS
WITH lines AS (
  SELECT raw
  FROM read_csv(?, header=false, delim='\\x01', quote='', escape='', columns={{'raw': 'VARCHAR'}})
), read AS MATERIALIZED (
  SELECT raw, CASE WHEN json_valid(raw) THEN from_json(raw, '{json.dumps(_COLUMNS)}') END AS e
  FROM lines
)
SELECT raw, e, try_cast(e.timestamp AS TIMESTAMP) AS happened_at,
  CASE
    WHEN e IS NULL THEN 'json'
    WHEN e.user_id IS NULL OR e.user_id = '' THEN 'missing'
    WHEN e.event_type IS NULL OR e.event_type NOT IN ('view', 'click', 'add_to_cart',
      'remove_from_cart', 'begin_checkout', 'purchase', 'search') THEN 'value'
    WHEN try_cast(e.timestamp AS TIMESTAMP) IS NULL THEN 'timestamp'
  END AS reason
FROM read
"""


def copy(con: duckdb.DuckDBPyConnection, path: str, out: Path) -> dict[str, int]:
    con.execute(f"COPY (SELECT * FROM {_READ}) TO '{out / 'all.parquet'}'", [path])
    return {}


def land(con: duckdb.DuckDBPyConnection, path: str, out: Path) -> dict[str, int]:
    con.execute(_JUDGED, [path])
    con.execute(
        "COPY (SELECT unnest(e), happened_at, happened_at::DATE AS day FROM judged"
        f" WHERE reason IS NULL) TO '{out / 'good'}' (FORMAT parquet, PARTITION_BY (day))"
    )
    con.execute(
        f"COPY (SELECT raw, reason FROM judged WHERE reason IS NOT NULL) TO '{out / 'bad.parquet'}'"
    )
    found = con.execute("SELECT count(*) FILTER (reason IS NULL), count(reason) FROM judged")
    accepted, rejected = found.fetchone() or (0, 0)
    return {"accepted": accepted, "rejected": rejected}


def main(how: str, path: str, folder: str) -> None:
    con = duckdb.connect()
    con.execute("SET preserve_insertion_order = false")
    con.execute("SET TimeZone = 'UTC'")
    started = time.perf_counter()
    counts = (copy if how == "copy" else land)(con, path, Path(folder))
    print(json.dumps({"seconds": time.perf_counter() - started, **counts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
