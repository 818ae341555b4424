-- How long and how deeply people stayed, by day and by new and returning users.
WITH sessions AS (
    SELECT
        day, user_id, session_id,
        COALESCE(MIN(CASE WHEN user_type <> 'unknown' THEN user_type END), 'unknown') AS user_type,
        COUNT(*) AS events,
        SUM(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END) AS pages,
        -- Engines differ in how they count parts of a second.
        DATE_DIFF(
            'second', DATE_TRUNC('second', MIN(timestamp)), DATE_TRUNC('second', MAX(timestamp))
        ) AS seconds
    FROM silver_clicks
    GROUP BY day, user_id, session_id
),

users AS (
    SELECT
        day, user_type, user_id, COUNT(*) AS sessions, SUM(events) AS events, SUM(pages) AS pages,
        SUM(seconds) AS seconds, SUM(CASE WHEN events = 1 THEN 1 ELSE 0 END) AS bounces
    FROM sessions
    GROUP BY day, user_type, user_id
),

types AS (
    SELECT
        day, user_type, CAST(COUNT(*) AS BIGINT) AS users, CAST(SUM(sessions) AS BIGINT) AS sessions,
        CAST(SUM(events) AS BIGINT) AS events, CAST(SUM(pages) AS BIGINT) AS pages,
        CAST(SUM(bounces) AS BIGINT) AS bounces, CAST(SUM(seconds) AS BIGINT) AS duration_seconds
    FROM users
    GROUP BY day, user_type
)

SELECT
    day, user_type, users, sessions, events, pages, bounces, duration_seconds,
    CAST(events AS DOUBLE) / CAST(sessions AS DOUBLE) AS events_per_session,
    CAST(pages AS DOUBLE) / CAST(sessions AS DOUBLE) AS pages_per_session,
    CAST(bounces AS DOUBLE) / CAST(sessions AS DOUBLE) AS bounce_rate,
    CAST(duration_seconds AS DOUBLE) / CAST(sessions AS DOUBLE) AS mean_duration_seconds
FROM types
