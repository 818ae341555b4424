-- How many sessions and users came how far, by day and device.
WITH sessions AS (
    SELECT
        day, user_id, session_id,
        COALESCE(
            MIN(CASE WHEN device_type <> 'unknown' THEN device_type END), 'unknown'
        ) AS device_type,
        MAX(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END) AS viewed,
        MAX(CASE WHEN event_type = 'add_to_cart' THEN 1 ELSE 0 END) AS carted,
        MAX(CASE WHEN event_type = 'begin_checkout' THEN 1 ELSE 0 END) AS checked_out,
        MAX(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS purchased
    FROM silver_clicks
    GROUP BY day, user_id, session_id
),

-- Steps that nobody took on a day are taken for steps that the shop doesn't send.
days AS (
    SELECT
        day, 1 - MAX(viewed) AS no_views, 1 - MAX(carted) AS no_carts,
        1 - MAX(checked_out) AS no_checkouts
    FROM sessions
    GROUP BY day
),

allowed AS (
    SELECT
        sessions.day, sessions.user_id, sessions.device_type, sessions.viewed, sessions.carted,
        sessions.checked_out, sessions.purchased,
        CASE WHEN sessions.viewed + days.no_views > 0 THEN 1 ELSE 0 END AS past_view,
        CASE WHEN sessions.carted + days.no_carts > 0 THEN 1 ELSE 0 END AS past_cart,
        CASE WHEN sessions.checked_out + days.no_checkouts > 0 THEN 1 ELSE 0 END AS past_checkout
    FROM sessions
    INNER JOIN days ON sessions.day = days.day
),

users AS (
    SELECT
        day, device_type, user_id, SUM(viewed) AS viewed, SUM(carted) AS carted,
        SUM(checked_out) AS checked_out, SUM(purchased) AS purchased,
        SUM(carted * past_view) AS carted_strictly,
        SUM(checked_out * past_view * past_cart) AS checked_out_strictly,
        SUM(purchased * past_view * past_cart * past_checkout) AS purchased_strictly,
        SUM(viewed * (1 - carted)) AS viewed_only,
        SUM(checked_out * (1 - carted)) AS checked_out_directly,
        SUM(purchased * (1 - carted)) AS purchased_directly
    FROM allowed
    GROUP BY day, device_type, user_id
),

counted AS (
    SELECT
        day, device_type,
        SUM(viewed) AS viewed, SUM(CASE WHEN viewed > 0 THEN 1 ELSE 0 END) AS viewed_users,
        SUM(carted) AS carted, SUM(CASE WHEN carted > 0 THEN 1 ELSE 0 END) AS carted_users,
        SUM(checked_out) AS checked_out,
        SUM(CASE WHEN checked_out > 0 THEN 1 ELSE 0 END) AS checked_out_users,
        SUM(purchased) AS purchased,
        SUM(CASE WHEN purchased > 0 THEN 1 ELSE 0 END) AS purchased_users,
        SUM(carted_strictly) AS carted_strictly,
        SUM(CASE WHEN carted_strictly > 0 THEN 1 ELSE 0 END) AS carted_strictly_users,
        SUM(checked_out_strictly) AS checked_out_strictly,
        SUM(CASE WHEN checked_out_strictly > 0 THEN 1 ELSE 0 END) AS checked_out_strictly_users,
        SUM(purchased_strictly) AS purchased_strictly,
        SUM(CASE WHEN purchased_strictly > 0 THEN 1 ELSE 0 END) AS purchased_strictly_users,
        SUM(viewed_only) AS viewed_only,
        SUM(CASE WHEN viewed_only > 0 THEN 1 ELSE 0 END) AS viewed_only_users,
        SUM(checked_out_directly) AS checked_out_directly,
        SUM(CASE WHEN checked_out_directly > 0 THEN 1 ELSE 0 END) AS checked_out_directly_users,
        SUM(purchased_directly) AS purchased_directly,
        SUM(CASE WHEN purchased_directly > 0 THEN 1 ELSE 0 END) AS purchased_directly_users
    FROM users
    GROUP BY day, device_type
),

steps AS (
    SELECT
        day, device_type, 1 AS step, 'view' AS step_name, viewed AS sessions,
        viewed_users AS users, viewed AS strict_sessions, viewed_users AS strict_users,
        viewed_only AS sessions_without_cart, viewed_only_users AS users_without_cart
    FROM counted
    UNION ALL
    SELECT
        day, device_type, 2 AS step, 'add_to_cart' AS step_name, carted AS sessions,
        carted_users AS users, carted_strictly AS strict_sessions,
        carted_strictly_users AS strict_users, 0 AS sessions_without_cart, 0 AS users_without_cart
    FROM counted
    UNION ALL
    SELECT
        day, device_type, 3 AS step, 'begin_checkout' AS step_name, checked_out AS sessions,
        checked_out_users AS users, checked_out_strictly AS strict_sessions,
        checked_out_strictly_users AS strict_users, checked_out_directly AS sessions_without_cart,
        checked_out_directly_users AS users_without_cart
    FROM counted
    UNION ALL
    SELECT
        day, device_type, 4 AS step, 'purchase' AS step_name, purchased AS sessions,
        purchased_users AS users, purchased_strictly AS strict_sessions,
        purchased_strictly_users AS strict_users, purchased_directly AS sessions_without_cart,
        purchased_directly_users AS users_without_cart
    FROM counted
)

SELECT
    day, device_type, CAST(step AS INTEGER) AS step, step_name,
    CAST(sessions AS BIGINT) AS sessions, CAST(users AS BIGINT) AS users,
    CAST(strict_sessions AS BIGINT) AS strict_sessions, CAST(strict_users AS BIGINT) AS strict_users,
    CAST(sessions_without_cart AS BIGINT) AS sessions_without_cart,
    CAST(users_without_cart AS BIGINT) AS users_without_cart
FROM steps
