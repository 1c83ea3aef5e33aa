-- report/19_duplicate_pairs.sql: pairs of responses with both texts: at most 10 equal, and up to 50 others spread evenly.
-- reads: duplicate_pairs, completions   writes: nothing
WITH ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY jaccard = 1 ORDER BY jaccard DESC, left_id, right_id, left_dataset, right_dataset)
            AS place,
        count(*) OVER (PARTITION BY jaccard = 1) AS pairs
    FROM duplicate_pairs
),
shown AS (
    SELECT *
    FROM ranked
    WHERE (jaccard = 1 AND place <= 10) OR (jaccard < 1 AND (place - 1) % greatest(1, pairs // 50) = 0)
    ORDER BY jaccard = 1, place
    LIMIT 60
),
texts AS (
    SELECT dataset, row_id, teacher, left(response, 2000) AS text, length(response) AS length
    FROM completions
    WHERE row_id IN (SELECT left_id FROM shown UNION SELECT right_id FROM shown)
)
SELECT
    shown.jaccard,
    shown.left_dataset,
    shown.left_id,
    l.teacher AS left_teacher,
    l.text AS left_text,
    l.length AS left_length,
    shown.right_dataset,
    shown.right_id,
    r.teacher AS right_teacher,
    r.text AS right_text,
    r.length AS right_length
FROM shown
LEFT JOIN texts AS l ON l.row_id = shown.left_id AND l.dataset = shown.left_dataset
LEFT JOIN texts AS r ON r.row_id = shown.right_id AND r.dataset = shown.right_dataset
ORDER BY shown.jaccard = 1, shown.place;
