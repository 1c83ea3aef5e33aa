-- quality/03_failed.sql: how many requests never became an answer, and why.
-- reads: failed   writes: nothing
SELECT dataset, teacher, cause, count(*) AS rows, count(*) FILTER (retryable) AS retryable
FROM failed
GROUP BY ALL
ORDER BY ALL;
