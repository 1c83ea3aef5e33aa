-- contamination/12_findings.sql: hits by dataset, evaluation set and method.
-- reads: hits, entries, benchmarks(benchmark_no, benchmark)
WITH of_rows AS (
    SELECT
        hits.dataset_no,
        hits.dataset,
        hits.benchmark_no,
        hits.method,
        hits.row_id,
        max(hits.share) AS share,
        bool_or(hits.part = 'prompt') AS in_prompt,
        bool_or(hits.part = 'response') AS in_response
    FROM hits
    GROUP BY ALL
),
of_items AS (
    SELECT hits.dataset_no, hits.benchmark_no, hits.method, count(DISTINCT entries.item_no) AS items
    FROM hits
    JOIN entries USING (entry_no)
    GROUP BY ALL
)
SELECT
    of_rows.dataset,
    benchmarks.benchmark_no,
    benchmarks.benchmark,
    of_rows.method,
    count(*) AS rows,
    any_value(of_items.items) AS items,
    count(*) FILTER (of_rows.in_prompt) AS prompts,
    count(*) FILTER (of_rows.in_response) AS responses,
    count(*) FILTER (of_rows.share >= $large_share) AS rows_with_large_share,
    min(of_rows.share) AS least_share,
    max(of_rows.share) AS largest_share,
    min(of_rows.row_id, 10000) AS row_ids
FROM of_rows
JOIN of_items USING (dataset_no, benchmark_no, method)
JOIN benchmarks ON benchmarks.benchmark_no = of_rows.benchmark_no
GROUP BY of_rows.dataset_no, of_rows.dataset, benchmarks.benchmark_no, benchmarks.benchmark, of_rows.method
ORDER BY of_rows.dataset_no, benchmarks.benchmark_no, of_rows.method;
