-- report/14_tokens.sql: tokens of the rows as the teachers counted them; a row without a count is counted apart.
-- reads: completions   writes: nothing
SELECT
    dataset,
    teacher,
    count(*) AS "rows",
    count(*) FILTER (completion_tokens IS NULL) AS uncounted,
    sum(prompt_tokens)::BIGINT AS prompt_tokens,
    sum(cached_tokens)::BIGINT AS cached_tokens,
    sum(completion_tokens)::BIGINT AS completion_tokens,
    sum(reasoning_tokens)::BIGINT AS reasoning_tokens,
    quantile_disc(completion_tokens, 0.5) AS completion_median,
    quantile_disc(completion_tokens, 0.95) AS completion_p95
FROM completions
GROUP BY dataset, teacher
ORDER BY "rows" DESC, dataset, teacher
LIMIT 60;
