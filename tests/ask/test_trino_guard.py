"""What may be asked of Athena, and what may not."""

import pytest

from shopstream.ask.trino_guard import judge_trino
from shopstream.errors import SqlError

READS = [
    "SELECT 1",
    "select * from gold_daily_sales where day >= current_date - interval '7' day",
    "WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL SELECT 2",
    "(SELECT 1) EXCEPT (SELECT 2)",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT * FROM silver_orders FOR TIMESTAMP AS OF TIMESTAMP '2026-11-21 12:00:00 UTC'",
    'SELECT "$path", count(*) FROM bronze_clicks GROUP BY 1',
    "SELECT approx_percentile(price, 0.5), max_by(a, b) FROM t CROSS JOIN UNNEST(xs) AS u (x)",
    "SELECT 'DROP TABLE t; DELETE' AS text",
    "SHOW TABLES",
    "show create table silver_orders",
    "SHOW PARTITIONS bronze_clicks",
    "DESCRIBE gold_funnel",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT count(*) FROM silver_clicks",
    "EXPLAIN (FORMAT JSON) SELECT 1",
]
WRITES = [
    "DELETE FROM silver_orders",
    "INSERT INTO t SELECT 1",
    "UPDATE t SET a = 1",
    "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
    "DROP TABLE t",
    "CREATE TABLE t AS SELECT 1 AS a",
    "CREATE VIEW v AS SELECT 1 AS a",
    "ALTER TABLE t ADD COLUMNS (a int)",
    "UNLOAD (SELECT 1) TO 's3://mine/' WITH (format = 'JSON')",
    "EXPLAIN DELETE FROM t",
    "EXPLAIN ANALYZE INSERT INTO t SELECT 1",
    "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
    "SELECT 1; DROP TABLE t",
    "SHOW TABLES; DROP TABLE t",
    "/* SELECT */ DROP TABLE t",
    "-- SELECT 1\nDROP TABLE t",
    "USING EXTERNAL FUNCTION f(x VARCHAR) RETURNS VARCHAR LAMBDA 'steal' SELECT f('a')",
    "PREPARE p FROM DELETE FROM t",
    "EXECUTE p",
    "CALL system.sync_partition_metadata('a', 'b', 'FULL')",
    "MSCK REPAIR TABLE bronze_clicks",
    "OPTIMIZE t REWRITE DATA USING BIN_PACK",
    "VACUUM t",
    "GRANT SELECT ON t TO u",
    "SET SESSION a = 1",
    "SELECT 1 INTO OUTFILE '/etc/passwd'",
    "",
    " ; ",
    "-- nothing",
    "SELECT 'unclosed",
    "FROM",
]


@pytest.mark.parametrize("text", READS)
def test_what_only_reads_is_asked_as_it_is(text: str) -> None:
    assert judge_trino(text) == text
    assert judge_trino(f"  {text} ;\n") == text


@pytest.mark.parametrize("text", WRITES)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(SqlError):
        judge_trino(text)


def test_a_statement_that_nobody_wrote_by_hand_is_refused_in_a_moment() -> None:
    with pytest.raises(SqlError):
        judge_trino("SELECT " + "(" * 5_000 + "1" + ")" * 5_000)
    with pytest.raises(SqlError, match="longer than"):
        judge_trino("SELECT " + " " * 100_000)
