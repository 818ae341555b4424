-- Each order once, with its sums. What an order's lines have in common stands on each of them.
WITH order_lines AS (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY source, order_id, status ORDER BY position, n, line_no, ordinal
        ) AS place
    FROM silver_order_lines
),

sums AS (
    SELECT
        source, order_id, status, COUNT(*) AS lines, SUM(quantity) AS units,
        SUM(amount) AS subtotal,
        -- Lines that arrived apart: then no sender gave the amount of them all.
        MIN(position) < MAX(position) OR MIN(n) < MAX(n) AS united
    FROM order_lines
    GROUP BY source, order_id, status
),

heads AS (
    SELECT * FROM order_lines WHERE place = 1
)

SELECT
    heads.day, heads.source, heads.order_id, heads.status, heads.timestamp, heads.customer_id,
    sums.lines, CAST(sums.units AS BIGINT) AS units, CAST(sums.subtotal AS DECIMAL(38,4)) AS subtotal,
    heads.shipping, heads.tax, heads.discount,
    CAST(
        CASE
            WHEN heads.order_amount IS NULL OR sums.united
                THEN CAST(sums.subtotal AS DECIMAL(30,4)) + COALESCE(heads.shipping, 0)
                    + COALESCE(heads.tax, 0) - COALESCE(heads.discount, 0)
            ELSE heads.order_amount
        END AS DECIMAL(38,4)
    ) AS amount,
    heads.currency, heads.counts_as, heads.payment_method, heads.by_line, heads.payload,
    heads.order_extra AS extra, heads.received_at, heads.historical, heads.position, heads.n
FROM heads
INNER JOIN sums
    ON heads.source = sums.source AND heads.order_id = sums.order_id AND heads.status = sums.status
