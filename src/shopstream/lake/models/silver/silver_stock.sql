-- Each stock level once.
WITH arrived AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY CAST(timestamp AS DATE), product_id, event_id ORDER BY position, n
        ) AS arrival
    FROM bronze_stock
)

SELECT
    CAST(timestamp AS DATE) AS day, product_id, event_id, name, category, stock_on_hand,
    COALESCE(reorder_level, 0) AS reorder_level, COALESCE(discontinued, FALSE) AS discontinued,
    unit_price, currency, timestamp, extra, received_at, source,
    COALESCE(historical, FALSE) AS historical, position, n
FROM arrived
WHERE arrival = 1
