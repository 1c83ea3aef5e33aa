-- duplicates/01_texts.sql: one row for each distinct text of a part; its number is that of its first row.
-- A row without an owner is its own.
-- reads: arrived(row_no, dataset_no, owner, part, sha256, words)   writes: texts
CREATE OR REPLACE TEMP TABLE texts AS
SELECT
    min(row_no) AS text_no,
    part,
    sha256,
    any_value(words) AS words,
    count(*) FILTER (owner IS NULL) + count(DISTINCT (dataset_no, owner)) FILTER (owner IS NOT NULL) AS owners,
    bool_or(dataset_no < $left_datasets) AS on_left,
    bool_or(dataset_no >= $left_datasets) AS on_right
FROM arrived
GROUP BY part, sha256;
