-- contamination/03_texts.sql: the distinct texts of each part; a text's number is that of its first row.
-- Texts without a word are left out: no item can be in them.
-- reads: arrived   writes: texts
CREATE OR REPLACE TEMP TABLE texts AS
SELECT 'prompt' AS part, min(row_no) AS text_no, prompt_sha256 AS sha256, any_value(prompt_words) AS words
FROM arrived
WHERE prompt_words > 0
GROUP BY prompt_sha256
UNION ALL
SELECT 'response', min(row_no), response_sha256, any_value(response_words)
FROM arrived
WHERE response_words > 0
GROUP BY response_sha256;
