-- contamination/11_counts.sql: hits and rows by evaluation set; the row without one counts over all of them.
-- reads: hits, benchmarks(benchmark_no, benchmark)
SELECT
    benchmark_no,
    count(hits.row_no) FILTER (hits.place <= $most_hits) AS hits,
    count(hits.row_no) FILTER (hits.place <= $most_hits AND hits.method = 'exact') AS exact,
    count(hits.row_no) FILTER (hits.place <= $most_hits AND hits.method = 'ngram') AS ngram,
    count(hits.row_no) FILTER (hits.place <= $most_hits AND hits.method = 'near') AS near,
    count(hits.row_no) FILTER (hits.place > $most_hits) AS hits_left_out,
    count(DISTINCT hits.row_no) AS rows_hit
FROM benchmarks
LEFT JOIN hits USING (benchmark_no)
GROUP BY GROUPING SETS ((benchmark_no), ())
ORDER BY benchmark_no NULLS LAST;
