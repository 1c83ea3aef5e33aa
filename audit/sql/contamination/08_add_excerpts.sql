-- contamination/08_add_excerpts.sql: some more of them.
-- reads: arriving   writes: excerpts
INSERT INTO excerpts
SELECT part, text_no, entry_no, row_text, item_text
FROM arriving;
