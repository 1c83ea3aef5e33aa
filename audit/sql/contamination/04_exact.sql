-- contamination/04_exact.sql: texts whose normal form is that of an entry; what the other two tests find is added to it.
-- reads: texts, entries   writes: found
CREATE OR REPLACE TEMP TABLE found AS
SELECT
    texts.part,
    texts.text_no,
    entries.entry_no,
    'exact' AS method,
    1.0::DOUBLE AS share,
    0::BIGINT AS first_word,
    texts.words - 1 AS last_word
FROM texts
JOIN entries USING (sha256)
WHERE entries.words >= $least_words;
