-- duplicates/00_counts.sql: how many documents are compared: rows, or the prompts that they have in common.
-- reads: arrived
SELECT count(*) FILTER (owner IS NULL) + count(DISTINCT (dataset_no, owner)) FILTER (owner IS NOT NULL) AS documents
FROM arrived;
