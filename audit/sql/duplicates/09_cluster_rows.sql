-- duplicates/09_cluster_rows.sql: every row of every cluster; the cluster is called by its smallest row.
-- reads: components, arrived, datasets(dataset_no, dataset)
WITH found AS (
    SELECT components.root_no, components.text_no, datasets.dataset, arrived.row_id
    FROM components
    JOIN arrived USING (part, sha256)
    JOIN datasets USING (dataset_no)
)
SELECT
    min(row_id) OVER cluster AS cluster_id,
    dataset,
    row_id,
    CASE WHEN min(text_no) OVER cluster = max(text_no) OVER cluster THEN 'exact' ELSE 'near' END AS kind,
    count(*) OVER cluster AS size
FROM found
WINDOW cluster AS (PARTITION BY root_no)
ORDER BY cluster_id, root_no, row_id, dataset;
