-- quality/09_reported.sql: what each teacher said of itself over time: for each value its first and last row, and how many
-- of the teacher's rows came before the one and after the other. A value that came or went midway has many.
-- reads: answers   writes: nothing
WITH said AS (
    SELECT dataset, teacher, row_id, created_at, unnest([
        {'field': 'model_reported', 'value': model_reported},
        {'field': 'system_fingerprint', 'value': system_fingerprint}
    ], recursive := true)
    FROM answers
    WHERE created_at IS NOT NULL
),
placed AS (
    SELECT
        *,
        row_number() OVER in_time AS place,
        count(*) OVER (PARTITION BY dataset, teacher, field) AS said_rows,
        value IS DISTINCT FROM lag(value) OVER in_time AND lag(row_id) OVER in_time IS NOT NULL AS switches
    FROM said
    WHERE value IS NOT NULL
    WINDOW in_time AS (PARTITION BY dataset, teacher, field ORDER BY created_at, row_id)
),
counted AS (
    SELECT *, sum(switches::INT) OVER (PARTITION BY dataset, teacher, field) AS all_switches FROM placed
)
SELECT
    dataset,
    teacher,
    field,
    value,
    count(*) AS rows,
    any_value(said_rows) AS said_rows,
    any_value(all_switches)::BIGINT AS switches,
    min(created_at) AS first_at,
    max(created_at) AS last_at,
    min(place) - 1 AS rows_before,
    any_value(said_rows) - max(place) AS rows_after,
    min(row_id, $ids) AS row_ids
FROM counted
GROUP BY dataset, teacher, field, value
ORDER BY dataset, teacher, field, first_at, value;
