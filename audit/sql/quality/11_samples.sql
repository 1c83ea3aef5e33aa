-- quality/11_samples.sql: prompts that were asked several times at a temperature above 0; how often all answers were equal.
-- An answer shorter than $least_chars is `short`: a forced "Yes" is equal by rights.
-- reads: answers   writes: nothing
WITH asked AS (
    SELECT
        dataset,
        teacher,
        prompt_hash,
        temperature,
        count(*) AS samples,
        count(DISTINCT response_hash) = 1 AS all_equal,
        max(chars) < $least_chars AS is_short,
        -- Not min(row_id, $ids): each of many groups would make room for that many.
        list(row_id ORDER BY row_id) AS row_ids
    FROM answers
    WHERE is_answer AND temperature > 0 AND NOT is_blank AND prompt_hash IS NOT NULL
    GROUP BY ALL
    -- A foreign table has no requests, but each of its rows is one.
    HAVING count(DISTINCT coalesce(request_id, row_id)) > 1
)
SELECT
    dataset,
    teacher,
    temperature,
    count(*) AS prompts,
    sum(samples)::BIGINT AS samples,
    count(*) FILTER (all_equal AND is_short) AS short_equal,
    count(*) FILTER (all_equal AND NOT is_short) AS equal,
    count(*) FILTER (NOT is_short) AS long_prompts,
    coalesce(sum(samples) FILTER (all_equal AND NOT is_short), 0)::BIGINT AS equal_samples,
    coalesce(flatten(list(row_ids ORDER BY row_ids) FILTER (all_equal AND NOT is_short)), [])[:$ids] AS row_ids
FROM asked
GROUP BY ALL
ORDER BY ALL;
