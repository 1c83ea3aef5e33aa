-- report/12_lengths.sql: lengths of the responses in characters, by teacher, in bins that widen by half an octave.
-- reads: fingerprints   writes: nothing
WITH edges AS (
    SELECT [0, 1, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192,
            12288, 16384, 32768, 65536, 131072, 1048576] AS list
),
binned AS (
    SELECT dataset, teacher, [edge FOR edge IN list IF edge <= response_chars][-1] AS bin_from, count(*) AS "rows"
    FROM fingerprints, edges
    GROUP BY ALL
)
SELECT dataset, teacher, sum("rows")::BIGINT AS "rows", list({'from': bin_from, 'rows': "rows"} ORDER BY bin_from) AS bins
FROM binned
GROUP BY dataset, teacher
ORDER BY "rows" DESC, dataset, teacher
LIMIT 24;
