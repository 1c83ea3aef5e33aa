-- contamination/06_add_found.sql: what a test found in some texts.
-- reads: arriving   writes: found
INSERT INTO found
SELECT part, text_no, entry_no, method, share, first_word, last_word
FROM arriving;
