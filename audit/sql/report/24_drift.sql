-- report/24_drift.sql: share of useful rows and median length of the responses in 24 equal spans of each teacher's time.
-- reads: completions, fingerprints   writes: nothing
WITH spans AS (
    SELECT
        c.dataset,
        c.teacher,
        c.outcome,
        c.created_at,
        f.response_chars,
        least(23, (epoch_us(c.created_at) - min(epoch_us(c.created_at)) OVER lane) * 24
            // greatest(1, max(epoch_us(c.created_at)) OVER lane - min(epoch_us(c.created_at)) OVER lane)) AS span
    FROM completions AS c
    LEFT JOIN fingerprints AS f ON f.dataset = c.dataset AND f.row_id = c.row_id
    WHERE c.created_at IS NOT NULL
    WINDOW lane AS (PARTITION BY c.dataset, c.teacher)
),
counted AS (
    SELECT
        dataset,
        teacher,
        span,
        count(*) AS span_rows,
        count(*) FILTER (outcome = 'ok') AS useful_rows,
        quantile_disc(response_chars, 0.5) AS chars_median,
        min(created_at) AS first_at,
        max(created_at) AS last_at
    FROM spans
    GROUP BY dataset, teacher, span
)
SELECT
    dataset,
    teacher,
    sum(span_rows)::BIGINT AS "rows",
    strftime(min(first_at), '%Y-%m-%d %H:%M:%S') AS first_at,
    strftime(max(last_at), '%Y-%m-%d %H:%M:%S') AS last_at,
    list({'span': span, 'rows': span_rows, 'useful_rows': useful_rows, 'chars_median': chars_median} ORDER BY span)
        AS spans
FROM counted
GROUP BY dataset, teacher
ORDER BY "rows" DESC, dataset, teacher
LIMIT 12;
