-- What lies in carts and was left there: replays each cart, product by product, to its last state.
WITH newest AS (
    SELECT MAX(timestamp) AS latest FROM silver_clicks
    UNION ALL
    SELECT MAX(timestamp) AS latest FROM silver_carts
    UNION ALL
    SELECT MAX(timestamp) AS latest FROM silver_order_lines
),

as_of AS (
    SELECT
        MAX(latest) AS latest, MAX(latest) - INTERVAL '30' MINUTE AS idle_since,
        CAST(MAX(latest) - INTERVAL '30' DAY AS DATE) AS first_day
    FROM newest
),

recent AS (
    SELECT
        clicks.user_id, COALESCE(clicks.cart_id, '') AS cart_id, clicks.product_id,
        clicks.timestamp, clicks.event_id, clicks.event_type, clicks.category, clicks.price,
        clicks.currency, clicks.quantity
    FROM silver_clicks AS clicks
    INNER JOIN as_of ON clicks.day >= as_of.first_day
    WHERE clicks.event_type IN ('add_to_cart', 'remove_from_cart', 'purchase')
),

-- `sets`: the quantity is now `change`, whatever it was. A removal without a quantity takes all.
changes AS (
    SELECT
        user_id, cart_id, product_id, timestamp, 1 AS turn, event_id,
        CAST(NULL AS VARCHAR) AS name, category, price AS unit_price, currency,
        CASE WHEN event_type = 'remove_from_cart' AND quantity IS NULL THEN 1 ELSE 0 END AS sets,
        CASE
            WHEN event_type = 'add_to_cart' THEN COALESCE(quantity, 1)
            ELSE -COALESCE(quantity, 0)
        END AS change
    FROM recent
    WHERE event_type <> 'purchase' AND product_id IS NOT NULL
    UNION ALL
    SELECT
        carts.user_id, COALESCE(carts.cart_id, '') AS cart_id, carts.product_id, carts.timestamp,
        2 AS turn, carts.event_id, carts.name, carts.category, carts.unit_price, carts.currency,
        1 AS sets, carts.quantity AS change
    FROM silver_carts AS carts
    INNER JOIN as_of ON carts.day >= as_of.first_day
),

bought AS (
    SELECT user_id, product_id, timestamp
    FROM recent
    WHERE event_type = 'purchase'
    UNION ALL
    SELECT lines.customer_id AS user_id, lines.product_id, lines.timestamp
    FROM silver_order_lines AS lines
    INNER JOIN as_of ON lines.day >= as_of.first_day
    WHERE lines.counts_as = 'sold' AND lines.customer_id IS NOT NULL
),

-- Each takes out all that was put in before it, so the last is enough.
purchases AS (
    SELECT user_id, product_id, MAX(timestamp) AS timestamp
    FROM bought
    GROUP BY user_id, product_id
),

items AS (
    SELECT DISTINCT user_id, cart_id, product_id FROM changes
),

-- A purchase empties the user's carts of the product; one that names none, of all products.
emptied AS (
    SELECT items.user_id, items.cart_id, items.product_id, purchases.timestamp
    FROM items
    INNER JOIN purchases
        ON items.user_id = purchases.user_id AND items.product_id = purchases.product_id
    UNION ALL
    SELECT items.user_id, items.cart_id, items.product_id, purchases.timestamp
    FROM items
    INNER JOIN purchases ON items.user_id = purchases.user_id
    WHERE purchases.product_id IS NULL
),

history AS (
    SELECT
        user_id, cart_id, product_id, timestamp, turn, event_id, name, category, unit_price,
        currency, sets, change
    FROM changes
    UNION ALL
    SELECT
        user_id, cart_id, product_id, timestamp, 3 AS turn, '' AS event_id,
        CAST(NULL AS VARCHAR) AS name, CAST(NULL AS VARCHAR) AS category,
        CAST(NULL AS DECIMAL(18,4)) AS unit_price, CAST(NULL AS VARCHAR) AS currency, 1 AS sets,
        0 AS change
    FROM emptied
),

-- At one instant clicks come first, then what the cart is said to hold, then purchases.
placed AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY user_id, cart_id, product_id ORDER BY timestamp, turn, event_id
        ) AS place
    FROM history
),

-- Only what came since the quantity was last set matters, that included.
stretches AS (
    SELECT
        *,
        SUM(sets) OVER (
            PARTITION BY user_id, cart_id, product_id ORDER BY place DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) - sets AS sets_after
    FROM placed
),

summed AS (
    SELECT
        *,
        SUM(change) OVER (
            PARTITION BY user_id, cart_id, product_id ORDER BY place
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS total
    FROM stretches
    WHERE sets_after = 0
),

-- Nobody has less than nothing in a cart: the sum rises by how far it ever fell below zero.
states AS (
    SELECT
        user_id, cart_id, product_id,
        SUM(change) - CASE WHEN MIN(total) < 0 THEN MIN(total) ELSE 0 END AS quantity,
        MAX(timestamp) AS last_activity_at,
        MAX(CASE WHEN unit_price IS NOT NULL THEN place END) AS priced_place,
        MAX(name) AS name, MAX(category) AS category
    FROM summed
    GROUP BY user_id, cart_id, product_id
)

SELECT
    states.user_id AS customer_id, states.cart_id, states.product_id, states.name, states.category,
    CAST(states.quantity AS BIGINT) AS quantity, priced.unit_price,
    CAST(CAST(states.quantity AS DECIMAL(19,0)) * priced.unit_price AS DECIMAL(38,4)) AS value,
    priced.currency, states.last_activity_at, as_of.latest AS as_of
FROM states
INNER JOIN as_of ON states.last_activity_at <= as_of.idle_since
LEFT JOIN placed AS priced
    ON states.user_id = priced.user_id AND states.cart_id = priced.cart_id
    AND states.product_id = priced.product_id AND states.priced_place = priced.place
WHERE states.quantity > 0
