-- What happened with each product on each day, from the first look to the money.
-- A shop may send an order and its purchase clicks, also with midnight between them: one purchase.
WITH clicked AS (
    SELECT DISTINCT day, user_id, order_id, product_id
    FROM silver_clicks
    WHERE event_type = 'purchase' AND order_id IS NOT NULL AND product_id IS NOT NULL
),

-- An order may have thousands of lines of a product, and be named by thousands of clicks.
orders AS (
    SELECT DISTINCT day, order_id, product_id, customer_id
    FROM silver_order_lines
    WHERE status IN ('placed', 'paid')
),

-- Whose orders have a click's order id and product, within a day?
around AS (
    SELECT
        clicked.day, clicked.user_id, clicked.order_id, clicked.product_id,
        MAX(CASE
            WHEN orders.customer_id IS NULL OR orders.customer_id = clicked.user_id THEN 1 ELSE 0
        END) AS own_or_guests,
        MIN(orders.customer_id) AS customer_id, MAX(orders.customer_id) AS other_customer_id
    FROM clicked
    INNER JOIN orders
        ON clicked.order_id = orders.order_id AND clicked.product_id = orders.product_id
        AND ABS(DATE_DIFF('day', clicked.day, orders.day)) <= 1
    GROUP BY clicked.day, clicked.user_id, clicked.order_id, clicked.product_id
),

-- Clicks may name a browser where orders name a customer. But ids are used again: somebody else's
-- order takes a click's place only where it can be no other and the customer didn't click, too.
ordered AS (
    SELECT DISTINCT
        around.day, around.user_id, around.order_id, around.product_id,
        CASE
            WHEN around.own_or_guests = 1 THEN around.user_id ELSE around.customer_id
        END AS buyer
    FROM around
    LEFT JOIN clicked AS own
        ON around.customer_id = own.user_id AND around.order_id = own.order_id
        AND around.product_id = own.product_id
        AND ABS(DATE_DIFF('day', around.day, own.day)) <= 1
    WHERE
        around.own_or_guests = 1
        OR (around.customer_id = around.other_customer_id AND own.user_id IS NULL)
),

clicks AS (
    SELECT
        clicks.day, clicks.product_id, COALESCE(ordered.buyer, clicks.user_id) AS user_id,
        CASE WHEN clicks.event_type = 'view' THEN 1 ELSE 0 END AS views,
        CASE WHEN clicks.event_type = 'add_to_cart' THEN 1 ELSE 0 END AS carts,
        CASE
            WHEN clicks.event_type = 'purchase' AND ordered.buyer IS NULL THEN 1 ELSE 0
        END AS purchases,
        COALESCE(clicks.quantity, 1) AS units, clicks.price, clicks.currency
    FROM silver_clicks AS clicks
    LEFT JOIN ordered
        ON clicks.day = ordered.day AND clicks.user_id = ordered.user_id
        AND clicks.order_id = ordered.order_id AND clicks.product_id = ordered.product_id
        AND clicks.event_type = 'purchase'
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
