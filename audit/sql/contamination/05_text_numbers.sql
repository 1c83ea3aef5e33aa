-- contamination/05_text_numbers.sql: the texts of a part, to be read.
-- reads: texts
SELECT text_no
FROM texts
WHERE part = $part
ORDER BY text_no;
