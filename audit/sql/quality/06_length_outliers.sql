-- quality/06_length_outliers.sql: answers far out of their teacher's lengths: beyond $fences times the middle half's width,
-- on a logarithmic scale (lengths are close to lognormal). `measure` is chars or tokens.
-- reads: answers   writes: nothing
WITH measured AS (
    SELECT dataset, teacher, row_id, 'chars' AS measure, chars AS size FROM answers WHERE is_answer AND chars > 0
    UNION ALL
    SELECT dataset, teacher, row_id, 'tokens', completion_tokens FROM answers WHERE is_answer AND completion_tokens > 0
),
fences AS (
    SELECT
        dataset,
        teacher,
        measure,
        count(*) AS measured_rows,
        quantile_cont(ln(size), 0.25) AS lower_quarter,
        quantile_cont(ln(size), 0.75) AS upper_quarter
    FROM measured
    GROUP BY ALL
)
SELECT
    dataset,
    teacher,
    measure,
    any_value(exp(lower_quarter - $fences * (upper_quarter - lower_quarter))) AS shortest_usual,
    any_value(exp(upper_quarter + $fences * (upper_quarter - lower_quarter))) AS longest_usual,
    count(*) FILTER (ln(size) < lower_quarter) AS shorter,
    count(*) FILTER (ln(size) > upper_quarter) AS longer,
    min(row_id, $ids) AS row_ids
FROM measured
JOIN fences USING (dataset, teacher, measure)
WHERE
    measured_rows >= $least_rows
    AND upper_quarter > lower_quarter
    AND (
        ln(size) < lower_quarter - $fences * (upper_quarter - lower_quarter)
        OR ln(size) > upper_quarter + $fences * (upper_quarter - lower_quarter)
    )
GROUP BY ALL
ORDER BY ALL;
