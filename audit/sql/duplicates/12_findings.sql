-- duplicates/12_findings.sql: clusters by dataset and kind.
-- reads: clusters
SELECT dataset, kind, count(*) AS rows, count(DISTINCT cluster_id) AS clusters, max(size) AS largest,
    list(row_id ORDER BY row_id)[:10000] AS row_ids
FROM clusters
GROUP BY dataset, kind
ORDER BY dataset, kind;
