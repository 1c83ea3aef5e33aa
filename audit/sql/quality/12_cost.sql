-- quality/12_cost.sql: what each teacher's calls cost and what became of it. What was asked and is in no row was retried.
-- reads: ledger, answers   writes: nothing
WITH calls AS (
    SELECT
        dataset,
        teacher,
        count(*) AS calls,
        sum(cost_usd) AS usd,
        coalesce(sum(cost_usd) FILTER (kind = 'probe'), 0) AS probe_usd,
        coalesce(sum(cost_usd) FILTER (kind = 'lost'), 0) AS lost_usd,
        coalesce(sum(cost_usd) FILTER (kind NOT IN ('probe', 'lost')), 0) AS ask_usd
    FROM ledger
    GROUP BY ALL
),
kept AS (
    SELECT
        dataset,
        teacher,
        count(*) AS rows,
        count(*) FILTER (coalesce(outcome, 'ok') = 'ok') AS useful_rows,
        sum(cost_usd) AS row_usd,
        coalesce(sum(cost_usd) FILTER (coalesce(outcome, 'ok') = 'ok'), 0) AS useful_usd
    FROM answers
    GROUP BY ALL
)
SELECT
    dataset,
    teacher,
    coalesce(calls, 0) AS calls,
    coalesce(rows, 0) AS rows,
    coalesce(useful_rows, 0) AS useful_rows,
    coalesce(usd, row_usd)::DOUBLE AS usd,
    coalesce(useful_usd, 0)::DOUBLE AS useful_usd,
    (coalesce(row_usd, 0) - coalesce(useful_usd, 0))::DOUBLE AS not_ok_usd,
    coalesce(probe_usd, 0)::DOUBLE AS probe_usd,
    coalesce(lost_usd, 0)::DOUBLE AS lost_usd,
    greatest(coalesce(ask_usd, row_usd, 0) - coalesce(row_usd, 0), 0)::DOUBLE AS retried_usd
FROM calls
FULL JOIN kept USING (dataset, teacher)
ORDER BY dataset, teacher;
