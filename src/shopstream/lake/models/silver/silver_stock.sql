-- Each stock level once.
WITH arrived AS (
    SELECT
        *,
        CAST(timestamp AS DATE) AS day,
        ROW_NUMBER() OVER (PARTITION BY product_id, event_id ORDER BY position, n) AS arrival
    FROM bronze_stock
),

-- A copy may have another time, and that of another day; days further apart are not looked at.
ranked AS (
    SELECT
        *,
        MIN(arrival) OVER (
            PARTITION BY product_id, event_id ORDER BY DATE_DIFF('day', DATE '1970-01-01', day)
            RANGE BETWEEN 7 PRECEDING AND 7 FOLLOWING
        ) AS first_near
    FROM arrived
)

SELECT
    day, product_id, event_id, name, category, stock_on_hand,
    COALESCE(reorder_level, 0) AS reorder_level, COALESCE(discontinued, FALSE) AS discontinued,
    unit_price, currency, timestamp, extra, received_at, source,
    COALESCE(historical, FALSE) AS historical, position, n
FROM ranked
WHERE arrival = first_near
