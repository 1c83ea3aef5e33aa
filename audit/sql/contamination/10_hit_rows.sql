-- contamination/10_hit_rows.sql: the rows of contamination_hits, in the order of the datasets' rows.
-- reads: hits, excerpts, entries, benchmarks(benchmark_no, benchmark)
SELECT
    hits.dataset,
    hits.row_id,
    hits.part,
    benchmarks.benchmark,
    entries.item_id,
    entries.field AS item_field,
    hits.method,
    hits.share,
    excerpts.row_text,
    coalesce(excerpts.item_text, entries.text) AS item_text
FROM hits
JOIN excerpts USING (part, text_no, entry_no)
JOIN entries USING (entry_no)
JOIN benchmarks ON benchmarks.benchmark_no = hits.benchmark_no
ORDER BY hits.row_no, hits.part, hits.entry_no;
