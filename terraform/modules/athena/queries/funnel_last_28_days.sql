-- Sessions that took each step to a purchase in the last 28 days, by device.
SELECT device_type, step, step_name, SUM(sessions) AS sessions, SUM(sessions_without_cart) AS sessions_without_cart
FROM "${database}"."gold_funnel"
WHERE day >= CURRENT_DATE - INTERVAL '28' DAY
GROUP BY device_type, step, step_name
ORDER BY device_type, step
