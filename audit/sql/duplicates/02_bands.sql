-- duplicates/02_bands.sql: the band digests of each distinct text, told apart by part: no band is shared between parts.
-- reads: texts, arrived(row_no, part, digests)   writes: bands
CREATE OR REPLACE TEMP TABLE bands AS
SELECT texts.text_no, texts.on_left, texts.on_right, hash(texts.part) AS part, arrived.digests
FROM texts
JOIN arrived ON arrived.row_no = texts.text_no;
