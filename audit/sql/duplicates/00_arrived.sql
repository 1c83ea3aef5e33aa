-- duplicates/00_arrived.sql: the fingerprints of all rows whose text has a word, as they come.
-- reads: arriving   writes: arrived
CREATE OR REPLACE TEMP TABLE arrived AS
SELECT row_no, dataset_no, row_id, owner, part, unhex(sha256) AS sha256, words, digests
FROM arriving;
