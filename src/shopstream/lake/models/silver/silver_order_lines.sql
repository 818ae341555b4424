-- Each line of each order once, and whether it counts as sold or as given back.
WITH arrived AS (
    SELECT
        position, n, received_at, source, historical, COALESCE(by_line, FALSE) AS by_line, order_id,
        customer_id, order_amount, shipping, tax, discount, currency, status, payment_method,
        timestamp, payload, order_extra, ordinal, line, COALESCE(line, ordinal) AS line_no,
        product_id, name, category, quantity, unit_price, extra,
        -- An order that came whole goes before lines that came one by one.
        CASE WHEN by_line THEN 1 ELSE 0 END AS late
    FROM bronze_order_lines
),

ranked AS (
    SELECT
        *,
        RANK() OVER (
            PARTITION BY source, order_id, status ORDER BY late, position, n
        ) AS event_rank,
        RANK() OVER (
            PARTITION BY source, order_id, status, line_no ORDER BY late, position, n
        ) AS line_rank,
        MIN(late) OVER (PARTITION BY source, order_id, status) AS first_late,
        ROW_NUMBER() OVER (
            PARTITION BY source, order_id, status, position, n, ordinal ORDER BY received_at
        ) AS copy
    FROM arrived
),

-- A whole order: the first that came, all of it. Lines one by one: the first of each number.
lines AS (
    SELECT * FROM ranked
    WHERE copy = 1 AND (event_rank = 1 OR (first_late = 1 AND line_rank = 1))
),

-- What the lines of an order have in common is what its first event said.
placed AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY source, order_id, status ORDER BY position, n, ordinal
        ) AS place
    FROM lines
),

heads AS (
    SELECT
        *,
        CASE WHEN status IN ('placed', 'paid') THEN 'sold' ELSE 'refunded' END AS effect
    FROM placed
    WHERE place = 1
),

-- An order is sold once and given back once: when it was first said.
counted AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY source, order_id, effect ORDER BY timestamp, status
        ) AS turn
    FROM heads
)

SELECT
    CAST(counted.timestamp AS DATE) AS day, placed.source, placed.order_id, placed.status,
    placed.line_no, placed.ordinal, counted.timestamp, counted.customer_id, placed.product_id,
    placed.name, placed.category, placed.quantity, placed.unit_price,
    CAST(CAST(placed.quantity AS DECIMAL(18,0)) * placed.unit_price AS DECIMAL(38,4)) AS amount,
    counted.currency, CASE WHEN counted.turn = 1 THEN counted.effect ELSE 'none' END AS counts_as,
    counted.payment_method, counted.order_amount, counted.shipping, counted.tax, counted.discount,
    placed.by_line, placed.line, placed.extra,
    CASE WHEN placed.place = 1 THEN placed.payload END AS payload,
    CASE WHEN placed.place = 1 THEN placed.order_extra END AS order_extra,
    placed.received_at, COALESCE(placed.historical, FALSE) AS historical, placed.position, placed.n
FROM placed
INNER JOIN counted
    ON placed.source = counted.source AND placed.order_id = counted.order_id
    AND placed.status = counted.status
