-- Each cart line once: what a user's cart then held of a product.
WITH arrived AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY CAST(timestamp AS DATE), user_id, event_id ORDER BY position, n
        ) AS arrival
    FROM bronze_carts
)

SELECT
    CAST(timestamp AS DATE) AS day, user_id, event_id, cart_id, product_id, name, category, quantity,
    unit_price, currency, timestamp, extra, received_at, source,
    COALESCE(historical, FALSE) AS historical, position, n
FROM arrived
WHERE arrival = 1
