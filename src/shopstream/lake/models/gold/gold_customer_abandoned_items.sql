-- What each customer left in carts, at most 10 products: what to make them an offer of.
WITH items AS (
    SELECT
        customer_id, product_id, MAX(name) AS name, MAX(category) AS category, COUNT(*) AS carts,
        SUM(quantity) AS units,
        CASE
            WHEN MIN(currency) IS NULL OR MIN(currency) = MAX(currency) THEN SUM(value)
        END AS value,
        CASE WHEN MIN(currency) = MAX(currency) THEN MIN(currency) END AS currency,
        MAX(last_activity_at) AS last_activity_at, MAX(as_of) AS as_of
    FROM gold_abandoned_items
    GROUP BY customer_id, product_id
),

ranked AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY customer_id
            ORDER BY value DESC NULLS LAST, units DESC, last_activity_at DESC, product_id
        ) AS place
    FROM items
)

SELECT
    customer_id, CAST(place AS INTEGER) AS place, product_id, name, category,
    CAST(carts AS BIGINT) AS carts, CAST(units AS BIGINT) AS units,
    CAST(value AS DECIMAL(38,4)) AS value, currency, last_activity_at, as_of
FROM ranked
WHERE place <= 10
