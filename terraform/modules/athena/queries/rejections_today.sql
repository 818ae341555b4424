-- What was rejected today, by topic, source and reason.
SELECT topic, source, reason, COUNT(*) AS events
FROM "${database}"."bronze_quarantine"
WHERE dt = CAST(CURRENT_DATE AS VARCHAR)
GROUP BY topic, source, reason
ORDER BY events DESC
