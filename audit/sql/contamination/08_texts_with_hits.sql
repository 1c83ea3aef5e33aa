-- contamination/08_texts_with_hits.sql: the texts of a part that hold something, to be read again.
-- reads: chosen
SELECT DISTINCT text_no
FROM chosen
WHERE part = $part
ORDER BY text_no;
