-- Each click once, in a session: the one that the sender named, or one cut at half an hour of silence.
WITH arrived AS (
    SELECT
        CAST(timestamp AS DATE) AS day, position, n, received_at, source, historical, event_id,
        user_id, session_id, event_type, page, product_id, timestamp, device_type, referrer_url,
        location, browser, user_type, price, quantity, currency, category, cart_id, order_id,
        consent, extra,
        ROW_NUMBER() OVER (
            PARTITION BY CAST(timestamp AS DATE), user_id, event_id ORDER BY position, n
        ) AS arrival
    FROM bronze_clicks
),

clicks AS (
    SELECT * FROM arrived WHERE arrival = 1
),

-- Sessions are worked out only where a click doesn't name its own: users and days.
to_cut AS (
    SELECT DISTINCT day, user_id FROM clicks WHERE session_id IS NULL
),

-- Of clicks at one instant, those that name their session come first.
in_order AS (
    SELECT
        clicks.day, clicks.user_id, clicks.event_id, clicks.session_id, clicks.timestamp,
        ROW_NUMBER() OVER (
            PARTITION BY clicks.day, clicks.user_id
            ORDER BY
                clicks.timestamp, CASE WHEN clicks.session_id IS NULL THEN 1 ELSE 0 END,
                clicks.event_id
        ) AS place
    FROM clicks
    INNER JOIN to_cut ON clicks.day = to_cut.day AND clicks.user_id = to_cut.user_id
),

-- A click that names a session begins a stretch; one that doesn't goes on with what was before it.
begun AS (
    SELECT
        day, user_id, event_id, session_id, timestamp, place,
        CASE
            WHEN session_id IS NULL AND timestamp <= LAG(timestamp) OVER (
                PARTITION BY day, user_id ORDER BY place
            ) + INTERVAL '30' MINUTE THEN 0
            ELSE 1
        END AS begins
    FROM in_order
),

numbered AS (
    SELECT
        day, user_id, event_id, session_id, timestamp,
        SUM(begins) OVER (
            PARTITION BY day, user_id ORDER BY place
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS stretch
    FROM begun
),

-- Only the first click of a stretch can name a session. Without a name it is called by user and
-- first instant, which every engine must write alike, so with all six digits behind the second.
stretches AS (
    SELECT
        day, user_id, stretch, MAX(session_id) AS named,
        CAST(MIN(timestamp) AS VARCHAR) AS began
    FROM numbered
    GROUP BY day, user_id, stretch
),

cut AS (
    SELECT
        numbered.day, numbered.user_id, numbered.event_id,
        COALESCE(
            stretches.named,
            'shopstream:' || numbered.user_id || '@' || RPAD(
                CASE WHEN LENGTH(stretches.began) = 19 THEN stretches.began || '.'
                ELSE stretches.began END, 26, '0'
            )
        ) AS session_id
    FROM numbered
    INNER JOIN stretches
        ON numbered.day = stretches.day AND numbered.user_id = stretches.user_id
        AND numbered.stretch = stretches.stretch
    WHERE numbered.session_id IS NULL
)

SELECT
    clicks.day, clicks.user_id, clicks.event_id,
    COALESCE(clicks.session_id, cut.session_id) AS session_id,
    clicks.session_id AS sent_session_id, clicks.event_type, clicks.timestamp, clicks.page,
    clicks.product_id, clicks.category, clicks.price, clicks.quantity, clicks.currency,
    clicks.cart_id, clicks.order_id, COALESCE(clicks.device_type, 'unknown') AS device_type,
    clicks.browser, clicks.location, COALESCE(clicks.user_type, 'unknown') AS user_type,
    clicks.referrer_url,
    LOWER(NULLIF(REGEXP_EXTRACT(
        clicks.referrer_url, '^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*@)?([^/?#:]+)', 2
    ), '')) AS referrer_host,
    clicks.consent, clicks.extra, clicks.received_at, clicks.source,
    COALESCE(clicks.historical, FALSE) AS historical,
    clicks.position, clicks.n
FROM clicks
LEFT JOIN cut
    ON clicks.day = cut.day AND clicks.user_id = cut.user_id AND clicks.event_id = cut.event_id
