-- report/17_duplicates.sql: how many responses and prompts repeat one another.
-- reads: duplicate_pairs, duplicate_clusters, prompt_pairs, prompt_clusters   writes: nothing
SELECT
    'responses' AS part,
    count(DISTINCT cluster_id) FILTER (kind = 'exact') AS exact_clusters,
    count(*) FILTER (kind = 'exact') AS exact_rows,
    count(DISTINCT cluster_id) FILTER (kind = 'near') AS near_clusters,
    count(*) FILTER (kind = 'near') AS near_rows,
    (SELECT count(*) FROM duplicate_pairs) AS pairs
FROM duplicate_clusters
UNION ALL
SELECT
    'prompts',
    count(DISTINCT cluster_id) FILTER (kind = 'exact'),
    count(*) FILTER (kind = 'exact'),
    count(DISTINCT cluster_id) FILTER (kind = 'near'),
    count(*) FILTER (kind = 'near'),
    (SELECT count(*) FROM prompt_pairs)
FROM prompt_clusters
ORDER BY part;
