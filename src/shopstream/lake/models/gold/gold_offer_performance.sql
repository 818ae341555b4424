-- Whether offers earn anything: users who got them against users who were held out.
WITH offers AS (
    SELECT
        offer_id, rule, version, user_id, product_id, made_at, expires_at,
        CASE
            WHEN historical THEN 'historical' WHEN held_out THEN 'held_out' ELSE 'made'
        END AS arm
    FROM silver_offers
),

bought_by_click AS (
    SELECT
        day, user_id, event_id, order_id, product_id, timestamp, quantity, price, currency
    FROM silver_clicks
    WHERE event_type = 'purchase'
),

-- All lines of an order with one product are one purchase: an order may have thousands of them, and
-- be named by thousands of clicks.
bought_by_order AS (
    SELECT
        day, source, order_id, customer_id, product_id, timestamp, counts_as, currency,
        SUM(amount) AS amount
    FROM silver_order_lines
    WHERE status IN ('placed', 'paid')
    GROUP BY day, source, order_id, customer_id, product_id, timestamp, counts_as, currency
),

-- A shop may send an order and its purchase clicks, also with midnight between them: one purchase.
clicked AS (
    SELECT DISTINCT day, user_id, order_id, product_id
    FROM bought_by_click
    WHERE order_id IS NOT NULL AND product_id IS NOT NULL
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
    INNER JOIN bought_by_order AS orders
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

-- A click that names an order and no product is nothing beside what its user bought by that order.
bought_under AS (
    SELECT day, customer_id AS user_id, order_id FROM bought_by_order
    UNION
    SELECT day, user_id, order_id FROM ordered
),

repeated AS (
    SELECT DISTINCT clicks.day, clicks.user_id, clicks.order_id
    FROM bought_by_click AS clicks
    INNER JOIN bought_under
        ON clicks.user_id = bought_under.user_id AND clicks.order_id = bought_under.order_id
        AND ABS(DATE_DIFF('day', clicks.day, bought_under.day)) <= 1
    WHERE clicks.product_id IS NULL
),

-- An order is bought by its customer, and by those whose clicks it takes the place of: offers go to
-- the name that clicks have.
purchases AS (
    SELECT
        customer_id AS user_id, product_id, timestamp, 'order' AS kind, source AS whose,
        order_id AS id, amount, currency
    FROM bought_by_order
    WHERE counts_as = 'sold' AND customer_id IS NOT NULL
    UNION ALL
    SELECT
        ordered.user_id, orders.product_id, orders.timestamp, 'order' AS kind,
        orders.source AS whose, orders.order_id AS id, orders.amount, orders.currency
    FROM ordered
    INNER JOIN bought_by_order AS orders
        ON ordered.order_id = orders.order_id AND ordered.product_id = orders.product_id
        AND ABS(DATE_DIFF('day', ordered.day, orders.day)) <= 1
        AND (orders.customer_id IS NULL OR orders.customer_id = ordered.buyer)
    WHERE orders.counts_as = 'sold'
    UNION ALL
    SELECT
        clicks.user_id, clicks.product_id, clicks.timestamp, 'click' AS kind,
        clicks.user_id AS whose, clicks.event_id AS id,
        CAST(
            CAST(COALESCE(clicks.quantity, 1) AS DECIMAL(19,0)) * clicks.price AS DECIMAL(38,4)
        ) AS amount,
        CASE WHEN clicks.price IS NOT NULL THEN clicks.currency END AS currency
    FROM bought_by_click AS clicks
    LEFT JOIN ordered
        ON clicks.day = ordered.day AND clicks.user_id = ordered.user_id
        AND clicks.order_id = ordered.order_id AND clicks.product_id = ordered.product_id
    LEFT JOIN repeated
        ON clicks.day = repeated.day AND clicks.user_id = repeated.user_id
        AND clicks.order_id = repeated.order_id AND clicks.product_id IS NULL
    WHERE ordered.buyer IS NULL AND repeated.user_id IS NULL
),

bought AS (
    SELECT
        offers.offer_id, offers.rule, offers.version, offers.arm, offers.user_id,
        purchases.product_id, purchases.timestamp, purchases.kind, purchases.whose, purchases.id,
        purchases.amount, purchases.currency
    FROM offers
    INNER JOIN purchases
        ON offers.user_id = purchases.user_id
        AND purchases.timestamp > offers.made_at AND purchases.timestamp < offers.expires_at
        AND (offers.product_id IS NULL OR offers.product_id = purchases.product_id)
    WHERE offers.arm <> 'historical'
),

converted AS (
    SELECT DISTINCT offer_id FROM bought
),

users AS (
    SELECT
        offers.rule, offers.version, offers.user_id, offers.arm, COUNT(*) AS offers,
        COUNT(converted.offer_id) AS converted,
        MAX(CASE WHEN converted.offer_id IS NULL THEN 0 ELSE 1 END) AS buys
    FROM offers
    LEFT JOIN converted ON offers.offer_id = converted.offer_id
    GROUP BY offers.rule, offers.version, offers.user_id, offers.arm
),

rules AS (
    SELECT
        rule, version,
        SUM(CASE WHEN arm = 'made' THEN offers ELSE 0 END) AS made,
        SUM(CASE WHEN arm = 'held_out' THEN offers ELSE 0 END) AS held_out,
        SUM(CASE WHEN arm = 'historical' THEN offers ELSE 0 END) AS historical,
        SUM(CASE WHEN arm = 'made' THEN converted ELSE 0 END) AS converted,
        SUM(CASE WHEN arm = 'held_out' THEN converted ELSE 0 END) AS held_out_converted,
        SUM(CASE WHEN arm = 'made' THEN 1 ELSE 0 END) AS users,
        SUM(CASE WHEN arm = 'held_out' THEN 1 ELSE 0 END) AS held_out_users,
        SUM(CASE WHEN arm = 'made' THEN buys ELSE 0 END) AS buyers,
        SUM(CASE WHEN arm = 'held_out' THEN buys ELSE 0 END) AS held_out_buyers
    FROM users
    GROUP BY rule, version
),

-- A purchase that several offers of a rule led to is one purchase, also where two names got them.
sales AS (
    SELECT DISTINCT
        rule, version, arm, product_id, timestamp, kind, whose, id, amount, currency
    FROM bought
),

revenues AS (
    SELECT
        rule, version, MIN(currency) AS currency, MAX(currency) AS other_currency,
        SUM(CASE WHEN arm = 'made' THEN amount END) AS revenue,
        SUM(CASE WHEN arm = 'held_out' THEN amount END) AS held_out_revenue
    FROM sales
    GROUP BY rule, version
),

-- Wilson's score interval of each arm: z is the 97.5% point of the normal distribution.
arms AS (
    SELECT
        rule, version,
        CAST(buyers AS DOUBLE) AS x1, CAST(users AS DOUBLE) AS n1,
        CAST(held_out_buyers AS DOUBLE) AS x2, CAST(held_out_users AS DOUBLE) AS n2,
        CAST(1.959963984540054 AS DOUBLE) AS z
    FROM rules
    WHERE users > 0 AND held_out_users > 0
),

intervals AS (
    SELECT
        rule, version, x1 / n1 AS p1, x2 / n2 AS p2,
        (2 * x1 + z * z - z * SQRT(z * z + 4 * x1 * (n1 - x1) / n1)) / (2 * (n1 + z * z)) AS low1,
        (2 * x1 + z * z + z * SQRT(z * z + 4 * x1 * (n1 - x1) / n1)) / (2 * (n1 + z * z)) AS high1,
        (2 * x2 + z * z - z * SQRT(z * z + 4 * x2 * (n2 - x2) / n2)) / (2 * (n2 + z * z)) AS low2,
        (2 * x2 + z * z + z * SQRT(z * z + 4 * x2 * (n2 - x2) / n2)) / (2 * (n2 + z * z)) AS high2
    FROM arms
),

-- The difference of two shares, by Newcombe's hybrid of the two score intervals.
lifts AS (
    SELECT
        rule, version, p1 - p2 AS lift,
        p1 - p2 - SQRT((p1 - low1) * (p1 - low1) + (high2 - p2) * (high2 - p2)) AS lift_low,
        p1 - p2 + SQRT((high1 - p1) * (high1 - p1) + (p2 - low2) * (p2 - low2)) AS lift_high
    FROM intervals
)

SELECT
    rules.rule, rules.version, CAST(rules.made AS BIGINT) AS made,
    CAST(rules.held_out AS BIGINT) AS held_out, CAST(rules.historical AS BIGINT) AS historical,
    CAST(rules.converted AS BIGINT) AS converted,
    CAST(rules.held_out_converted AS BIGINT) AS held_out_converted,
    CAST(rules.users AS BIGINT) AS users, CAST(rules.held_out_users AS BIGINT) AS held_out_users,
    CAST(rules.buyers AS BIGINT) AS buyers,
    CAST(rules.held_out_buyers AS BIGINT) AS held_out_buyers,
    CAST(rules.buyers AS DOUBLE) / NULLIF(CAST(rules.users AS DOUBLE), 0) AS conversion_rate,
    CAST(rules.held_out_buyers AS DOUBLE) / NULLIF(CAST(rules.held_out_users AS DOUBLE), 0)
        AS held_out_conversion_rate,
    lifts.lift, lifts.lift_low, lifts.lift_high,
    CASE
        WHEN revenues.currency IS NULL OR revenues.currency = revenues.other_currency
            THEN CAST(COALESCE(revenues.revenue, 0) AS DECIMAL(38,4))
    END AS revenue,
    CASE
        WHEN revenues.currency IS NULL OR revenues.currency = revenues.other_currency
            THEN CAST(COALESCE(revenues.held_out_revenue, 0) AS DECIMAL(38,4))
    END AS held_out_revenue,
    CASE WHEN revenues.currency = revenues.other_currency THEN revenues.currency END AS currency
FROM rules
LEFT JOIN lifts ON rules.rule = lifts.rule AND rules.version = lifts.version
LEFT JOIN revenues ON rules.rule = revenues.rule AND rules.version = revenues.version
