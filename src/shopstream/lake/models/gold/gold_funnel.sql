-- How many sessions and users came how far, by day and device.
WITH visits AS (
    SELECT
        day, session_id, user_id,
        MIN(CASE WHEN device_type <> 'unknown' THEN device_type END) AS device_type,
        MAX(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END) AS viewed,
        MAX(CASE WHEN event_type = 'add_to_cart' THEN 1 ELSE 0 END) AS carted,
        MAX(CASE WHEN event_type = 'begin_checkout' THEN 1 ELSE 0 END) AS checked_out,
        MAX(CASE WHEN event_type = 'purchase' THEN 1 ELSE 0 END) AS purchased
    FROM silver_clicks
    GROUP BY day, session_id, user_id
),

-- Who logs in goes on with the session under another user id.
sessions AS (
    SELECT
        day, session_id, COALESCE(MIN(device_type), 'unknown') AS device_type,
        MAX(viewed) AS viewed, MAX(carted) AS carted, MAX(checked_out) AS checked_out,
        MAX(purchased) AS purchased
    FROM visits
    GROUP BY day, session_id
),

-- A step that nobody took on a day is taken for one that the shop doesn't send.
days AS (
    SELECT
        day, 1 - MAX(viewed) AS no_views, 1 - MAX(carted) AS no_carts,
        1 - MAX(checked_out) AS no_checkouts
    FROM sessions
    GROUP BY day
),

-- `may_…`: whether the session took all steps before this one.
judged AS (
    SELECT
        sessions.day, sessions.session_id, sessions.device_type, sessions.viewed, sessions.carted,
        sessions.checked_out, sessions.purchased, 1 - sessions.carted AS cartless,
        CASE WHEN sessions.viewed + days.no_views > 0 THEN 1 ELSE 0 END AS may_cart,
        CASE
            WHEN sessions.viewed + days.no_views > 0 AND sessions.carted + days.no_carts > 0
                THEN 1
            ELSE 0
        END AS may_check_out,
        CASE
            WHEN sessions.viewed + days.no_views > 0 AND sessions.carted + days.no_carts > 0
                AND sessions.checked_out + days.no_checkouts > 0 THEN 1
            ELSE 0
        END AS may_purchase
    FROM sessions
    INNER JOIN days ON sessions.day = days.day
),

counted_sessions AS (
    SELECT
        day, device_type, SUM(viewed) AS viewed, SUM(carted) AS carted,
        SUM(checked_out) AS checked_out, SUM(purchased) AS purchased,
        SUM(carted * may_cart) AS carted_strictly,
        SUM(checked_out * may_check_out) AS checked_out_strictly,
        SUM(purchased * may_purchase) AS purchased_strictly,
        SUM(viewed * cartless) AS viewed_cartless,
        SUM(checked_out * cartless) AS checked_out_cartless,
        SUM(purchased * cartless) AS purchased_cartless
    FROM judged
    GROUP BY day, device_type
),

users AS (
    SELECT
        judged.day, judged.device_type, visits.user_id, MAX(visits.viewed) AS viewed,
        MAX(visits.carted) AS carted, MAX(visits.checked_out) AS checked_out,
        MAX(visits.purchased) AS purchased,
        MAX(visits.carted * judged.may_cart) AS carted_strictly,
        MAX(visits.checked_out * judged.may_check_out) AS checked_out_strictly,
        MAX(visits.purchased * judged.may_purchase) AS purchased_strictly,
        MAX(visits.viewed * judged.cartless) AS viewed_cartless,
        MAX(visits.checked_out * judged.cartless) AS checked_out_cartless,
        MAX(visits.purchased * judged.cartless) AS purchased_cartless
    FROM visits
    INNER JOIN judged ON visits.day = judged.day AND visits.session_id = judged.session_id
    GROUP BY judged.day, judged.device_type, visits.user_id
),

counted_users AS (
    SELECT
        day, device_type, SUM(viewed) AS viewed, SUM(carted) AS carted,
        SUM(checked_out) AS checked_out, SUM(purchased) AS purchased,
        SUM(carted_strictly) AS carted_strictly,
        SUM(checked_out_strictly) AS checked_out_strictly,
        SUM(purchased_strictly) AS purchased_strictly, SUM(viewed_cartless) AS viewed_cartless,
        SUM(checked_out_cartless) AS checked_out_cartless,
        SUM(purchased_cartless) AS purchased_cartless
    FROM users
    GROUP BY day, device_type
),

steps AS (
    SELECT
        s.day, s.device_type, 1 AS step, 'view' AS step_name, s.viewed AS sessions,
        u.viewed AS users, s.viewed AS strict_sessions,
        u.viewed AS strict_users,
        s.viewed_cartless AS sessions_without_cart,
        u.viewed_cartless AS users_without_cart
    FROM counted_sessions AS s
    INNER JOIN counted_users AS u ON s.day = u.day AND s.device_type = u.device_type
    UNION ALL
    SELECT
        s.day, s.device_type, 2 AS step, 'add_to_cart' AS step_name, s.carted AS sessions,
        u.carted AS users, s.carted_strictly AS strict_sessions,
        u.carted_strictly AS strict_users,
        0 AS sessions_without_cart, 0 AS users_without_cart
    FROM counted_sessions AS s
    INNER JOIN counted_users AS u ON s.day = u.day AND s.device_type = u.device_type
    UNION ALL
    SELECT
        s.day, s.device_type, 3 AS step, 'begin_checkout' AS step_name, s.checked_out AS sessions,
        u.checked_out AS users, s.checked_out_strictly AS strict_sessions,
        u.checked_out_strictly AS strict_users,
        s.checked_out_cartless AS sessions_without_cart,
        u.checked_out_cartless AS users_without_cart
    FROM counted_sessions AS s
    INNER JOIN counted_users AS u ON s.day = u.day AND s.device_type = u.device_type
    UNION ALL
    SELECT
        s.day, s.device_type, 4 AS step, 'purchase' AS step_name, s.purchased AS sessions,
        u.purchased AS users, s.purchased_strictly AS strict_sessions,
        u.purchased_strictly AS strict_users,
        s.purchased_cartless AS sessions_without_cart,
        u.purchased_cartless AS users_without_cart
    FROM counted_sessions AS s
    INNER JOIN counted_users AS u ON s.day = u.day AND s.device_type = u.device_type
)

SELECT
    day, device_type, CAST(step AS INTEGER) AS step, step_name,
    CAST(sessions AS BIGINT) AS sessions, CAST(users AS BIGINT) AS users,
    CAST(strict_sessions AS BIGINT) AS strict_sessions, CAST(strict_users AS BIGINT) AS strict_users,
    CAST(sessions_without_cart AS BIGINT) AS sessions_without_cart,
    CAST(users_without_cart AS BIGINT) AS users_without_cart
FROM steps
