-- report/10_outcomes.sql: what became of every planned request, by teacher.
-- reads: completions, failed   writes: nothing
WITH ended AS (
    SELECT dataset, teacher, outcome, count(*) AS requests FROM completions GROUP BY ALL
    UNION ALL
    SELECT dataset, teacher, 'failed', count(*) FROM failed GROUP BY ALL
)
SELECT
    dataset,
    teacher,
    sum(requests)::BIGINT AS requests,
    (sum(sum(requests)) OVER ())::BIGINT AS all_requests,
    coalesce(sum(requests) FILTER (outcome = 'ok'), 0)::BIGINT AS ok,
    coalesce(sum(requests) FILTER (outcome = 'truncated'), 0)::BIGINT AS truncated,
    coalesce(sum(requests) FILTER (outcome = 'filtered'), 0)::BIGINT AS filtered,
    coalesce(sum(requests) FILTER (outcome = 'refused'), 0)::BIGINT AS refused,
    coalesce(sum(requests) FILTER (outcome = 'invalid'), 0)::BIGINT AS invalid,
    coalesce(sum(requests) FILTER (outcome = 'failed'), 0)::BIGINT AS failed,
    coalesce(sum(requests) FILTER (outcome IS NULL), 0)::BIGINT AS unknown
FROM ended
GROUP BY dataset, teacher
ORDER BY requests DESC, dataset, teacher
LIMIT 60;
