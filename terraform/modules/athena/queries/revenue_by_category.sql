-- Revenue of each category over all days.
SELECT category, SUM(amount) AS total_revenue FROM "${database}"."gold_daily_sales" GROUP BY category ORDER BY total_revenue DESC
