-- report/23_identity.sql: which model each teacher said it was, and when.
-- reads: completions   writes: nothing
WITH spans AS (
    SELECT
        dataset,
        teacher,
        model_requested,
        model_reported,
        system_fingerprint,
        created_at,
        least(47, (epoch_us(created_at) - min(epoch_us(created_at)) OVER ()) * 48
            // greatest(1, max(epoch_us(created_at)) OVER () - min(epoch_us(created_at)) OVER ())) AS span
    FROM completions
),
counted AS (
    SELECT
        dataset, teacher, model_requested, model_reported, system_fingerprint, span,
        count(*) AS span_rows, min(created_at) AS first_at, max(created_at) AS last_at
    FROM spans
    GROUP BY ALL
),
lanes AS (
    SELECT
        dataset,
        teacher,
        model_requested,
        model_reported,
        system_fingerprint,
        sum(span_rows)::BIGINT AS "rows",
        strftime(min(first_at), '%Y-%m-%d %H:%M:%S') AS first_at,
        strftime(max(last_at), '%Y-%m-%d %H:%M:%S') AS last_at,
        list({'span': span, 'rows': span_rows} ORDER BY span) FILTER (span IS NOT NULL) AS spans
    FROM counted
    GROUP BY dataset, teacher, model_requested, model_reported, system_fingerprint
),
most AS (
    SELECT *, count(*) OVER () AS identities
    FROM lanes
    ORDER BY "rows" DESC, dataset, teacher, model_requested, model_reported, system_fingerprint
    LIMIT 40
)
SELECT *
FROM most
ORDER BY dataset, teacher, first_at, model_requested, model_reported, system_fingerprint;
