-- duplicates/11_counts.sql: how many clusters there are, by kind, and how many pairs of texts were not written out.
-- reads: components, verified
SELECT
    count(*) FILTER (owners > 1) AS exact_clusters,
    (SELECT count(*) FROM (SELECT root_no FROM components GROUP BY root_no HAVING count(*) > 1)) AS near_clusters,
    count(*) FILTER (owners * (owners - 1) / 2 > $bucket_limit) AS capped_texts
FROM components;
