-- What is on hand of each product, and how long it lasts at the pace it sells.
WITH days AS (
    SELECT MAX(day) AS day FROM gold_product_performance
    UNION ALL
    SELECT MAX(CAST(timestamp AS DATE)) AS day FROM silver_products
),

latest AS (
    SELECT
        MAX(day) AS day,
        CAST(MAX(day) - INTERVAL '7' DAY AS DATE) AS week_before,
        CAST(MAX(day) - INTERVAL '28' DAY AS DATE) AS month_before
    FROM days
),

-- A young shop has sold for fewer than 28 days. Its first day is looked for among these: one event
-- of a broken clock makes nobody old.
as_of AS (
    SELECT
        latest.day, latest.week_before, latest.month_before,
        DATE_DIFF('day', MIN(sales.day), latest.day) + 1 AS days
    FROM latest
    LEFT JOIN gold_product_performance AS sales ON sales.day > latest.month_before
    GROUP BY latest.day, latest.week_before, latest.month_before
),

demand AS (
    SELECT
        sales.product_id, SUM(sales.units) AS units_28d,
        SUM(CASE WHEN sales.day > as_of.week_before THEN sales.units ELSE 0 END) AS units_7d
    FROM gold_product_performance AS sales
    INNER JOIN as_of ON sales.day > as_of.month_before
    GROUP BY sales.product_id
)

SELECT
    products.product_id, products.name, products.category, as_of.day AS as_of,
    products.timestamp AS counted_at, products.stock_on_hand, products.reorder_level,
    products.discontinued, CAST(COALESCE(demand.units_7d, 0) AS BIGINT) AS demand_7d,
    CAST(COALESCE(demand.units_28d, 0) AS BIGINT) AS demand_28d,
    CAST(COALESCE(as_of.days, 0) AS BIGINT) AS demand_days,
    CAST(products.stock_on_hand * as_of.days AS DOUBLE)
        / NULLIF(CAST(demand.units_28d AS DOUBLE), 0) AS days_of_cover,
    products.stock_on_hand = 0 AS out_of_stock,
    products.stock_on_hand <= products.reorder_level AND NOT products.discontinued AS low_stock
FROM silver_products AS products
CROSS JOIN as_of
LEFT JOIN demand ON products.product_id = demand.product_id
