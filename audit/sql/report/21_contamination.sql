-- report/21_contamination.sql: how many rows hold text of which evaluation set, and how much of its items.
-- reads: contamination_hits   writes: nothing
SELECT
    benchmark,
    part,
    method,
    count(DISTINCT (dataset, row_id)) AS "rows",
    count(DISTINCT item_id) AS items,
    count(*) AS hits,
    (sum(count(*)) OVER ())::BIGINT AS all_hits,
    (SELECT count(DISTINCT (dataset, row_id)) FROM contamination_hits) AS all_rows,
    min(share) AS least_share,
    max(share) AS most_share
FROM contamination_hits
GROUP BY benchmark, part, method
ORDER BY "rows" DESC, benchmark, part, method
LIMIT 60;
