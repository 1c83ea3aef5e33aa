-- contamination/01_add_entries.sql: some more of them.
-- reads: arriving   writes: entries
INSERT INTO entries
SELECT entry_no, benchmark_no, item_no, item_id, field, text, words, unhex(sha256)
FROM arriving;
