-- How long and how deeply people stayed, by day and by new and returning users.
WITH visits AS (
    SELECT
        day, session_id, user_id,
        MIN(CASE WHEN user_type <> 'unknown' THEN user_type END) AS user_type, COUNT(*) AS events,
        SUM(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END) AS pages, MIN(timestamp) AS began,
        MAX(timestamp) AS ended
    FROM silver_clicks
    GROUP BY day, session_id, user_id
),

-- Who logs in goes on with the session under another user id.
sessions AS (
    SELECT
        day, session_id, COALESCE(MIN(user_type), 'unknown') AS user_type, SUM(events) AS events,
        SUM(pages) AS pages,
        -- Engines differ in how they count parts of a second.
        DATE_DIFF(
            'second', DATE_TRUNC('second', MIN(began)), DATE_TRUNC('second', MAX(ended))
        ) AS seconds
    FROM visits
    GROUP BY day, session_id
),

people AS (
    SELECT DISTINCT sessions.day, sessions.user_type, visits.user_id
    FROM visits
    INNER JOIN sessions ON visits.day = sessions.day AND visits.session_id = sessions.session_id
),

users AS (
    SELECT day, user_type, CAST(COUNT(*) AS BIGINT) AS users
    FROM people
    GROUP BY day, user_type
),

types AS (
    SELECT
        day, user_type, CAST(COUNT(*) AS BIGINT) AS sessions,
        CAST(SUM(events) AS BIGINT) AS events, CAST(SUM(pages) AS BIGINT) AS pages,
        CAST(SUM(CASE WHEN events = 1 THEN 1 ELSE 0 END) AS BIGINT) AS bounces,
        CAST(SUM(seconds) AS BIGINT) AS duration_seconds
    FROM sessions
    GROUP BY day, user_type
)

SELECT
    types.day, types.user_type, users.users, types.sessions, types.events, types.pages,
    types.bounces, types.duration_seconds,
    CAST(types.events AS DOUBLE) / CAST(types.sessions AS DOUBLE) AS events_per_session,
    CAST(types.pages AS DOUBLE) / CAST(types.sessions AS DOUBLE) AS pages_per_session,
    CAST(types.bounces AS DOUBLE) / CAST(types.sessions AS DOUBLE) AS bounce_rate,
    CAST(types.duration_seconds AS DOUBLE) / CAST(types.sessions AS DOUBLE)
        AS mean_duration_seconds
FROM types
INNER JOIN users ON types.day = users.day AND types.user_type = users.user_type
