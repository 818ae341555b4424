-- Each cart line once: what a user's cart then held of a product.
WITH arrived AS (
    SELECT
        *,
        CAST(timestamp AS DATE) AS day,
        ROW_NUMBER() OVER (PARTITION BY user_id, event_id ORDER BY position, n) AS arrival
    FROM bronze_carts
),

-- A copy may have another time, and that of another day; days further apart are not looked at.
ranked AS (
    SELECT
        *,
        MIN(arrival) OVER (
            PARTITION BY user_id, event_id ORDER BY DATE_DIFF('day', DATE '1970-01-01', day)
            RANGE BETWEEN 7 PRECEDING AND 7 FOLLOWING
        ) AS first_near
    FROM arrived
)

SELECT
    day, user_id, event_id, cart_id, product_id, name, category, quantity,
    unit_price, currency, timestamp, extra, received_at, source,
    COALESCE(historical, FALSE) AS historical, position, n
FROM ranked
WHERE arrival = first_near
