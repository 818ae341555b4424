-- The newest stock level of each product; of several at one instant the last that arrived.
WITH levels AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY product_id ORDER BY timestamp DESC, position DESC, n DESC
        ) AS age
    FROM silver_stock
)

SELECT
    product_id, name, category, stock_on_hand, reorder_level, discontinued, unit_price, currency,
    timestamp, event_id, received_at, source, historical
FROM levels
WHERE age = 1
