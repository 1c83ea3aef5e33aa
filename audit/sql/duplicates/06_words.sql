-- duplicates/06_words.sql: how many words each candidate has.
-- reads: candidates, texts
SELECT text_no, words
FROM texts
WHERE text_no IN (SELECT left_no FROM candidates UNION SELECT right_no FROM candidates);
