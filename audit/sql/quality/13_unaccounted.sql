-- quality/13_unaccounted.sql: planned requests with neither an answer, nor a failed row, nor a tombstone.
-- reads: plan, answers, failed, tombstones   writes: nothing
WITH ended AS (
    SELECT dataset, request_id FROM answers
    UNION
    SELECT dataset, request_id FROM failed
    UNION
    SELECT dataset, request_id FROM tombstones
)
SELECT dataset, teacher, count(*) AS requests, min(request_id, $ids) AS request_ids
FROM plan
ANTI JOIN ended USING (dataset, request_id)
GROUP BY ALL
ORDER BY ALL;
