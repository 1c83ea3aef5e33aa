-- report/11_causes.sql: why rows are not ok, and why requests have no answer.
-- reads: completions, failed   writes: nothing
WITH causes AS (
    SELECT outcome, coalesce(outcome_cause, finish_reason) AS cause, count(*) AS requests
    FROM completions
    WHERE outcome <> 'ok'
    GROUP BY ALL
    UNION ALL
    SELECT 'failed', cause, count(*) FROM failed GROUP BY ALL
)
SELECT outcome, cause, requests
FROM causes
ORDER BY requests DESC, outcome, cause
LIMIT 30;
