-- quality/10_terms.sql: under which terms the rows of each teacher and prompt licence, and of each prompt source, came, and
-- when. The licence is part of what is asked for: two licences side by side are two groups, not a change.
-- reads: answers   writes: nothing
WITH held AS (
    SELECT
        dataset, row_id, created_at, 'terms' AS what, teacher AS owner, coalesce(prompt_license, '') AS under,
        to_json({'terms_id': terms_id, 'train_use': train_use, 'obligations': list_sort(obligations)})::VARCHAR AS value
    FROM answers
    WHERE coalesce(terms_id, train_use, obligations::VARCHAR) IS NOT NULL
    UNION ALL
    SELECT
        dataset, row_id, created_at, 'licence', coalesce(prompt_source, ''), '',
        to_json({'prompt_license': prompt_license})::VARCHAR
    FROM answers
    WHERE prompt_license IS NOT NULL
),
placed AS (
    SELECT
        *,
        row_number() OVER in_time AS place,
        count(*) OVER (PARTITION BY dataset, what, owner, under) AS held_rows
    FROM held
    WINDOW in_time AS (PARTITION BY dataset, what, owner, under ORDER BY created_at NULLS LAST, row_id)
)
SELECT
    dataset,
    what,
    owner,
    under,
    value,
    count(*) AS rows,
    any_value(held_rows) AS held_rows,
    min(created_at) AS first_at,
    max(created_at) AS last_at,
    min(place) - 1 AS rows_before,
    any_value(held_rows) - max(place) AS rows_after,
    min(row_id, $ids) AS row_ids
FROM placed
GROUP BY dataset, what, owner, under, value
ORDER BY dataset, what, owner, under, first_at, value;
