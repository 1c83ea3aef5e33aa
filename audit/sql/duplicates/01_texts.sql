-- duplicates/01_texts.sql: one row for each distinct text of a part; its number is that of its first row.
-- Texts without a word are left out: `empty` in the report counts them.
-- reads: arrived(row_no, dataset_no, owner, part, sha256, words)   writes: texts
CREATE OR REPLACE TEMP TABLE texts AS
SELECT
    min(row_no) AS text_no,
    part,
    sha256,
    any_value(words) AS words,
    count(DISTINCT (dataset_no, owner)) AS owners,
    bool_or(dataset_no < $left_datasets) AS on_left,
    bool_or(dataset_no >= $left_datasets) AS on_right
FROM arrived
WHERE words > 0
GROUP BY part, sha256;
