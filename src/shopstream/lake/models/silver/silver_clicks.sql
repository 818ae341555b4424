-- Each click once, in a session: the one that the sender named, or one cut at half an hour of silence.
-- Wide rows are read from the source where they are needed and never held between two steps:
-- that is a fifth of the time.

-- Few ids come more than once; only their arrivals are put in order.
WITH repeated AS (
    SELECT user_id, event_id
    FROM bronze_clicks
    GROUP BY user_id, event_id
    HAVING COUNT(*) > 1
),

arrived AS (
    SELECT
        bronze_clicks.*, CAST(bronze_clicks.timestamp AS DATE) AS day,
        ROW_NUMBER() OVER (
            PARTITION BY bronze_clicks.user_id, bronze_clicks.event_id
            ORDER BY bronze_clicks.position, bronze_clicks.n
        ) AS arrival
    FROM bronze_clicks
    INNER JOIN repeated
        ON bronze_clicks.user_id = repeated.user_id
        AND bronze_clicks.event_id = repeated.event_id
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
),

clicks AS (
    SELECT
        bronze_clicks.*, CAST(bronze_clicks.timestamp AS DATE) AS day, 1 AS arrival, 1 AS first_near
    FROM bronze_clicks
    LEFT JOIN repeated
        ON bronze_clicks.user_id = repeated.user_id
        AND bronze_clicks.event_id = repeated.event_id
    WHERE repeated.event_id IS NULL
    UNION ALL
    SELECT * FROM ranked WHERE arrival = first_near
),

-- Sessions are worked out only where a click doesn't name its own: users and days.
to_cut AS (
    SELECT DISTINCT CAST(timestamp AS DATE) AS day, user_id
    FROM bronze_clicks
    WHERE session_id IS NULL
),

visits AS (
    SELECT
        to_cut.day, to_cut.user_id, bronze_clicks.event_id, bronze_clicks.session_id,
        bronze_clicks.timestamp
    FROM bronze_clicks
    INNER JOIN to_cut
        ON CAST(bronze_clicks.timestamp AS DATE) = to_cut.day
        AND bronze_clicks.user_id = to_cut.user_id
    LEFT JOIN repeated
        ON to_cut.user_id = repeated.user_id
        AND bronze_clicks.event_id = repeated.event_id
    WHERE repeated.event_id IS NULL
    UNION ALL
    SELECT ranked.day, ranked.user_id, ranked.event_id, ranked.session_id, ranked.timestamp
    FROM ranked
    INNER JOIN to_cut ON ranked.day = to_cut.day AND ranked.user_id = to_cut.user_id
    WHERE ranked.arrival = ranked.first_near
),

-- A click that names a session begins a stretch; one that doesn't goes on with what was before it.
-- Of clicks at one instant, those that name their session come first.
begun AS (
    SELECT
        day, user_id, event_id, session_id, timestamp,
        CASE
            WHEN session_id IS NULL AND timestamp <= LAG(timestamp) OVER (
                PARTITION BY day, user_id
                ORDER BY timestamp, CASE WHEN session_id IS NULL THEN 1 ELSE 0 END, event_id
            ) + INTERVAL '30' MINUTE THEN 0
            ELSE 1
        END AS begins
    FROM visits
),

numbered AS (
    SELECT
        day, user_id, event_id, session_id, timestamp, begins,
        SUM(begins) OVER (
            PARTITION BY day, user_id
            ORDER BY timestamp, CASE WHEN session_id IS NULL THEN 1 ELSE 0 END, event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS stretch
    FROM begun
),

-- A stretch is the session that its first click names. Without a name it is called by user and
-- first instant, which every engine must write alike, so with all six digits behind the second.
stretches AS (
    SELECT
        day, user_id, stretch, session_id AS named, CAST(timestamp AS VARCHAR) AS began
    FROM numbered
    WHERE begins = 1
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
    -- The long pattern knows user:password@ and the brackets of IPv6; it takes four times as long.
    LOWER(NULLIF(CASE
        WHEN clicks.referrer_url LIKE '%@%' OR clicks.referrer_url LIKE '%[%' THEN REGEXP_EXTRACT(
            clicks.referrer_url,
            '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#]*@)?(\[[^\]/?#@]+\]|[^/?#:@\[\]]+)(?::[^/?#@]*)?(?:[/?#]|$)',
            1
        )
        ELSE REGEXP_EXTRACT(clicks.referrer_url, '^[A-Za-z][A-Za-z0-9+.-]*://([^/?#:]+)', 1)
    END, '')) AS referrer_host,
    clicks.consent, clicks.extra, clicks.received_at, clicks.source,
    COALESCE(clicks.historical, FALSE) AS historical,
    clicks.position, clicks.n
FROM clicks
LEFT JOIN cut
    ON clicks.day = cut.day AND clicks.user_id = cut.user_id AND clicks.event_id = cut.event_id
