-- Where sessions came from and with what, by day.
WITH sessions AS (
    SELECT
        day, user_id, session_id, COUNT(*) AS events, MIN(timestamp) AS began,
        SUM(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS purchases
    FROM silver_clicks
    GROUP BY day, user_id, session_id
),

-- A session came as its first click says; of several at that instant, the first by name.
landings AS (
    SELECT
        clicks.day, clicks.user_id, clicks.session_id,
        COALESCE(
            MIN(clicks.referrer_host),
            CASE WHEN MAX(NULLIF(clicks.referrer_url, '')) IS NULL THEN 'direct' ELSE 'other' END
        ) AS referrer,
        COALESCE(
            MIN(CASE WHEN clicks.device_type <> 'unknown' THEN clicks.device_type END), 'unknown'
        ) AS device_type,
        COALESCE(MIN(NULLIF(clicks.location, '')), 'unknown') AS location,
        COALESCE(MIN(NULLIF(clicks.browser, '')), 'unknown') AS browser
    FROM silver_clicks AS clicks
    INNER JOIN sessions
        ON clicks.day = sessions.day AND clicks.user_id = sessions.user_id
        AND clicks.session_id = sessions.session_id AND clicks.timestamp = sessions.began
    GROUP BY clicks.day, clicks.user_id, clicks.session_id
),

users AS (
    SELECT
        landings.day, landings.referrer, landings.device_type, landings.location, landings.browser,
        landings.user_id, COUNT(*) AS sessions, SUM(sessions.events) AS events,
        SUM(sessions.purchases) AS purchases
    FROM landings
    INNER JOIN sessions
        ON landings.day = sessions.day AND landings.user_id = sessions.user_id
        AND landings.session_id = sessions.session_id
    GROUP BY
        landings.day, landings.referrer, landings.device_type, landings.location, landings.browser,
        landings.user_id
)

SELECT
    day, referrer, device_type, location, browser, CAST(COUNT(*) AS BIGINT) AS users,
    CAST(SUM(sessions) AS BIGINT) AS sessions, CAST(SUM(events) AS BIGINT) AS events,
    CAST(SUM(purchases) AS BIGINT) AS purchases
FROM users
GROUP BY day, referrer, device_type, location, browser
