-- contamination/02_arrived.sql: what the fingerprints say of every row's two parts, as they come.
-- reads: arriving   writes: arrived
CREATE OR REPLACE TEMP TABLE arrived AS
SELECT
    row_no,
    dataset_no,
    row_id,
    unhex(prompt_sha256) AS prompt_sha256,
    prompt_words,
    unhex(response_sha256) AS response_sha256,
    response_words
FROM arriving;
