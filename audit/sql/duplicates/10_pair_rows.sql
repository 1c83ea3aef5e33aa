-- duplicates/10_pair_rows.sql: pairs of rows, from pairs of texts: every row of one text with every row of the other.
-- Where there are more than $bucket_limit such pairs of rows, only each text's first row stands in them.
-- reads: verified(left_no, right_no, jaccard), components, copies, datasets
WITH ranked AS (
    SELECT *, row_number() OVER (PARTITION BY text_no ORDER BY row_id, dataset_no) AS place
    FROM copies
),
text_pairs AS (
    SELECT verified.left_no, verified.right_no, verified.jaccard, l.owners * r.owners > $bucket_limit AS is_capped
    FROM verified
    JOIN components AS l ON l.text_no = verified.left_no
    JOIN components AS r ON r.text_no = verified.right_no
),
row_pairs AS (
    SELECT l.row_id AS left_id, r.row_id AS right_id, jaccard, l.dataset_no AS left_no, r.dataset_no AS right_no
    FROM text_pairs
    JOIN ranked AS l ON l.text_no = text_pairs.left_no AND (NOT is_capped OR l.place = 1)
    JOIN ranked AS r ON r.text_no = text_pairs.right_no AND (NOT is_capped OR r.place = 1)
    WHERE NOT $across OR is_capped OR l.on_left != r.on_left
    UNION ALL
    SELECT l.row_id, r.row_id, 1.0, l.dataset_no, r.dataset_no
    FROM ranked AS l
    JOIN ranked AS r ON r.text_no = l.text_no AND r.place > l.place
    JOIN components ON components.text_no = l.text_no
    WHERE (components.owners * (components.owners - 1) / 2 <= $bucket_limit OR l.place = 1)
        AND (NOT $across OR l.on_left != r.on_left)
)
SELECT
    least(left_id, right_id) AS left_id,
    greatest(left_id, right_id) AS right_id,
    jaccard,
    CASE WHEN left_id <= right_id THEN l.dataset ELSE r.dataset END AS left_dataset,
    CASE WHEN left_id <= right_id THEN r.dataset ELSE l.dataset END AS right_dataset
FROM row_pairs
JOIN datasets AS l ON l.dataset_no = row_pairs.left_no
JOIN datasets AS r ON r.dataset_no = row_pairs.right_no
ORDER BY left_id, right_id, left_dataset, right_dataset;
