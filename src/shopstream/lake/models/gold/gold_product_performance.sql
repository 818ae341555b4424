-- What happened with each product on each day, from the first look to the money.
-- An order and its purchase clicks may be of two days, with midnight between them.
WITH known_orders AS (
    SELECT day, order_id, product_id FROM silver_order_lines
    UNION
    SELECT CAST(day - INTERVAL '1' DAY AS DATE) AS day, order_id, product_id FROM silver_order_lines
    UNION
    SELECT CAST(day + INTERVAL '1' DAY AS DATE) AS day, order_id, product_id FROM silver_order_lines
),

clicks AS (
    SELECT
        clicks.day, clicks.product_id, clicks.user_id,
        CASE WHEN clicks.event_type = 'view' THEN 1 ELSE 0 END AS views,
        CASE WHEN clicks.event_type = 'add_to_cart' THEN 1 ELSE 0 END AS carts,
        -- A shop may send an order and its purchase clicks; they are one purchase.
        CASE
            WHEN clicks.event_type = 'purchase' AND known_orders.order_id IS NULL THEN 1 ELSE 0
        END AS purchases,
        COALESCE(clicks.quantity, 1) AS units, clicks.price, clicks.currency
    FROM silver_clicks AS clicks
    LEFT JOIN known_orders
        ON clicks.day = known_orders.day AND clicks.order_id = known_orders.order_id
        AND clicks.product_id = known_orders.product_id
    WHERE clicks.product_id IS NOT NULL
),

activity AS (
    SELECT
        day, product_id, user_id, views, carts, purchases, purchases * units AS units,
        CASE
            WHEN purchases = 1
                THEN CAST(CAST(units AS DECIMAL(19,0)) * price AS DECIMAL(38,4))
        END AS amount,
        CASE WHEN purchases = 1 AND price IS NOT NULL THEN currency END AS currency
    FROM clicks
    UNION ALL
    SELECT
        day, product_id, customer_id AS user_id, 0 AS views, 0 AS carts, 1 AS purchases,
        quantity AS units, amount, currency
    FROM silver_order_lines
    WHERE counts_as = 'sold'
),

users AS (
    SELECT
        day, product_id, user_id, SUM(views) AS views, SUM(carts) AS carts,
        SUM(purchases) AS purchases, SUM(units) AS units, SUM(amount) AS amount,
        MIN(currency) AS currency, MAX(currency) AS other_currency
    FROM activity
    GROUP BY day, product_id, user_id
),

products AS (
    SELECT
        day, product_id, CAST(SUM(views) AS BIGINT) AS views, CAST(SUM(carts) AS BIGINT) AS carts,
        CAST(SUM(purchases) AS BIGINT) AS purchases, CAST(COUNT(user_id) AS BIGINT) AS users,
        CAST(SUM(units) AS BIGINT) AS units,
        CAST(COALESCE(SUM(amount), 0) AS DECIMAL(38,4)) AS amount,
        MIN(currency) AS currency, MAX(other_currency) AS other_currency
    FROM users
    GROUP BY day, product_id
)

SELECT
    day, product_id, views, carts, purchases, users,
    CAST(carts AS DOUBLE) / NULLIF(CAST(views AS DOUBLE), 0) AS cart_rate,
    CAST(purchases AS DOUBLE) / NULLIF(CAST(views AS DOUBLE), 0) AS purchase_rate,
    units, CASE WHEN currency IS NULL OR currency = other_currency THEN amount END AS revenue,
    CASE WHEN currency = other_currency THEN currency END AS currency
FROM products
