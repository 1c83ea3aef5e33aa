-- report/08_runs.sql: which runs made the datasets, and how many of the rows.
-- reads: runs, completions   writes: nothing
WITH asked AS (
    SELECT dataset, run_id, count(*) AS "rows"
    FROM completions
    GROUP BY dataset, run_id
)
SELECT
    coalesce(runs.dataset, asked.dataset) AS dataset,
    coalesce(runs.run_id, asked.run_id) AS run_id,
    strftime(runs.started_at, '%Y-%m-%d %H:%M:%S') AS started_at,
    strftime(runs.ended_at, '%Y-%m-%d %H:%M:%S') AS ended_at,
    coalesce(asked."rows", 0) AS "rows",
    runs.code_version
FROM runs
FULL JOIN asked ON asked.dataset = runs.dataset AND asked.run_id = runs.run_id
ORDER BY 1, started_at, 2
LIMIT 60;
