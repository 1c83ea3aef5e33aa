-- duplicates/04_members.sql: the texts in those buckets, in order within each.
-- reads: bands, buckets   writes: members
CREATE OR REPLACE TEMP TABLE members AS
SELECT
    buckets.digest,
    buckets.texts,
    bands.text_no,
    bands.on_left,
    bands.on_right
FROM bands
JOIN buckets ON buckets.digest = xor(bands.digests[$band], bands.part);
