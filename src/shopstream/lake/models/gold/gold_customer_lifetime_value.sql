-- What each customer has bought so far, and where they stand among the others.
WITH lines AS (
    SELECT
        customer_id, currency, source, order_id, timestamp, day,
        CASE WHEN counts_as = 'sold' THEN 1 ELSE 0 END AS sold,
        CASE WHEN counts_as = 'sold' THEN amount ELSE 0 END AS amount,
        CASE WHEN counts_as = 'refunded' THEN amount ELSE 0 END AS refunded
    FROM silver_order_lines
    WHERE counts_as <> 'none' AND customer_id IS NOT NULL
),

as_of AS (
    SELECT MAX(day) AS day FROM silver_order_lines
),

orders AS (
    SELECT
        customer_id, currency, source, order_id, MAX(sold) AS sold, SUM(amount) AS amount,
        SUM(refunded) AS refunded, MIN(CASE WHEN sold = 1 THEN timestamp END) AS sold_at,
        MIN(CASE WHEN sold = 1 THEN day END) AS sold_on
    FROM lines
    GROUP BY customer_id, currency, source, order_id
),

customers AS (
    SELECT
        customer_id, currency, CAST(SUM(sold) AS BIGINT) AS orders,
        CAST(SUM(amount) AS DECIMAL(38,4)) AS revenue,
        CAST(SUM(refunded) AS DECIMAL(38,4)) AS refunded,
        CAST(SUM(amount) - SUM(refunded) AS DECIMAL(38,4)) AS net_revenue,
        MIN(sold_at) AS first_order_at, MAX(sold_at) AS last_order_at, MIN(sold_on) AS first_day,
        MAX(sold_on) AS last_day
    FROM orders
    GROUP BY customer_id, currency
),

-- Who only ever gave something back is no customer to compare others with.
ranks AS (
    SELECT
        customer_id, currency,
        RANK() OVER (PARTITION BY currency ORDER BY net_revenue DESC) AS place,
        PERCENT_RANK() OVER (PARTITION BY currency ORDER BY net_revenue) AS percentile,
        COUNT(*) OVER (PARTITION BY currency) AS customers
    FROM customers
    WHERE orders > 0
),

ranked AS (
    SELECT
        customers.customer_id, customers.currency, customers.orders, customers.revenue,
        customers.refunded, customers.net_revenue, customers.first_order_at,
        customers.last_order_at, DATE_DIFF('day', customers.last_day, as_of.day) AS recency_days,
        DATE_DIFF('day', customers.first_day, customers.last_day) AS ordering_days,
        ranks.percentile,
        -- The best tenth, rounded up: a comparison of whole numbers is the same on every engine.
        COALESCE(customers.net_revenue > 0 AND ranks.place * 10 <= ranks.customers + 9, FALSE)
            AS top_10_percent
    FROM customers
    CROSS JOIN as_of
    LEFT JOIN ranks
        ON customers.customer_id = ranks.customer_id AND customers.currency = ranks.currency
)

SELECT
    customer_id, currency, orders, revenue, refunded, net_revenue, first_order_at, last_order_at,
    CAST(recency_days AS BIGINT) AS recency_days,
    CASE
        WHEN orders > 1 THEN CAST(ordering_days AS DOUBLE) / CAST(orders - 1 AS DOUBLE)
    END AS days_between_orders,
    CAST(revenue AS DOUBLE) / NULLIF(CAST(orders AS DOUBLE), 0) AS average_order,
    CAST(percentile AS DOUBLE) AS percentile, top_10_percent
FROM ranked
