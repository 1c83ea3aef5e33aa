-- quality/05_lengths.sql: how long the answers of each teacher are, in characters and in the teacher's own tokens.
-- reads: answers   writes: nothing
SELECT
    dataset,
    teacher,
    count(*) AS rows,
    list_transform(quantile_disc(chars, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]), lambda value: value::BIGINT) AS chars,
    count(completion_tokens) AS rows_with_tokens,
    list_transform(
        quantile_disc(completion_tokens, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]), lambda value: value::BIGINT
    ) AS completion_tokens,
    sum(chars) FILTER (completion_tokens > 0) / nullif(sum(completion_tokens) FILTER (completion_tokens > 0), 0)
        AS chars_per_token
FROM answers
WHERE is_answer
GROUP BY ALL
ORDER BY ALL;
