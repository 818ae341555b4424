-- Where sessions came from and with what, by day.
WITH visits AS (
    SELECT
        day, session_id, user_id, COUNT(*) AS events, MIN(timestamp) AS began,
        SUM(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS purchases
    FROM silver_clicks
    GROUP BY day, session_id, user_id
),

-- Who logs in goes on with the session under another user id.
sessions AS (
    SELECT
        day, session_id, SUM(events) AS events, MIN(began) AS began, SUM(purchases) AS purchases
    FROM visits
    GROUP BY day, session_id
),

-- A session came as its first click says; of several at that instant, the first by name.
landings AS (
    SELECT
        clicks.day, clicks.session_id, MAX(sessions.events) AS events,
        MAX(sessions.purchases) AS purchases,
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
        ON clicks.day = sessions.day AND clicks.session_id = sessions.session_id
        AND clicks.timestamp = sessions.began
    GROUP BY clicks.day, clicks.session_id
),

-- Of the users of a session one row has its counts, so that they are added up once.
users AS (
    SELECT
        landings.day, landings.referrer, landings.device_type, landings.location, landings.browser,
        visits.user_id, landings.events, landings.purchases,
        ROW_NUMBER() OVER (
            PARTITION BY landings.day, landings.session_id ORDER BY visits.user_id
        ) AS place
    FROM landings
    INNER JOIN visits ON landings.day = visits.day AND landings.session_id = visits.session_id
)

SELECT
    day, referrer, device_type, location, browser, CAST(COUNT(DISTINCT user_id) AS BIGINT) AS users,
    CAST(SUM(CASE WHEN place = 1 THEN 1 ELSE 0 END) AS BIGINT) AS sessions,
    CAST(SUM(CASE WHEN place = 1 THEN events ELSE 0 END) AS BIGINT) AS events,
    CAST(SUM(CASE WHEN place = 1 THEN purchases ELSE 0 END) AS BIGINT) AS purchases
FROM users
GROUP BY day, referrer, device_type, location, browser
