-- What was sold and what was given back, by day, category, product and currency.
WITH lines AS (
    SELECT
        day, COALESCE(NULLIF(category, ''), 'uncategorized') AS category, product_id, currency,
        source, order_id,
        CASE WHEN counts_as = 'sold' THEN 1 ELSE 0 END AS sold,
        CASE WHEN counts_as = 'sold' THEN quantity ELSE 0 END AS units,
        CASE WHEN counts_as = 'sold' THEN amount ELSE 0 END AS amount,
        CASE WHEN counts_as = 'refunded' THEN amount ELSE 0 END AS refunded,
        CASE WHEN counts_as = 'refunded' THEN quantity ELSE 0 END AS refunded_units
    FROM silver_order_lines
    WHERE counts_as <> 'none'
),

-- An order with several lines of a product is one order of it.
orders AS (
    SELECT
        day, category, product_id, currency, source, order_id, MAX(sold) AS sold,
        SUM(units) AS units, SUM(amount) AS amount, SUM(refunded) AS refunded,
        SUM(refunded_units) AS refunded_units
    FROM lines
    GROUP BY day, category, product_id, currency, source, order_id
)

SELECT
    day, category, product_id, currency, CAST(SUM(sold) AS BIGINT) AS orders,
    CAST(SUM(units) AS BIGINT) AS units, CAST(SUM(amount) AS DECIMAL(38,4)) AS amount,
    CAST(SUM(refunded) AS DECIMAL(38,4)) AS refunded,
    CAST(SUM(refunded_units) AS BIGINT) AS refunded_units
FROM orders
GROUP BY day, category, product_id, currency
