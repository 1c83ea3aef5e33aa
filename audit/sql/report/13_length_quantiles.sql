-- report/13_length_quantiles.sql: how long responses and prompts are, by teacher.
-- reads: fingerprints   writes: nothing
SELECT
    dataset,
    teacher,
    count(*) AS "rows",
    count(*) FILTER (response_words = 0) AS without_a_word,
    quantile_disc(response_chars, 0.05) AS chars_p5,
    quantile_disc(response_chars, 0.5) AS chars_median,
    quantile_disc(response_chars, 0.95) AS chars_p95,
    max(response_chars) AS chars_most,
    quantile_disc(response_words, 0.5) AS words_median,
    quantile_disc(prompt_chars, 0.5) AS prompt_chars_median
FROM fingerprints
GROUP BY dataset, teacher
ORDER BY "rows" DESC, dataset, teacher
LIMIT 60;
