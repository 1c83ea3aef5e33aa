-- duplicates/00_counts.sql: how many documents there are, and how many have no word.
-- reads: arrived
SELECT
    count(DISTINCT (dataset_no, owner)) FILTER (words > 0) AS documents,
    count(DISTINCT (dataset_no, owner)) FILTER (words = 0) AS empty
FROM arrived;
