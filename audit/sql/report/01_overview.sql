-- report/01_overview.sql: how much there is, from whom and when.
-- reads: completions, manifests, failed, rejected, tombstones   writes: nothing
SELECT
    (SELECT count(*) FROM manifests) AS datasets,
    count(*) AS "rows",
    count(*) FILTER (outcome = 'ok') AS useful_rows,
    count(DISTINCT teacher) AS teachers,
    strftime(min(created_at), '%Y-%m-%d %H:%M:%S') AS first_at,
    strftime(max(created_at), '%Y-%m-%d %H:%M:%S') AS last_at,
    (SELECT count(*) FROM failed) AS failed,
    (SELECT count(*) FROM rejected) AS rejected,
    (SELECT count(*) FROM tombstones) AS withdrawn
FROM completions;
