-- report/15_cost.sql: what was paid, by teacher: every call of the ledger, or of the rows where there is no ledger.
-- reads: completions, ledger   writes: nothing
WITH kept AS (
    SELECT dataset, teacher, count(*) FILTER (outcome = 'ok') AS useful_rows, sum(cost_usd) AS rows_usd
    FROM completions
    GROUP BY dataset, teacher
),
paid AS (
    SELECT
        dataset,
        teacher,
        count(*) AS calls,
        sum(cost_usd) AS usd,
        sum(cost_usd) FILTER (cost_basis = 'reserved') AS reserved_usd
    FROM ledger
    GROUP BY dataset, teacher
)
SELECT
    coalesce(kept.dataset, paid.dataset) AS dataset,
    coalesce(kept.teacher, paid.teacher) AS teacher,
    paid.calls,
    coalesce(kept.useful_rows, 0) AS useful_rows,
    coalesce(paid.usd, kept.rows_usd) AS usd,
    sum(coalesce(paid.usd, kept.rows_usd)) OVER () AS all_usd,
    paid.reserved_usd,
    CASE WHEN kept.useful_rows > 0 THEN (coalesce(paid.usd, kept.rows_usd) / kept.useful_rows)::DECIMAL(38, 12) END
        AS usd_per_useful_row
FROM kept
FULL JOIN paid ON paid.dataset = kept.dataset AND paid.teacher IS NOT DISTINCT FROM kept.teacher
ORDER BY usd DESC NULLS LAST, dataset, teacher
LIMIT 60;
