-- Each offer once.
WITH made AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY CAST(made_at AS DATE), offer_id
            -- An id says what was decided; the rest only makes sure that the order of arrival,
            -- which files of offers don't have, decides nothing.
            ORDER BY
                made_at, COALESCE(historical, FALSE), delivered DESC, COALESCE(held_out, FALSE),
                expires_at, reason, user_id
        ) AS turn
    FROM archive_offers
)

SELECT
    CAST(made_at AS DATE) AS day, offer_id, rule, version, user_id, key, trigger, product_id,
    category, cart_id, session_id, percent, amount, currency, reason, made_at, expires_at, delivered,
    COALESCE(held_out, FALSE) AS held_out, COALESCE(historical, FALSE) AS historical
FROM made
WHERE turn = 1
