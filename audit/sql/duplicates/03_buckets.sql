-- duplicates/03_buckets.sql: the buckets of one band that hold more than one text.
-- reads: bands   writes: buckets
CREATE OR REPLACE TEMP TABLE buckets AS
SELECT xor(digests[$band], part) AS digest, count(*) AS texts
FROM bands
GROUP BY digest
HAVING count(*) > 1;
