-- duplicates/05_oversized.sql: how many buckets of the band were oversized.
-- reads: buckets
SELECT count(*) AS buckets
FROM buckets
WHERE texts > $bucket_limit;
