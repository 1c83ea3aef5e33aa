-- report/22_contamination_hits.sql: hits with both texts, the largest share first, one for each row and item.
-- reads: contamination_hits   writes: nothing
WITH best AS (
    SELECT
        dataset,
        row_id,
        part,
        benchmark,
        item_id,
        item_field,
        method,
        share,
        left(row_text, 100000) AS row_text,
        length(row_text) AS row_length,
        left(item_text, 20000) AS item_text,
        length(item_text) AS item_length
    FROM contamination_hits
    QUALIFY row_number() OVER (
        PARTITION BY dataset, row_id, benchmark, item_id
        ORDER BY share DESC, list_position(['exact', 'ngram', 'near'], method), part, item_field
    ) = 1
)
SELECT *
FROM best
ORDER BY share DESC, benchmark, item_id, dataset, row_id
LIMIT 60;
