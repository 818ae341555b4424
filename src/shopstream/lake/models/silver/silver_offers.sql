-- Each offer once.
WITH made AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY CAST(made_at AS DATE), offer_id
            ORDER BY made_at, COALESCE(historical, FALSE), delivered DESC, expires_at, reason
        ) AS turn
    FROM archive_offers
)

SELECT
    CAST(made_at AS DATE) AS day, offer_id, rule, version, user_id, key, trigger, product_id,
    category, cart_id, session_id, percent, amount, currency, reason, made_at, expires_at, delivered,
    COALESCE(held_out, FALSE) AS held_out, COALESCE(historical, FALSE) AS historical
FROM made
WHERE turn = 1
