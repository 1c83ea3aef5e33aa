-- quality/08_languages.sql: answers whose language is another than the prompt's, though nothing in the prompt is about
-- languages. Both sides must be long enough: $prompt_words and $response_words.
-- reads: fingerprints, completions   writes: nothing
WITH compared AS (
    SELECT dataset, coalesce(teacher, '') AS teacher, row_id, prompt_language, response_language
    FROM fingerprints
    WHERE
        prompt_language IS NOT NULL
        AND response_language IS NOT NULL
        AND prompt_words >= $prompt_words
        AND response_words >= $response_words
),
different AS (
    SELECT compared.dataset, compared.row_id
    FROM compared
    JOIN completions ON completions.dataset = compared.dataset AND completions.row_id = compared.row_id
    WHERE
        prompt_language <> response_language
        AND coalesce(outcome, 'ok') IN ('ok', 'truncated')
        AND NOT regexp_matches(lower(completions.prompt), $about_languages)
)
SELECT
    dataset,
    teacher,
    prompt_language,
    response_language,
    count(*) AS rows,
    count(different.row_id) AS mismatched,
    coalesce(min(different.row_id, $ids), []) AS row_ids
FROM compared
LEFT JOIN different USING (dataset, row_id)
GROUP BY ALL
ORDER BY ALL;
