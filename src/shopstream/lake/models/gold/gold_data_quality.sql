-- What arrived and what became of it, by day, topic, source and reason.
WITH arrived AS (
    SELECT
        day, topic, source, COALESCE(NULLIF(reason, ''), 'accepted') AS reason,
        SUM(events) AS events
    FROM bronze_tally
    GROUP BY day, topic, source, COALESCE(NULLIF(reason, ''), 'accepted')
),

topics AS (
    SELECT day, topic, SUM(events) AS events
    FROM arrived
    GROUP BY day, topic
)

SELECT
    arrived.day, arrived.topic, arrived.source, arrived.reason,
    CAST(arrived.events AS BIGINT) AS events,
    CAST(arrived.events AS DOUBLE) / NULLIF(CAST(topics.events AS DOUBLE), 0) AS share
FROM arrived
INNER JOIN topics ON arrived.day = topics.day AND arrived.topic = topics.topic
