-- report/06_terms_over_time.sql: under which terms each teacher answered, in 48 equal spans of the whole time.
-- reads: completions   writes: nothing
WITH spans AS (
    SELECT
        dataset,
        teacher,
        model_reported,
        terms_id,
        train_use,
        obligations,
        created_at,
        least(47, (epoch_us(created_at) - min(epoch_us(created_at)) OVER ()) * 48
            // greatest(1, max(epoch_us(created_at)) OVER () - min(epoch_us(created_at)) OVER ())) AS span
    FROM completions
),
counted AS (
    SELECT
        dataset, teacher, model_reported, terms_id, train_use, obligations, span,
        count(*) AS span_rows, min(created_at) AS first_at, max(created_at) AS last_at
    FROM spans
    GROUP BY ALL
)
SELECT
    dataset,
    teacher,
    model_reported,
    terms_id,
    train_use,
    obligations,
    sum(span_rows)::BIGINT AS "rows",
    strftime(min(first_at), '%Y-%m-%d %H:%M:%S') AS first_at,
    strftime(max(last_at), '%Y-%m-%d %H:%M:%S') AS last_at,
    list({'span': span, 'rows': span_rows} ORDER BY span) FILTER (span IS NOT NULL) AS spans
FROM counted
GROUP BY dataset, teacher, model_reported, terms_id, train_use, obligations
ORDER BY dataset, teacher, first_at, "rows" DESC, model_reported, terms_id, train_use, obligations
LIMIT 60;
