-- The 50 products that are left in carts most often.
WITH products AS (
    SELECT
        product_id, MAX(name) AS name, MAX(category) AS category, COUNT(*) AS carts,
        COUNT(DISTINCT customer_id) AS users, SUM(quantity) AS units,
        CASE
            WHEN MIN(currency) IS NULL OR MIN(currency) = MAX(currency) THEN SUM(value)
        END AS value,
        CASE WHEN MIN(currency) = MAX(currency) THEN MIN(currency) END AS currency,
        MAX(last_activity_at) AS last_activity_at, MAX(as_of) AS as_of
    FROM gold_abandoned_items
    GROUP BY product_id
),

ranked AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            ORDER BY carts DESC, units DESC, value DESC NULLS LAST, product_id
        ) AS place
    FROM products
)

SELECT
    CAST(place AS INTEGER) AS place, product_id, name, category, CAST(carts AS BIGINT) AS carts,
    CAST(users AS BIGINT) AS users, CAST(units AS BIGINT) AS units,
    CAST(value AS DECIMAL(38,4)) AS value, currency, last_activity_at, as_of
FROM ranked
WHERE place <= 50
