-- report/18_largest_clusters.sql: the largest clusters of responses, each with the opening of its representative.
-- reads: duplicate_clusters, completions   writes: nothing
WITH largest AS (
    SELECT cluster_id, min(kind) AS kind, count(*) AS "rows", count(DISTINCT dataset) AS datasets, min(dataset) AS dataset
    FROM duplicate_clusters
    GROUP BY cluster_id
    ORDER BY "rows" DESC, cluster_id
    LIMIT 15
),
openings AS (
    SELECT row_id, min(left(response, 200)) AS opening, min(teacher) AS teacher
    FROM completions
    WHERE row_id IN (SELECT cluster_id FROM largest)
    GROUP BY row_id
)
SELECT largest.cluster_id, largest.kind, largest."rows", largest.datasets, openings.teacher, openings.opening
FROM largest
LEFT JOIN openings ON openings.row_id = largest.cluster_id
ORDER BY largest."rows" DESC, largest.cluster_id;
